"""Source ``folder``: the user's own recordings, one folder per domain.

Every file is decoded to its end once, so that what is wrong shows at once and by name. Files, not
excerpts, are divided into training, validation and test, by a hash of the path below the folder: adding
a file leaves the others where they are. Files are copied, since later stages must depend on
``data/raw`` only; links would let DVC write-protect the originals. Relative folders are below the project's
root (``DVC_ROOT``, else where the command runs), so that a queued experiment, which runs in a copy
elsewhere, finds them.
"""

import shutil
from pathlib import Path

from retimbre.audio.folders import recording_names
from retimbre.datasets.recordings.checking import Checked, Task, check_all, refuse_too_many
from retimbre.datasets.recordings.choosing import SHORTEST_S, held_out, split_of_hash, training, unit_hash
from retimbre.datasets.recordings.manifest import SPLITS, Recording
from retimbre.datasets.sources.params import Dataset
from retimbre.errors import RetimbreError
from retimbre.paths import project_root, user_path
from retimbre.progress import track
from retimbre.section import Machine

FEWEST_FILES = len(SPLITS)


def split_files(names: list[str]) -> dict[str, list[str]]:
    """Split -> names: test 12 %, validation 8 %, by the hash of each name.

    Small folders may leave a split empty: then the largest split gives it the file of its lowest hash.
    Needs three names at least.
    """
    places = sorted((unit_hash(f"file {name}"), name) for name in names)
    splits: dict[str, list[str]] = {split: [] for split in SPLITS}
    for place, name in places:
        splits[split_of_hash(place)].append(name)
    for split in ("test", "validation", "train"):
        if not splits[split]:
            splits[split].append(max(splits.values(), key=len).pop(0))
    return splits


class Folders:
    """The user's folders. Raises RetimbreError at once for one that is missing, too small or nested."""

    def __init__(self, dataset: Dataset, seed: int, machine: Machine):
        self.dataset, self.seed, self.jobs = dataset, seed, machine.jobs
        root = project_root()
        self.folders = {
            domain: user_path(dataset.folders[domain], f"dataset.folders.{domain}")
            for domain in dataset.domains
        }
        for domain, folder in self.folders.items():
            if not folder.is_dir():
                given = dataset.folders[domain]
                relative = (
                    "" if given.startswith(("/", "~")) else f" ({given}, from the project's root {root})"
                )
                raise RetimbreError(
                    f"dataset.folders.{domain}: {folder}{relative} is not a folder: give the folder of its "
                    "recordings."
                )
            for other, inside in self.folders.items():
                if other != domain and inside.is_relative_to(folder):
                    raise RetimbreError(
                        f"dataset.folders: {other}'s folder {inside} is within {domain}'s: give separate "
                        "folders."
                    )
        self.names = {domain: recording_names(folder) for domain, folder in self.folders.items()}
        for domain, names in self.names.items():
            if not names:
                folder = self.folders[domain]
                raise RetimbreError(
                    f"dataset.folders.{domain}: {folder} holds no recordings (WAV, FLAC, OGG, MP3, AIFF): "
                    "put some there."
                )
            self._refuse_too_few(domain, len(names))

    def prepare(self, out: Path) -> list[Recording]:
        checked = {domain: self._check(domain) for domain in self.folders}  # all, before the first is copied
        chosen = [recording for domain, files in checked.items() for recording in self._choose(domain, files)]
        for path, domain in track(sorted({(r.path, r.domain) for r in chosen}), "copy", unit="files"):
            target = Path(out) / path
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self.folders[domain] / Path(path).relative_to(domain), target)
        return chosen

    def _refuse_too_few(self, domain: str, count: int) -> None:
        if count < FEWEST_FILES:
            raise RetimbreError(
                f"dataset.folders.{domain}: {count} usable file(s) in {self.folders[domain]}, but training, "
                f"validation and test need different files: give at least {FEWEST_FILES}, or cut a long "
                "recording into several."
            )

    def _check(self, domain: str) -> list[Checked]:
        """The usable files; the others are named on stderr. Raises RetimbreError for too many bad ones."""
        names, folder = self.names[domain], self.folders[domain]
        tasks = [Task(name, shortest_s=SHORTEST_S) for name in names]
        checked = check_all(tasks, folder, self.jobs, f"check {domain}")
        bad = [file for file in checked if file.problem]
        refuse_too_many(
            f"dataset.folders.{domain}", folder, bad, len(names), self.dataset.max_unreadable_share
        )
        return [file for file in checked if not file.problem]

    def _choose(self, domain: str, files: list[Checked]) -> list[Recording]:
        """Held-out excerpts, and training files up to the asked minutes."""
        self._refuse_too_few(domain, len(files))
        split_of = {
            name: split
            for split, names in split_files([file.name for file in files]).items()
            for name in names
        }
        files = sorted(files, key=lambda file: unit_hash(f"{self.seed} {file.name}"))
        recordings = [
            Recording(
                path=f"{domain}/{file.name}",
                domain=domain,
                piece=f"{domain}/{file.name}",
                split=split_of[file.name],
                performance="",
                start_s=0.0,
                duration_s=file.duration_s,
                sample_rate=file.sample_rate,
                source="the user's folder",
                licence="as the user's",
            )
            for file in files
        ]
        p, label = self.dataset, f"dataset.folders.{domain}"
        by_split = sorted(recordings, key=lambda r: unit_hash(f"file {r.path.removeprefix(f'{domain}/')}"))
        parts = held_out(by_split, "validation", p.validation_pieces, p.excerpt_s, label)
        parts += held_out(by_split, "test", p.test_pieces, p.excerpt_s, label)
        return [part for _, part in [*parts, *training(recordings, p.train_minutes, label)]]
