"""Scripts in processes of their own, such as trainings that are killed or interrupted.

The processes are forks of a server that has imported torch and no more: to import it again takes longer than
what they do, and a fork of this process would share its threads and its GPU. What is about imports, memory or
streams needs a fresh interpreter: ``subprocess``.
"""

import multiprocessing
import os
import runpy
import signal
import sys
from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TextIO

LIMIT_S = 1200  # of a process that hangs


class Forked:
    """``python SCRIPT WORDS`` in a fork, with as much of ``subprocess.Popen`` as the tests need.

    ``environment`` is added to this process's; with ``session`` it leads a session of its own. What it prints
    must fit into a pipe (64 kB).
    """

    def __init__(self, script: Path, *words: str, cwd: Path, session: bool = False, **environment: str):
        server = multiprocessing.get_context("forkserver")
        server.set_forkserver_preload(["torch"])
        (out, to_out), (errors, to_errors) = server.Pipe(duplex=False), server.Pipe(duplex=False)
        given = script, words, cwd, session, os.environ | environment, to_out, to_errors
        self._process = server.Process(target=_play, args=given)
        self._process.start()
        self.pid, (self.stdout, self.stderr) = self._process.pid, map(_read, (out, errors))
        to_out.close()
        to_errors.close()

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float = LIMIT_S) -> tuple[str, str]:
        """Wait for its end; the rest of what it printed."""
        self._process.join(timeout)
        if self.returncode is None:
            self.kill()
        with self.stdout, self.stderr:
            return self.stdout.read(), self.stderr.read()


def _read(end: Connection) -> TextIO:
    """The text that comes out of a pipe's end."""
    with end:
        return open(os.dup(end.fileno()))


def _play(
    script: Path,
    words: tuple[str, ...],
    cwd: Path,
    session: bool,
    environment: Mapping[str, str],
    stdout: Connection,
    stderr: Connection,
) -> None:
    """Run the script as the fork; multiprocessing turns how it ends into an exit status as Python does."""
    if session:
        os.setsid()
    for number, stream in ((1, stdout), (2, stderr)):
        os.dup2(stream.fileno(), number)
        stream.close()
    # pytest has put other streams in the place of these. Lines are read while the script runs.
    sys.stdout, sys.stderr = open(1, "w", buffering=1), open(2, "w", buffering=1)
    # As a command has it; a shell's background jobs are started deaf to it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(cwd)
    os.environ.update(environment)
    sys.argv, sys.path[:0] = [str(script), *words], [str(script.parent)]
    runpy.run_path(str(script), run_name="__main__")


def run_until_killed(folder: Path, script: str, *words: str, cwd: Path | None = None) -> None:
    """Run a script that ends by SIGKILL; its checkpoints lie below ``folder``."""
    (folder / "train.py").write_text(script)
    killed = Forked(folder / "train.py", *words, cwd=cwd or Path.cwd(), DVC_ROOT=str(folder))
    _, errors = killed.communicate()
    assert killed.returncode == -signal.SIGKILL, errors
