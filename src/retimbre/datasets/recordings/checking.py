"""Checks of audio files, decoded to the end: what is wrong shows at once and by name."""

import functools
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from retimbre.audio.files import probe
from retimbre.datasets.parallel import parallel_map
from retimbre.errors import RetimbreError
from retimbre.progress import track

BLOCK_FRAMES = 1 << 16
SILENCE = 1e-5  # full scale 1; a file that never exceeds it holds no music
NAMES_SHOWN = 5
LACKING_S = 0.1  # what a stretch may lack of what its file's header promised (MP3 headers are estimates)
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


@dataclass(frozen=True)
class Checked:
    """A file's rate and duration (of the stretch that was asked for), or why it cannot be used."""

    name: str
    sample_rate: int = 0
    duration_s: float = 0.0
    problem: str = ""


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
        frames = (
            info.frames - first
            if task.duration_s is None
            else min(info.frames - first, round(task.duration_s * rate))
        )
        if frames <= 0:
            return Checked(name, problem=f"it ends before {task.start_s:g} s")
        if not task.deep:
            return Checked(name, rate, frames / rate)
        return _decode(name, path, first, frames, to_the_end=task.duration_s is None)
    except RetimbreError as error:
        return Checked(name, problem=str(error).removeprefix(f"{path} ").rstrip("."))
    except (soundfile.SoundFileError, OSError) as error:
        return Checked(name, problem=f"it breaks off while it is decoded ({error})")


def _decode(name: str, path: Path, first: int, frames: int, to_the_end: bool) -> Checked:
    """Decode block by block. A header may be wrong about a file's end, in both directions."""
    decoded, loudest, loudest_mono = 0, 0.0, 0.0
    with soundfile.SoundFile(path) as file:
        rate = file.samplerate
        if first:
            file.seek(first)
        while to_the_end or decoded < frames:
            size = BLOCK_FRAMES if to_the_end else min(BLOCK_FRAMES, frames - decoded)
            block = file.read(size, dtype="float32", always_2d=True)
            if len(block) == 0:
                break
            decoded += len(block)
            if not np.isfinite(block).all():
                return Checked(name, problem="it holds values that are not finite numbers")
            loudest = max(loudest, float(np.abs(block).max()))
            loudest_mono = max(loudest_mono, float(np.abs(block.mean(axis=1)).max()))
    if not to_the_end and decoded < frames - LACKING_S * rate:
        return Checked(
            name,
            problem=f"it breaks off at {(first + decoded) / rate:.1f} of {(first + frames) / rate:.1f} s",
        )
    if loudest < SILENCE:
        return Checked(name, problem="it is silent")
    if loudest_mono < SILENCE:
        return Checked(
            name,
            problem="its channels cancel each other (opposite phase), so that its mono mix is silent: "
            "invert one of them",
        )
    return Checked(name, rate, decoded / rate)


def check_all(tasks: Sequence[Task], folder: Path, jobs: int, title: str) -> list[Checked]:
    """``check`` for every task, in order, with progress. Problems are named on stderr."""
    seconds = sum((task.duration_s or UNKNOWN_S) if task.deep else HEADER_S for task in tasks)
    results = parallel_map(
        functools.partial(check, folder=folder), tasks, jobs if seconds > WORTH_PROCESSES_S else 1
    )
    checked = list(track(results, title, len(tasks), "files"))
    for file in checked:
        if file.problem:
            print(
                f"skipped {folder / file.name}: {file.problem}".encode(errors="replace").decode(),
                file=sys.stderr,
            )
    return checked


def refuse_too_many(label: str, place: Path, bad: Sequence[Checked], count: int, share: float) -> None:
    """Raise RetimbreError when more than ``share`` of ``count`` files are bad, else say how many are."""
    if len(bad) > share * count:
        shown = "; ".join(f"{file.name}: {file.problem}" for file in bad[:NAMES_SHOWN]) + (
            "; ..." if len(bad) > NAMES_SHOWN else ""
        )
        raise RetimbreError(
            f"{label}: {len(bad)} of {count} files in {place} cannot be used ({shown}): mend or remove "
            "them, "
            f"or raise dataset.max_unreadable_share ({share:g})."
        )
    if bad:
        print(f"{label}: {len(bad)} of {count} files were skipped", file=sys.stderr)
