"""Checks of audio files, decoded to the end: what is wrong shows at once and by name."""

import functools
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from retimbre.audio.files import LACKING_S, probe, survey
from retimbre.datasets.parallel import parallel_map
from retimbre.errors import RetimbreError
from retimbre.paths import shown
from retimbre.progress import track

SILENCE_DB = -100.0  # full scale 1; a file that is quieter holds no music
NAMES_SHOWN = 5
UNKNOWN_S = 60.0  # guess of an unknown duration
HEADER_S = 1.0  # reading a header takes about as long as decoding this
WORTH_PROCESSES_S = 600.0  # of audio; decoding less takes no longer than starting processes


@dataclass(frozen=True)
class Task:
    """A stretch of a file to look at; ``deep`` decodes it, else only the header is read."""

    name: str  # path below the folder that is checked, with /
    start_s: float = 0.0
    duration_s: float | None = None  # None: to the end
    deep: bool = True
    shortest_s: float = 0.0  # what is shorter is of no use


@dataclass(frozen=True)
class Checked:
    """A file's rate and duration (of the stretch that was asked for), or why it cannot be used.

    ``note``: what should be known of its use.
    """

    name: str
    sample_rate: int = 0
    duration_s: float = 0.0
    problem: str = ""
    note: str = ""


def check(task: Task, folder: Path) -> Checked:
    """Look at one stretch of a file below ``folder``. Never raises for what may be wrong with a file."""
    name, path = task.name, folder / task.name
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return Checked(name, problem="its name is not valid UTF-8: rename it")
    try:
        info = probe(path)
        rate, first = info.sample_rate, round(task.start_s * info.sample_rate)
        wanted = None if task.duration_s is None else round(task.duration_s * rate)
        there = math.inf if info.frames is None else info.frames - first
        if there <= 0:
            return Checked(name, problem=f"it ends before {task.start_s:g} s")
        asked = there if wanted is None else min(there, wanted)
        if not task.deep and asked < math.inf:
            return Checked(name, rate, asked / rate)
        found = survey(path, first, wanted)
    except RetimbreError as error:
        return Checked(name, problem=str(error).removeprefix(f"{path} ").rstrip("."))
    if found.broken or (wanted and found.frames < asked - LACKING_S * rate):
        end = "" if info.frames is None else f" of {info.frames / rate:.1f}"
        why = f" ({found.broken})" if found.broken else ""
        return Checked(name, problem=f"it breaks off at {(first + found.frames) / rate:.1f}{end} s{why}")
    if found.mixdown.level_db < SILENCE_DB:
        return Checked(name, problem="it is silent")
    if found.duration_s < task.shortest_s:
        needed = f"{task.shortest_s:g} s are needed: join short ones in one file"
        return Checked(name, problem=f"it lasts {found.duration_s:.1f} s, and {needed}")
    return Checked(name, rate, found.duration_s, note="; ".join(found.notes))


def check_all(tasks: Sequence[Task], folder: Path, jobs: int, title: str) -> list[Checked]:
    """``check`` for every task, in order, with progress. Problems are named on stderr."""
    seconds = sum((task.duration_s or UNKNOWN_S) if task.deep else HEADER_S for task in tasks)
    results = parallel_map(
        functools.partial(check, folder=folder), tasks, jobs if seconds > WORTH_PROCESSES_S else 1
    )
    checked = list(track(results, title, len(tasks), "files"))
    for file in checked:
        if file.problem:
            print(shown(f"skipped {folder / file.name}: {file.problem}"), file=sys.stderr)
    noted = [file for file in checked if file.note]
    for file in noted[:NAMES_SHOWN]:
        print(shown(f"note: {folder / file.name}: {file.note}"), file=sys.stderr)
    if len(noted) > NAMES_SHOWN:
        print(f"note: {len(noted) - NAMES_SHOWN} more files like these", file=sys.stderr)
    return checked


def refuse_too_many(label: str, place: Path, bad: Sequence[Checked], count: int, share: float) -> None:
    """Raise RetimbreError when more than ``share`` of ``count`` files are bad, else say how many are."""
    if len(bad) > share * count:
        said = [f"{file.name}: {file.problem}" for file in bad[:NAMES_SHOWN]]
        named = "; ".join([*said, "..."] if len(bad) > NAMES_SHOWN else said)
        raise RetimbreError(
            f"{label}: {len(bad)} of {count} files in {place} cannot be used ({named}): mend or remove them, "
            f"or raise dataset.max_unreadable_share ({share:g})."
        )
    if bad:
        print(f"{label}: {len(bad)} of {count} files were skipped", file=sys.stderr)
