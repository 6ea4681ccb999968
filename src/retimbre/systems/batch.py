"""Recordings, one or many, to instruments, one or many: what is made of which, and the making of it."""

import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from retimbre import errors
from retimbre.audio.files import Survey
from retimbre.audio.folders import recording_names
from retimbre.audio.formats import FORMATS
from retimbre.errors import RetimbreError
from retimbre.paths import shown
from retimbre.progress import Progress
from retimbre.systems import streaming
from retimbre.systems.library import Retimbre


@dataclass(frozen=True)
class Task:
    """The recording ``source`` on the instrument ``to``, written to ``target``."""

    source: Path
    to: str
    target: Path


@dataclass(frozen=True)
class Done:
    """A task that ended well, or the ``problem`` that it ended with, one sentence."""

    task: Task
    found: Survey | None = None
    outcome: streaming.Outcome | None = None
    problem: str = ""


def alone(inputs: list[Path], instruments: list[str]) -> bool:
    """True for one file on one instrument, whose output may be named and is always made."""
    return len(inputs) == len(instruments) == 1 and not inputs[0].is_dir()


def plan(
    inputs: list[Path], instruments: list[str], output: Path | None = None, ending: str | None = None
) -> list[Task]:
    """Tasks for all recordings, files and those in folders, on all instruments.

    One file on one instrument is written to the file ``output``. In all other cases that is a folder, of
    files SOURCE-INSTRUMENT.ENDING in the tree that the inputs have (None: each beside its source). Recordings
    that are such outputs themselves are passed over. Raises RetimbreError where two would be written to one
    place.
    """
    folders = [path for path in inputs if path.is_dir()]
    if alone(inputs, instruments) and output is not None and not output.is_dir():
        return [_named(Task(inputs[0], instruments[0], output), ending)]
    if output is None and folders:
        raise RetimbreError(f"{folders[0]} is a folder: give the folder to write to with -o.")
    if output is not None and (output.is_file() or output.suffix[1:].lower() in FORMATS):
        raise RetimbreError(f"{output} is one file, and several are to be made: give a folder with -o.")
    places: dict[str, tuple[Path, Path]] = {}  # of each real file: its name as given, and by its tree
    for given in inputs:
        names = _names(given, output) if given in folders else [given.name]
        for name in names:
            source = given / name if given in folders else given
            place = source if output is None else output / name
            places.setdefault(os.path.realpath(source), (source, place))
    alike = Counter(place.with_suffix("") for _, place in places.values())
    tasks: dict[str, Task] = {}
    for source, place in places.values():
        # song.wav and song.mp3 side by side: the whole name tells them apart
        stem = place.stem if alike[place.with_suffix("")] == 1 else place.name
        for to in instruments:
            task = Task(source, to, place.with_name(f"{stem}-{to}.{ending or 'wav'}"))
            other = tasks.setdefault(os.path.realpath(task.target), task)
            if other != task:
                raise RetimbreError(
                    f"{other.source} and {source} would both be written to {task.target}: transfer them "
                    "apart, into different folders."
                )
    for real in sorted(places.keys() & tasks.keys()):
        print(
            shown(f"passed over {places[real][0]}: it is what {tasks[real].source} becomes"), file=sys.stderr
        )
    left = [task for task in tasks.values() if os.path.realpath(task.source) not in tasks]
    if not left:
        raise RetimbreError(f"{inputs[0]} would be written over by its own output: choose another with -o.")
    return left


def _named(task: Task, ending: str | None) -> Task:
    """A task whose output was named. Raises RetimbreError for its own source, and for another ending."""
    if os.path.realpath(task.target) == os.path.realpath(task.source):
        raise RetimbreError(f"{task.target} is the input itself: give another name with -o.")
    if ending is not None and task.target.suffix.lower() != f".{ending}":
        raise RetimbreError(f"{task.target} does not end in .{ending}: leave --format out, or name it so.")
    return task


def _names(folder: Path, output: Path) -> list[str]:
    """The recordings in a folder, but for what lies in ``output``."""
    within, written = folder.resolve(), output.resolve()
    if within == written:
        raise RetimbreError(f"{folder} would be read and written: give another folder with -o.")
    names = recording_names(folder)
    if written.is_relative_to(within):
        names = [name for name in names if not (folder / name).resolve().is_relative_to(written)]
    if not names:
        raise RetimbreError(f"{folder} holds no recordings (WAV, FLAC, OGG, MP3 ...): give another folder.")
    return names


def make(retimbre: Retimbre, task: Task, **how: Any) -> Done:
    """Carry out one task. ``how``: seed, mono and mix, as :func:`.streaming.transfer_file` takes them.

    Raises RetimbreError where nothing can be made of the recording.
    """
    system = retimbre.system_for(task.to)
    return Done(task, *streaming.transfer_file(system, task.source, task.target, task.to, **how))


def make_all(retimbre: Retimbre, tasks: Iterable[Task], jobs: int = 1, **how: Any) -> Iterator[Done]:
    """Carry out tasks as they come to an end, in ``jobs`` processes of one thread each (1: in this one).

    A recording that nothing can be made of ends its own task only. ``how``: as :func:`make` takes it.
    """
    tasks = list(tasks)
    jobs = min(jobs, len(tasks))
    for to in dict.fromkeys(task.to for task in tasks):
        retimbre.system_for(to)  # what is wrong with a system is said once, before the first recording
    if jobs <= 1:
        for task in tasks:
            yield _attempt(retimbre, task, how)
        return
    from retimbre.workers import worker_pool

    with (
        Progress(len(tasks), "transfer", "files") as progress,
        worker_pool(jobs, "give fewer --jobs; what was made is kept", _start, retimbre) as pool,
    ):
        for future in as_completed([pool.submit(_work, task, how) for task in tasks]):
            progress.update()
            yield future.result()


def _attempt(retimbre: Retimbre, task: Task, how: dict[str, Any]) -> Done:
    try:
        task.target.parent.mkdir(parents=True, exist_ok=True)
        return make(retimbre, task, **how)
    except Exception as error:
        problem = errors.sentence(error)
        if problem is None:
            raise
        return Done(task, problem=problem)


_here: Retimbre | None = None  # of a worker process


def _start(retimbre: Retimbre) -> None:
    """A worker process begins; the first process shows the progress of all."""
    global _here
    _here, sys.stderr = retimbre, open(os.devnull, "w")


def _work(task: Task, how: dict[str, Any]) -> Done:
    """A task in a worker process, which ends with what it was writing taken away."""
    try:
        with errors.unwound_by_signals():
            return _attempt(_here, task, how)
    except SystemExit as stop:  # the pool would take it for a result and go on
        os._exit(stop.code)
