"""From a published data set to recordings: download, unpack, split, take a subset, check, copy.

Only what is used is decoded: files are chosen by their headers, then the chosen ones are read to their ends,
and those that break off or are silent are replaced by the next.
"""

import errno
import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from retimbre.datasets.download.store import Store, link
from retimbre.datasets.download.web import Patience
from retimbre.datasets.recordings import choosing
from retimbre.datasets.recordings.checking import Checked, Task, check_all, refuse_too_many
from retimbre.datasets.recordings.choosing import SHORTEST_S, Part, held_out, unit_hash
from retimbre.datasets.recordings.manifest import SPLITS, Recording
from retimbre.datasets.sources.base import Adapter, Track
from retimbre.datasets.sources.common import known
from retimbre.datasets.sources.params import Dataset
from retimbre.errors import RetimbreError
from retimbre.section import Machine

ABOUT = "ABOUT.txt"


class Published:
    """``dataset.domains`` of one published set. Raises RetimbreError at once for others than it has."""

    def __init__(self, source: Adapter, dataset: Dataset, seed: int, machine: Machine):
        self.source, self.dataset, self.seed, self.machine = source, dataset, seed, machine
        self.domains = tuple(dataset.domains)
        known(self.domains, source.domains or self.domains, source.name)
        self.patience = Patience()

    @property
    def licence(self) -> str:
        said = self.source.licence
        untold = self.source.non_commercial and "non-commercial" not in said.lower()
        return f"{said} (non-commercial use only)" if untold else said

    def about(self) -> str:
        source = self.source
        cite = [f"Cite: {source.citation}"] if source.citation else []
        return "\n".join([f"{source.title} ({source.homepage})", f"Licence: {self.licence}", *cite])

    def prepare(self, out: Path) -> list[Recording]:
        """Recordings below ``out``, with ``ABOUT.txt``. Raises RetimbreError (see Store, and too few)."""
        print(textwrap.indent(self.about(), "  ").replace("  ", f"{self.source.name}: ", 1), flush=True)
        places = (self.dataset.archives, self.dataset.keep_archives)
        store = Store(self.source.name, *places, self.machine.downloads, self.patience)
        with store.locked():
            with _room_named(store.folder):
                root = self.gather(store)
            tracks = self.tracks(root)
            chosen = self._choose(tracks, root)
            for path in sorted({path for r in chosen for path in (r.path, r.midi) if path}):
                link(root / path, out / path)
        (out / ABOUT).write_text(self.about() + "\n", encoding="utf-8")
        return chosen

    def gather(self, store: Store) -> Path:
        """Everything that is needed, unpacked below the returned folder."""
        index = self.source.index_files(self.domains)
        store.gather(index)
        root = store.show(index)
        files = self.source.files(self.domains, self.dataset.limit_hours, self.seed, root)
        files = [*index, *(file for file in files if file not in index)]
        store.gather(files)
        self.source.fetch(store.fetched, self.domains, self.dataset, self.seed)
        return store.show(files)

    def tracks(self, root: Path) -> list[Track]:
        """The adapter's tracks of the asked domains, each once, in a fixed order."""
        tracks = sorted(
            {track for track in self.source.tracks(root, self.domains) if track.domain in self.domains},
            key=_order,
        )
        for track in tracks:
            parts = PurePosixPath(track.path).parts
            below = parts and ".." not in parts and not track.path.startswith("/")
            if not track.piece or not below or track.split not in ("", *SPLITS):
                raise ValueError(f"{self.source.name} gives an invalid track: {track}")
        for domain in self.domains:
            if not any(track.domain == domain for track in tracks):
                raise RetimbreError(
                    f"dataset.source {self.source.name} has no recordings of {domain}: choose another "
                    "domain or source."
                )
        return tracks

    def _splits(self, tracks: Sequence[Track]) -> dict[str, str]:
        """The split of each piece: the publisher's, else ours."""
        domains_of: dict[str, set[str]] = {}
        official: dict[str, str] = {}
        for track in tracks:
            domains_of.setdefault(track.piece, set()).add(track.domain)
            before = official.get(track.piece, "")
            if before and track.split and before != track.split:
                raise RetimbreError(
                    f"dataset.source {self.source.name}: {track.piece!r} is in the splits {before} and "
                    f"{track.split}."
                )
            official[track.piece] = before or track.split
        return choosing.assign_splits(domains_of, official, f"dataset.source {self.source.name}")

    def _choose(self, tracks: Sequence[Track], root: Path) -> list[Recording]:
        """The recordings used of each domain, all of them checked."""
        p, name = self.dataset, self.source.name
        tasks = [Task(track.path, track.start_s, track.duration_s, deep=False) for track in tracks]
        checked = check_all(tasks, root, self.machine.jobs, f"look at {name}")
        good = [(track, file) for track, file in zip(tracks, checked, strict=True) if not file.problem]
        splits = self._splits([track for track, _ in good])
        chosen: list[Recording] = []
        for domain in self.domains:
            seen = [file for track, file in zip(tracks, checked, strict=True) if track.domain == domain]
            bad = [file for file in seen if file.problem]
            there = [(track, file) for track, file in good if track.domain == domain]
            own = [self._recording(track, file, splits[track.piece]) for track, file in there]
            count = len(own) + len(bad)
            refuse_too_many(f"{name}, {domain}", root, bad, count, p.max_unreadable_share)
            pieces = choosing.subset(
                [(r.piece, r.split, r.duration_s) for r in own], p.limit_hours, self.seed
            )
            chosen += self._checked(domain, [r for r in own if r.piece in pieces], bad, count, root)
        return chosen

    def _recording(self, track: Track, file: Checked, split: str) -> Recording:
        return Recording(
            path=track.path,
            domain=track.domain,
            piece=track.piece,
            split=split,
            performance="",
            start_s=track.start_s,
            duration_s=file.duration_s,
            sample_rate=file.sample_rate,
            source=f"{self.source.title}, {self.source.homepage}",
            licence=self.licence,
            midi=track.midi,
        )

    def _checked(
        self, domain: str, usable: list[Recording], bad: list[Checked], count: int, root: Path
    ) -> list[Recording]:
        """Choose, decode what was chosen, and choose again without what is broken until nothing is."""
        decoded: set[Recording] = set()
        while True:
            parts = self._pick(domain, usable)
            new = sorted({whole for whole, _ in parts} - decoded, key=lambda r: (r.path, r.start_s))
            if not new:
                excerpt_s = self.dataset.excerpt_s
                held_s = [part.duration_s for _, part in parts if part.split != "train"]
                if short := sum(length_s < excerpt_s - 1e-6 for length_s in held_s):
                    than = f"dataset.excerpt_s ({excerpt_s:g} s)"
                    print(f"{domain}: {short} held-out clips are shorter than {than}", flush=True)
                return [part for _, part in parts]
            tasks = [Task(whole.path, whole.start_s, whole.duration_s) for whole in new]
            files = check_all(tasks, root, self.machine.jobs, f"check {domain}")
            decoded.update(new)
            broken = {whole for whole, file in zip(new, files, strict=True) if file.problem}
            usable = [whole for whole in usable if whole not in broken]
            bad += [file for file in files if file.problem]
            refuse_too_many(
                f"{self.source.name}, {domain}", root, bad, count, self.dataset.max_unreadable_share
            )

    def _pick(self, domain: str, usable: list[Recording]) -> list[Part]:
        """Held-out excerpts of as many pieces as possible, and training stretches."""
        p, label = self.dataset, f"dataset.source {self.source.name}, {domain}"
        more = (
            "raise dataset.limit_hours" if p.limit_hours else "choose a domain or source with more recordings"
        )
        turns: Counter[str] = Counter()
        order = []
        for r in sorted(usable, key=lambda r: (unit_hash(f"stretch {r.path} {r.start_s:.6f}"), r.path)):
            order.append((turns[r.piece], r))
            turns[r.piece] += 1
        in_turn = [r for _, r in sorted(order, key=lambda entry: entry[0])]  # stable
        parts = held_out(in_turn, "validation", p.validation_pieces, p.excerpt_s, label, SHORTEST_S, more)
        parts += held_out(in_turn, "test", p.test_pieces, p.excerpt_s, label, SHORTEST_S, more)
        by_seed = sorted(usable, key=lambda r: (unit_hash(f"{self.seed} {r.path} {r.start_s:.6f}"), r.path))
        return parts + choosing.training(by_seed, p.train_minutes, label, more)


@contextmanager
def _room_named(folder: Path) -> Iterator[None]:
    """A full disk, a quota or a size limit while ``folder`` is filled, as a sentence that names it: the
    system's error names no file."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise RetimbreError(
            f"{folder} cannot take more ({error.strerror}): make room or set RETIMBRE_DOWNLOADS to a folder "
            "on a larger disk; what is downloaded is kept, the next run continues."
        ) from None


def _order(track: Track) -> tuple:
    times = (track.start_s, track.duration_s or 0.0)
    return (track.domain, track.path, *times, track.piece, track.split, track.midi)
