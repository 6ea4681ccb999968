"""Helpers of the adapters: reading publishers' tables, subsets by hours, checks of what lies on disk."""

import csv
import re
import sys
import zipfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from glob import escape
from pathlib import Path

from retimbre.datasets.recordings.choosing import assign_splits, subset
from retimbre.datasets.recordings.manifest import SPLITS
from retimbre.datasets.sources.base import Track
from retimbre.errors import RetimbreError

# What an adapter sees are links (see Store): deleting one of them would bring it back as it was.
AGAIN = (
    "delete this source's folder of downloads, and the copy in dataset.archives if there is one, and "
    "run `dvc repro download` again"
)
FEWEST_PIECES = len(SPLITS)  # that a domain can be split into
SPLIT_OF = {split: split for split in SPLITS} | {"training": "train", "valid": "validation"}
UNFIT = (ValueError, LookupError, TypeError, AttributeError, StopIteration, csv.Error, zipfile.BadZipFile)
csv.field_size_limit(1 << 24)  # free text in publishers' tables is longer than the module's default


def domain_name(label: str) -> str:
    """A publisher's label as a domain: ``Old-Time / Historic`` is ``old_time_historic``."""
    return re.sub(r"[^a-z0-9]+", "_", label.lower()).strip("_")


@contextmanager
def table(path: Path, what: str) -> Iterator[None]:
    """Reading ``path``, which is ``what``: a RetimbreError when it is missing or something else."""
    try:
        yield
    except FileNotFoundError:
        raise RetimbreError(f"{path} is not there, though the archive should hold it: {AGAIN}.") from None
    except UNFIT as error:
        raise RetimbreError(f"{path} is not {what} ({error!r}): {AGAIN}.") from None


def read_table(path: Path, columns: Sequence[str], delimiter: str = ",") -> list[dict[str, str]]:
    """Complete rows of a CSV file with a header. Raises RetimbreError (see :func:`table`)."""
    with table(path, "the publisher's table"), open(path, encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, delimiter=delimiter)
        if missing := [name for name in columns if name not in (reader.fieldnames or ())]:
            raise ValueError(f"no column {missing[0]!r}")
        return [row for row in reader if all(row[name] is not None for name in columns)]


def choose(tracks: Iterable[Track], limit_hours: float, seed: int, source: str) -> list[Track]:
    """The tracks of at most ``limit_hours`` of each domain (0: all), whole pieces, splits in proportion.

    It is the choice that preparation makes once more from what is unpacked. ``tracks`` know their durations.
    """
    tracks = list(tracks)
    if limit_hours == 0:
        return tracks
    tracks = one_split(tracks)
    domains_of: dict[str, set[str]] = defaultdict(set)
    for track in tracks:
        domains_of[track.piece].add(track.domain)
    official = {track.piece: track.split for track in tracks}
    split_of = assign_splits(domains_of, official, f"dataset.source {source}")
    chosen: set[tuple[str, str]] = set()
    for domain in {track.domain for track in tracks}:
        own = [track for track in tracks if track.domain == domain]
        lengths = ((track.piece, split_of[track.piece], track.duration_s or 0.0) for track in own)
        chosen |= {(domain, piece) for piece in subset(lengths, limit_hours, seed)}
    return [track for track in tracks if (track.domain, track.piece) in chosen]


def members(paths: Iterable[str]) -> tuple[str, ...]:
    """Exact member names as patterns, without repetition."""
    return tuple(escape(path) for path in dict.fromkeys(paths))


def existing(root: Path, tracks: Iterable[Track], domains: Sequence[str], source: str) -> list[Track]:
    """The tracks whose files lie below ``root``. Raises RetimbreError for a domain without any."""
    found = [track for track in tracks if (Path(root) / track.path).is_file()]
    for domain in domains:
        if not any(track.domain == domain for track in found):
            raise RetimbreError(
                f"dataset.source {source}: no recording of {domain!r} is among the files in {root}, which "
                "are laid out otherwise than the publisher's: look at "
                f"docs/datasets/{source.split('_')[0]}*.md, {AGAIN}."
            )
    return found


def existing_clips(root: Path, tracks: Iterable[Track], domains: Sequence[str], source: str) -> list[Track]:
    """:func:`existing` tracks to the ends of their files, which may come early, each piece in one split."""
    whole = [replace(track, duration_s=None) for track in tracks]
    return one_split(existing(root, whole, domains, source), source)


def one_split(tracks: Iterable[Track], source: str = "") -> list[Track]:
    """Tracks without those pieces' parts in a second official split: the split of most of them stays.

    Official splits are by track; pieces here are wider (an artist, a work) where a publisher says so. What
    is left out of ``source`` (if named) is counted on stderr.
    """
    tracks = list(tracks)
    counts: dict[str, Counter] = defaultdict(Counter)
    for track in tracks:
        counts[track.piece][track.split] += 1
    stays = {piece: max(SPLITS + ("",), key=lambda split: count[split]) for piece, count in counts.items()}
    kept = [track for track in tracks if track.split == stays[track.piece]]
    if source and len(kept) < len(tracks):
        pieces = sum(len(count) > 1 for count in counts.values())
        print(
            f"{source}: {len(tracks) - len(kept)} tracks of {pieces} pieces left out, which are in two "
            "official splits",
            file=sys.stderr,
        )
    return kept


def known(domains: Sequence[str], names: Iterable[str], source: str) -> None:
    """Raise RetimbreError for a domain that is none of ``names``, which it lists."""
    names = list(names)
    for domain in domains:
        if domain not in names:
            raise RetimbreError(
                f"dataset.domains: source {source} does not know {domain!r}; it knows {', '.join(names)}."
            )
