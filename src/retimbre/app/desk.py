"""Desk of the page: one recording is transferred at a time, the others wait in turn, none is kept for long.

A job has a folder of its own below a temporary one. The folder goes when the page that asked for it is left,
when eight newer jobs have ended, and in any case when the server ends.
"""

import secrets
import shutil
import sys
import tempfile
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any, Literal

from retimbre import errors, progress

MOST_WAITING, MOST_ENDED = 8, 8  # jobs: a recording may take 250 MB of disk
STOP_S = 5  # that the server's end waits for the work under way


class Full(Exception):
    """So many wait that no more are taken."""


class Dropped(Exception):
    """Nobody waits for this job any longer."""


@dataclass
class Job:
    """A recording on its way. ``name``: its file's name, shown and never opened; the upload is ``source``."""

    name: str
    to: str
    system: str
    folder: Path
    id: str = field(default_factory=lambda: secrets.token_hex(16))
    state: Literal["waiting", "working", "done", "failed"] = "waiting"
    done: int = 0  # of total, in units of the work under way
    total: int = 0
    error: str = ""
    result: dict[str, Any] = field(default_factory=dict)
    dropped: bool = False

    @property
    def source(self) -> Path:
        return self.folder / "recording"

    def heard(self, progress: progress.Progress) -> None:
        """Take note of the work's progress. Raises Dropped to end it."""
        if self.dropped:
            raise Dropped
        self.done, self.total = progress.done, progress.total


class Desk:
    """A queue of jobs and the thread that does ``work(job)``, which returns the job's result.

    A context: inside, jobs can be opened, submitted and dropped.
    """

    def __init__(self, work: Callable[[Job], dict[str, Any]]):
        self.work = work
        self.jobs: dict[str, Job] = {}  # in the order of submission
        self.queue: SimpleQueue[Job | None] = SimpleQueue()
        self.thread = Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Desk":
        self.place = tempfile.TemporaryDirectory(prefix="retimbre-app-", ignore_cleanup_errors=True)
        self.thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        for name in list(self.jobs):
            self.drop(name)
        self.queue.put(None)
        self.thread.join(STOP_S)
        self.place.cleanup()

    def open(self, name: str, to: str, system: str) -> Job:
        """A job with a folder for its recording, not in the queue yet. Raises Full."""
        if sum(job.state == "waiting" for job in self.jobs.values()) >= MOST_WAITING:
            raise Full
        return Job(name, to, system, Path(tempfile.mkdtemp(dir=self.place.name)))

    def submit(self, job: Job) -> None:
        """Put a job, whose recording is there, at the queue's end."""
        self.jobs[job.id] = job
        self.queue.put(job)

    def ahead(self, job: Job) -> int:
        """Jobs that come before this one."""
        before = takewhile(lambda other: other is not job, list(self.jobs.values()))
        return sum(other.state in ("waiting", "working") for other in before)

    def drop(self, name: str) -> None:
        """Forget a job and its files; work on it ends at its next step."""
        if job := self.jobs.pop(name, None):
            self.discard(job)

    def discard(self, job: Job) -> None:
        """Remove a job's files, of one that was never submitted too."""
        job.dropped = True
        shutil.rmtree(job.folder, ignore_errors=True)

    def _run(self) -> None:
        while job := self.queue.get():
            if not job.dropped:
                self._do(job)
            if job.dropped:  # while it was worked on: what was written since goes too
                self.discard(job)
            ended = [name for name, other in list(self.jobs.items()) if other.state in ("done", "failed")]
            for name in ended[:-MOST_ENDED]:
                self.drop(name)

    def _do(self, job: Job) -> None:
        job.state = "working"
        try:
            with progress.told(job.heard):
                job.result = self.work(job)
            job.state = "done"
        except Exception as error:
            if job.dropped:  # whatever it stumbled over then, its files are gone
                return
            said = errors.sentence(error)
            if said is None:
                traceback.print_exc(file=sys.stderr)
                said = f"the transfer failed ({type(error).__name__}): the server's terminal says where."
            job.error, job.state = said.replace(str(job.source), job.name), "failed"
        finally:
            job.source.unlink(missing_ok=True)
