"""Source ``folder``: the user's own recordings, one folder per domain.

Every file is decoded to its end once, so that what is wrong shows at once and by name. Files, not
excerpts, are divided into training, validation and test, by a hash of the path below the folder: adding
a file leaves the others where they are. Files are copied, since later stages must depend on
``data/raw`` only; links would let DVC write-protect the originals.
"""

import functools
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import soundfile

from retimbre.audio.files import probe
from retimbre.datasets.manifest import SPLITS, Recording
from retimbre.datasets.parallel import parallel_map
from retimbre.datasets.scores import TEST_SHARE, VALIDATION_SHARE, unit_hash
from retimbre.errors import RetimbreError
from retimbre.params import Dataset
from retimbre.progress import track

# What counts as a recording; the last row is named as unreadable, because libsndfile does not read it.
SUFFIXES = set(".wav .flac .ogg .oga .opus .mp3 .aif .aiff .aifc .au .snd .caf .w64 .rf64 .voc .sf .wve .mpc".split()) | set(
    ".m4a .aac .mp4 .wma .ape .alac .webm".split()
)
FEWEST_FILES = len(SPLITS)
LEAST_TRAINING_S = 10.0
BLOCK_FRAMES = 1 << 16
SILENCE = 1e-5  # full scale 1; a file that never exceeds it holds no music
NAMES_SHOWN = 5


@dataclass(frozen=True)
class Checked:
    """A file of a domain: its duration, or the reason why it cannot be used."""

    name: str  # path below the domain's folder, with /
    sample_rate: int = 0
    duration_s: float = 0.0
    problem: str = ""


def recording_names(folder: Path) -> list[str]:
    """Paths of the recordings below ``folder``, relative, sorted; hidden files and folders are passed over."""
    names = []
    for root, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        paths = [Path(root, name) for name in files if not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES]
        names += [path.relative_to(folder).as_posix() for path in paths]
    return sorted(names)


def check(name: str, folder: Path) -> Checked:
    """Decode a file to its end, block by block."""
    path = folder / name
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return Checked(name, problem="its name is not valid UTF-8: rename it")
    try:
        rate = probe(path).sample_rate
        frames, loudest = 0, 0.0
        with soundfile.SoundFile(path) as file:
            for block in file.blocks(BLOCK_FRAMES, dtype="float32"):
                frames += len(block)
                loudest = max(loudest, float(abs(block).max()))  # not a number compares as no maximum
                if not abs(block).max() < float("inf"):
                    return Checked(name, problem="it holds values that are not finite numbers")
    except RetimbreError as error:
        return Checked(name, problem=str(error).removeprefix(f"{path} ").rstrip("."))
    except (soundfile.SoundFileError, OSError) as error:
        return Checked(name, problem=f"it breaks off while it is decoded ({error})")
    if loudest < SILENCE:
        return Checked(name, problem="it is silent")
    return Checked(name, rate, frames / rate)


def split_files(names: list[str]) -> dict[str, list[str]]:
    """Split -> names: test 12 %, validation 8 %, by the hash of each name.

    Small folders may leave a split empty: then the largest split gives it the file of its lowest hash.
    Needs three names at least.
    """
    places = sorted((unit_hash(f"file {name}"), name) for name in names)
    splits: dict[str, list[str]] = {split: [] for split in SPLITS}
    for place, name in places:
        edge = TEST_SHARE + VALIDATION_SHARE
        splits["test" if place < TEST_SHARE else "validation" if place < edge else "train"].append(name)
    for split in ("test", "validation", "train"):
        if not splits[split]:
            splits[split].append(max(splits.values(), key=len).pop(0))
    return splits


class Folders:
    """The user's folders. Raises RetimbreError at once for a folder that is missing, empty or given twice."""

    def __init__(self, dataset: Dataset, seed: int, jobs: int = 1):
        self.dataset, self.seed, self.jobs = dataset, seed, jobs
        self.folders = {domain: Path(dataset.folders[domain]).expanduser().resolve() for domain in dataset.domains}
        for domain, folder in self.folders.items():
            if not folder.is_dir():
                raise RetimbreError(f"dataset.folders.{domain}: {folder} is not a folder: give the folder of its recordings.")
            for other, inside in self.folders.items():
                if other != domain and inside.is_relative_to(folder):
                    raise RetimbreError(f"dataset.folders: {other}'s folder {inside} is within {domain}'s: give separate folders.")

    def prepare(self, out: Path) -> list[Recording]:
        recordings = []
        for domain, folder in self.folders.items():
            chosen = self._choose(domain, self._check(domain, folder))
            names = sorted({Path(recording.path).relative_to(domain).as_posix() for recording in chosen})
            for name in track(names, f"copy {domain}", unit="files"):
                target = Path(out) / domain / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(folder / name, target)
            recordings += chosen
        return recordings

    def _check(self, domain: str, folder: Path) -> list[Checked]:
        """The usable files; the others are named on stderr. Raises RetimbreError for none or too many bad ones."""
        names = recording_names(folder)
        if not names:
            raise RetimbreError(f"dataset.folders.{domain}: {folder} holds no recordings (WAV, FLAC, OGG, MP3, AIFF): put some there.")
        results = parallel_map(functools.partial(check, folder=folder), names, self.jobs)
        checked = list(track(results, f"check {domain}", len(names), "files"))
        bad = [file for file in checked if file.problem]
        for file in bad:
            print(f"skipped {folder / file.name}: {file.problem}".encode(errors="replace").decode(), file=sys.stderr)
        if len(bad) > self.dataset.max_unreadable_share * len(names):
            shown = "; ".join(f"{file.name}: {file.problem}" for file in bad[:NAMES_SHOWN]) + ("; ..." if len(bad) > NAMES_SHOWN else "")
            raise RetimbreError(
                f"dataset.folders.{domain}: {len(bad)} of {len(names)} files in {folder} cannot be used ({shown}): mend or remove them, "
                f"or raise dataset.max_unreadable_share ({self.dataset.max_unreadable_share:g})."
            )
        if bad:
            print(f"{domain}: {len(bad)} of {len(names)} files were skipped", file=sys.stderr)
        return [file for file in checked if not file.problem]

    def _choose(self, domain: str, files: list[Checked]) -> list[Recording]:
        """Recordings of each split: held-out excerpts, and training files up to the asked minutes."""
        if len(files) < FEWEST_FILES:
            raise RetimbreError(
                f"dataset.folders.{domain}: {len(files)} usable file(s) in {self.folders[domain]}, but training, validation and test "
                f"need different files: give at least {FEWEST_FILES}, or cut a long recording into several."
            )
        of_name = {file.name: file for file in files}
        splits = {split: [of_name[name] for name in names] for split, names in split_files(list(of_name)).items()}
        recordings = []
        for split, count in (("validation", self.dataset.validation_pieces), ("test", self.dataset.test_pieces)):
            recordings += self._excerpts(domain, split, splits[split], count)
        left_s = self.dataset.train_minutes * 60 or float("inf")
        for file in sorted(splits["train"], key=lambda file: unit_hash(f"{self.seed} {file.name}")):
            if left_s > 0:
                recordings.append(self._recording(domain, "train", file, 0.0, min(file.duration_s, left_s)))
                left_s -= file.duration_s
        train_s = sum(recording.duration_s for recording in recordings if recording.split == "train")
        if train_s < LEAST_TRAINING_S:
            raise RetimbreError(
                f"dataset.folders.{domain}: {train_s:.1f} s to train on ({len(splits['train'])} of {len(files)} files), but "
                f"{LEAST_TRAINING_S:g} s is the least: give more recordings or raise dataset.train_minutes."
            )
        return recordings

    def _excerpts(self, domain: str, split: str, files: list[Checked], count: int) -> list[Recording]:
        """``count`` excerpts that do not overlap, taken from the files in turn, evenly spread over each file."""
        length_s = self.dataset.excerpt_s
        room = {file.name: int(file.duration_s / length_s) for file in files}
        if sum(room.values()) < count:
            kept = f"the {len(files)} file(s) kept for {split} hold {sum(room.values())} excerpts of {length_s:g} s"
            raise RetimbreError(
                f"dataset.folders.{domain}: {kept}, but dataset.{split}_pieces asks for {count}: "
                "give more or longer recordings, or lower it or dataset.excerpt_s."
            )
        taken = dict.fromkeys(room, 0)
        while sum(taken.values()) < count:
            for name in room:
                if taken[name] < room[name] and sum(taken.values()) < count:
                    taken[name] += 1
        recordings = []
        for file in files:
            step_s = file.duration_s / max(taken[file.name], 1)
            starts = [number * step_s + (step_s - length_s) / 2 for number in range(taken[file.name])]
            recordings += [self._recording(domain, split, file, start, length_s) for start in starts]
        return recordings

    def _recording(self, domain: str, split: str, file: Checked, start_s: float, duration_s: float) -> Recording:
        path = f"{domain}/{file.name}"
        return Recording(
            path=path,
            domain=domain,
            piece=path,
            split=split,
            performance="",
            start_s=start_s,
            duration_s=duration_s,
            sample_rate=file.sample_rate,
            source="the user's folder",
            licence="as the user's",
        )
