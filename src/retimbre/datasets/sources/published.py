"""From a published data set to recordings: download, unpack, split, take a subset, check, copy.

Only what is used is decoded: files are chosen by their headers, then the chosen ones are read to their ends, and
those that break off or are silent are replaced by the next.
"""

import errno
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from retimbre.datasets.download.store import Store, link
from retimbre.datasets.download.web import Patience
from retimbre.datasets.recordings.checking import Checked, Task, check_all, refuse_too_many
from retimbre.datasets.recordings.choosing import Stretch, assign_splits, held_out, subset, training
from retimbre.datasets.recordings.manifest import SPLITS, Recording
from retimbre.datasets.scores.corpus import unit_hash
from retimbre.datasets.sources.base import FetchesItself, RemoteSource, Track
from retimbre.datasets.sources.params import Dataset
from retimbre.errors import RetimbreError
from retimbre.section import Machine

SHORTEST_EXCERPT_S = 1.5  # clips of sets that have short ones only (3 s, 4 s) are held out whole
ABOUT = "ABOUT.txt"


class Published:
    """``dataset.domains`` of one published set. Raises RetimbreError at construction for a domain that it does not have."""

    def __init__(self, source: RemoteSource, dataset: Dataset, seed: int, machine: Machine):
        self.source, self.dataset, self.seed, self.machine = source, dataset, seed, machine
        self.domains = tuple(dataset.domains)
        known = source.domains()
        if unknown := [domain for domain in self.domains if known and domain not in known]:
            raise RetimbreError(f"dataset.domains: source {source.name} has no {unknown[0]!r}; it has {', '.join(known)}.")
        self.patience = Patience()

    @property
    def licence(self) -> str:
        said = self.source.licence
        return f"{said} (non-commercial use only)" if self.source.non_commercial and "non-commercial" not in said.lower() else said

    def about(self) -> str:
        source = self.source
        cite = [f"Cite: {source.citation}"] if source.citation else []
        return "\n".join([f"{source.title} ({source.homepage})", f"Licence: {self.licence}", *cite])

    def prepare(self, out: Path) -> list[Recording]:
        """Recordings below ``out``, with ``ABOUT.txt``. Raises RetimbreError (see Store, and too few or broken recordings)."""
        print(textwrap.indent(self.about(), "  ").replace("  ", f"{self.source.name}: ", 1), flush=True)
        store = Store(
            self.source.name, self.dataset.archives, self.dataset.keep_archives, self.machine.downloads, self.patience
        )
        with store.locked():
            with _room_named(store.folder):
                root = self._gather(store)
            tracks = self._tracks(root)
            chosen = self._choose(tracks, root)
            for path in sorted({name for domain in chosen for stretch in chosen[domain] for name in (stretch.path, stretch.midi) if name}):
                link(root / path, out / path)
        (out / ABOUT).write_text(self.about() + "\n", encoding="utf-8")
        return [self._recording(domain, stretch) for domain in self.domains for stretch in chosen[domain]]

    def _gather(self, store: Store) -> Path:
        """Everything that is needed, unpacked below the returned folder."""
        index = self.source.index_files(self.domains)
        store.gather(index)
        root = store.show(index)
        files = self.source.files(self.domains, self.dataset.limit_hours, self.seed, root)
        files = [*index, *(file for file in files if file not in index)]
        store.gather(files)
        itself = isinstance(self.source, FetchesItself)
        if itself:
            store.fetched.mkdir(exist_ok=True)
            self.source.fetch(store.fetched, self.domains, self.dataset, self.seed)
        return store.show(files, fetched=itself)

    def _tracks(self, root: Path) -> list[Track]:
        """The adapter's tracks of the asked domains, each once, in a fixed order."""
        tracks = sorted({track for track in self.source.tracks(root, self.domains) if track.domain in self.domains}, key=_order)
        for track in tracks:
            parts = PurePosixPath(track.path).parts
            if not track.piece or not parts or ".." in parts or track.path.startswith("/") or track.split not in ("", *SPLITS):
                raise ValueError(f"{self.source.name} gives an invalid track: {track}")
        for domain in self.domains:
            if not any(track.domain == domain for track in tracks):
                raise RetimbreError(f"dataset.source {self.source.name} has no recordings of {domain}: choose another domain or source.")
        return tracks

    def _splits(self, tracks: Sequence[Track]) -> dict[str, str]:
        """The split of each piece: the publisher's, else ours."""
        domains_of: dict[str, set[str]] = {}
        official: dict[str, str] = {}
        for track in tracks:
            domains_of.setdefault(track.piece, set()).add(track.domain)
            before = official.get(track.piece, "")
            if before and track.split and before != track.split:
                raise RetimbreError(f"dataset.source {self.source.name}: {track.piece!r} is in the splits {before} and {track.split}.")
            official[track.piece] = before or track.split
        return assign_splits(domains_of, official, f"dataset.source {self.source.name}")

    def _choose(self, tracks: Sequence[Track], root: Path) -> dict[str, list[Stretch]]:
        """The stretches of each domain that are used, all of them checked."""
        checked = check_all([_task(track, deep=False) for track in tracks], root, self.machine.jobs, f"look at {self.source.name}")
        bad = {domain: [] for domain in self.domains}
        good: list[tuple[Track, Checked]] = []
        for track, file in zip(tracks, checked, strict=True):
            if file.problem:
                bad[track.domain].append(file)
            else:
                good.append((track, file))
        splits = self._splits([track for track, _ in good])
        chosen = {}
        for domain in self.domains:
            files = [(track, file) for track, file in good if track.domain == domain]
            self._refuse(domain, bad[domain], len(files) + len(bad[domain]), root)
            pieces = subset(
                [(track.piece, splits[track.piece], file.duration_s) for track, file in files], self.dataset.limit_hours, self.seed
            )
            stretches = [_stretch(track, file, splits[track.piece]) for track, file in files if track.piece in pieces]
            chosen[domain] = self._checked(domain, stretches, bad[domain], len(files) + len(bad[domain]), root)
        return chosen

    def _refuse(self, domain: str, bad: list[Checked], count: int, root: Path) -> None:
        refuse_too_many(f"{self.source.name}, {domain}", root, bad, count, self.dataset.max_unreadable_share)

    def _checked(self, domain: str, stretches: list[Stretch], bad: list[Checked], count: int, root: Path) -> list[Stretch]:
        """Choose, decode what was chosen, and choose again without what cannot be used until everything can."""
        usable = {(stretch.path, stretch.start_s): stretch for stretch in stretches}
        decoded: set[tuple[str, float]] = set()
        while True:
            chosen, origins = self._pick(domain, list(usable.values()))
            new = [key for key in origins if key not in decoded]
            if not new:
                short = sum(stretch.duration_s < self.dataset.excerpt_s - 1e-6 for stretch in chosen if stretch.split != "train")
                if short:
                    print(f"{domain}: {short} held-out clips are shorter than dataset.excerpt_s ({self.dataset.excerpt_s:g} s)", flush=True)
                return chosen
            tasks = [Task(path, start, usable[path, start].duration_s) for path, start in new]
            for key, file in zip(new, check_all(tasks, root, self.machine.jobs, f"check {domain}"), strict=True):
                decoded.add(key)
                if file.problem:
                    bad.append(file)
                    del usable[key]
            self._refuse(domain, bad, count, root)

    def _pick(self, domain: str, stretches: list[Stretch]) -> tuple[list[Stretch], list[tuple[str, float]]]:
        """Held-out excerpts of as many pieces as possible and training stretches; and the keys of the stretches they are from."""
        label = f"dataset.source {self.source.name}, {domain}"
        more = "raise dataset.limit_hours" if self.dataset.limit_hours else "choose a domain or source with more recordings"
        turns: dict[str, int] = {}
        order = []
        for stretch in sorted(stretches, key=lambda s: (unit_hash(f"stretch {s.path} {s.start_s:.6f}"), s.path)):
            turn = turns[stretch.piece] = turns.get(stretch.piece, -1) + 1
            order.append((turn, stretch))
        in_turn = [stretch for _, stretch in sorted(order, key=lambda entry: entry[0])]  # stable
        chosen = []
        for split, count in (("validation", self.dataset.validation_pieces), ("test", self.dataset.test_pieces)):
            own = [stretch for stretch in in_turn if stretch.split == split]
            chosen += held_out(own, split, count, self.dataset.excerpt_s, label, SHORTEST_EXCERPT_S, more)
        own = [stretch for stretch in stretches if stretch.split == "train"]
        own.sort(key=lambda s: (unit_hash(f"{self.seed} {s.path} {s.start_s:.6f}"), s.path))
        chosen += training(own, self.dataset.train_minutes, label, more)
        return chosen, sorted({stretch.origin for stretch in chosen})

    def _recording(self, domain: str, stretch: Stretch) -> Recording:
        return Recording(
            path=stretch.path,
            domain=domain,
            piece=stretch.piece,
            split=stretch.split,
            performance="",
            start_s=stretch.start_s,
            duration_s=stretch.duration_s,
            sample_rate=stretch.sample_rate,
            source=f"{self.source.title}, {self.source.homepage}",
            licence=self.licence,
            midi=stretch.midi,
        )


@contextmanager
def _room_named(folder: Path) -> Iterator[None]:
    """A full disk, a quota or a size limit while ``folder`` is filled, as a sentence that names it: the system's error names no file."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise RetimbreError(
            f"{folder} cannot take more ({error.strerror}): make room or set RETIMBRE_DOWNLOADS to a folder on a larger disk; what is "
            "downloaded is kept, the next run continues."
        ) from None


def _order(track: Track) -> tuple:
    return track.domain, track.path, track.start_s, track.duration_s or 0.0, track.piece, track.split, track.midi


def _task(track: Track, deep: bool) -> Task:
    return Task(track.path, track.start_s, track.duration_s, deep)


def _stretch(track: Track, file: Checked, split: str) -> Stretch:
    return Stretch(
        track.path, track.piece, split, file.sample_rate, track.start_s, file.duration_s, track.midi, origin=(track.path, track.start_s)
    )
