"""``manifest.csv``: one row per recording that ``download`` gathered.

Times are seconds within the file, ``path`` and ``midi`` are relative to the manifest's folder with
``/`` between parts. Rows stand in a fixed order and hold no dates, so equal data give equal bytes.
"""

import csv
import math
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from retimbre.errors import RetimbreError
from retimbre.paths import write_atomically

NAME = "manifest.csv"
SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Recording:
    """A stretch of an audio file.

    Recordings of the same ``piece`` (the score, session or artist that splits are made by) with the
    same non-empty ``performance`` in different domains are sample-aligned performances of the same
    notes: paired. ``1`` is the paired performance, ``2`` another performance of the same score.
    """

    path: str
    domain: str
    piece: str
    split: str
    performance: str
    start_s: float
    duration_s: float
    sample_rate: int
    source: str
    licence: str
    midi: str = ""


COLUMNS = tuple(field.name for field in fields(Recording))


def _problem(recording: Recording) -> str | None:
    """The fault of a row, or None."""
    if recording.split not in SPLITS:
        return f"split {recording.split!r} is not one of {', '.join(SPLITS)}"
    if recording.performance and not recording.performance.isdigit():
        return f"performance {recording.performance!r} is neither empty nor a number"
    if not (recording.path and recording.domain and recording.piece):
        return "path, domain and piece must not be empty"
    for name in (recording.path, recording.midi):
        if name.startswith("/") or ".." in name.split("/"):
            return f"{name!r} leads out of the manifest's folder"
    # Written so that NaN is refused too.
    within = 0 <= recording.start_s < math.inf and 0 < recording.duration_s < math.inf
    if not (within and recording.sample_rate > 0):
        return "start_s, duration_s and sample_rate must be positive"
    return None


def _check(recordings: list[Recording], origin: str) -> None:
    """Raise for an invalid row, for a piece in two splits and for no rows at all."""
    split_of: dict[str, str] = {}
    for row, recording in enumerate(recordings, start=2):
        if problem := _problem(recording):
            raise RetimbreError(f"{origin} line {row}: {problem}; run `dvc repro download` again.")
        if split_of.setdefault(recording.piece, recording.split) != recording.split:
            raise RetimbreError(
                f"{origin} line {row}: piece {recording.piece!r} is in two splits; run `dvc repro download` "
                "again."
            )
    if not recordings:
        raise RetimbreError(f"{origin} lists no recordings; run `dvc repro download` again.")


def write_manifest(folder: Path, recordings: list[Recording]) -> None:
    """Write ``folder/manifest.csv``, sorted by split, domain, piece, performance and start; atomic.

    Domains keep the order in which ``recordings`` brings them (A, B ...): later stages read it from here.
    """
    _check(recordings, str(folder / NAME))
    domains = list(dict.fromkeys(r.domain for r in recordings))

    def order(r: Recording) -> tuple:
        return SPLITS.index(r.split), domains.index(r.domain), r.piece, r.performance, r.path, r.start_s

    with write_atomically(folder / NAME) as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        for recording in sorted(recordings, key=order):
            times = {name: f"{getattr(recording, name):.6f}" for name in ("start_s", "duration_s")}
            writer.writerow(asdict(recording) | times)


def read_manifest(folder: Path) -> list[Recording]:
    """The rows of ``folder/manifest.csv``. Raises RetimbreError (missing, other columns, invalid row)."""
    path = Path(folder) / NAME
    try:
        with open(path, encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            if tuple(reader.fieldnames or ()) != COLUMNS:
                raise RetimbreError(
                    f"{path} must have the columns {', '.join(COLUMNS)}; run `dvc repro download` again."
                )
            rows = list(reader)
    except FileNotFoundError:
        raise RetimbreError(f"{path} does not exist: run `dvc repro download` first.") from None
    except (UnicodeDecodeError, csv.Error):
        raise RetimbreError(f"{path} is not a CSV file in UTF-8; run `dvc repro download` again.") from None
    recordings = []
    for number, row in enumerate(rows, start=2):
        if None in row or None in row.values():
            raise RetimbreError(
                f"{path} line {number}: it has not {len(COLUMNS)} fields; run `dvc repro download` again."
            )
        try:
            numbers = {name: float(row[name]) for name in ("start_s", "duration_s")}
            numbers["sample_rate"] = int(row["sample_rate"])
        except (TypeError, ValueError):
            problem = "start_s, duration_s or sample_rate is not a number"
            raise RetimbreError(f"{path} line {number}: {problem}; run `dvc repro download` again.") from None
        recordings.append(Recording(**row | numbers))
    _check(recordings, str(path))
    return recordings
