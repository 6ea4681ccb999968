"""Unfinished trainings: kept where DVC does not delete them, continued by the same command.

DVC removes a stage's outputs before it runs, so what a training needs to go on lives outside them, in
``$DVC_ROOT/.scratch/<stage>/<key>/`` (git-ignored). The key (``provenance.training_key``) covers the stage's
params, inputs and code: a checkpoint of anything else is never picked up. DVC_ROOT is the original
checkout in a queued or temporary experiment too, so an interrupted one is found again.

A state is a nested dict of tensors, numbers, strings, lists and dicts, and must hold *everything*:
networks, optimisers, schedules, step, replay pools, averages, ``random_state()``, loss history. It is
read with ``weights_only=True``: a checkpoint cannot run code.

    with Scratch("system", training_key({...}, [...], ...)) as scratch:
        state = scratch.load()
        for step in range(state["step"] if state else 0, steps):
            ...
            if scratch.stop_requested or (step + 1) % checkpoint_every == 0:
                scratch.save({"step": step + 1, ...})
            if scratch.stop_requested:
                scratch.leave()
        ... write the outputs ...
        scratch.finish()
"""

import fcntl
import io
import os
import random
import shutil
import signal
import sys
import threading
import time
from typing import Any, NoReturn

import numpy as np
import torch

from retimbre.errors import RetimbreError
from retimbre.paths import project_root

WAIT_S = 1.0  # between two looks at a folder that another process holds
DAYS_KEPT = 14  # long enough for a holiday; what nobody returns to must not fill the disk


def random_state(*generators: np.random.Generator | torch.Generator) -> dict[str, Any]:
    """The states of Python's, NumPy's (legacy) and torch's (CPU and CUDA) global random numbers and of
    ``generators``, as values that ``weights_only`` loading allows."""
    name, keys, position, has_gauss, gauss = np.random.get_state()
    return {
        "python": random.getstate(),
        "numpy": (name, [int(key) for key in keys], position, has_gauss, gauss),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "generators": [
            g.get_state() if isinstance(g, torch.Generator) else _plain(g.bit_generator.state)
            for g in generators
        ],
    }


def set_random_state(state: dict[str, Any], *generators: np.random.Generator | torch.Generator) -> None:
    """Restore what ``random_state`` returned, into the same ``generators`` in the same order."""
    random.setstate(state["python"])
    np.random.set_state(state["numpy"])
    torch.set_rng_state(state["torch"])
    if state["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])
    for generator, saved in zip(generators, state["generators"], strict=True):
        if isinstance(generator, torch.Generator):
            generator.set_state(saved)
        else:
            generator.bit_generator.state = saved


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _plain(value: Any) -> Any:
    """NumPy values inside a bit generator's state as Python ones (Philox and MT19937 keep arrays)."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


class Scratch:
    """The folder of one unfinished training, held by one process at a time.

    While it is open, SIGINT and SIGTERM set ``stop_requested`` instead of ending the process, so that a
    training can save after the step it is in; a second signal ends it at once (at most the steps since the
    last save are lost). Opening waits while another process holds it, as when two queued experiments share a
    stage that neither has trained yet; then it goes on where that one was interrupted, or trains the same
    again. ``wait`` False raises RetimbreError instead: for the first of several processes, whose others
    would wait for it in turn.

    ``writes`` False is for the further processes of one training: signals are taken, nothing is read,
    written or held.
    """

    def __init__(self, stage: str, key: str, writes: bool = True, wait: bool = True):
        self.folder = project_root() / ".scratch" / stage / key
        self.path = self.folder / "checkpoint.pt"
        self.stage, self.writes, self.wait = stage, writes, wait
        self.stop_requested = False
        self._saved = self._warned = False
        self._lock: io.TextIOWrapper | None = None
        self._handlers: dict[int, Any] = {}

    def __enter__(self) -> "Scratch":
        if self.writes:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = self._hold()
            self._remove_old()
        if threading.current_thread() is threading.main_thread():  # only it may set handlers
            signals = (signal.SIGINT, signal.SIGTERM)
            self._handlers = {number: signal.signal(number, self._on_signal) for number in signals}
        return self

    def __exit__(self, *error: object) -> None:
        self._restore_handlers()
        if self._lock is not None:
            self._lock.close()  # closing releases the lock
            self._lock = None

    def load(self) -> dict[str, Any] | None:
        """The last saved state, on the CPU, or None. A file that cannot be read counts as none."""
        if not self.writes or not self.path.exists():
            return None
        try:
            state = torch.load(self.path, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises many kinds for a damaged file
            _say(f"{self.path} is damaged ({type(error).__name__}): training starts from the beginning.")
            return None
        # What this process saved itself (a stage of two trainings loads again) continues nothing.
        if not self._saved:
            _say(f"{self.stage}: continuing from {self.path}")
        return state

    def save(self, state: dict[str, Any]) -> None:
        """Replace the saved state, atomically. A disk that is full is worth a warning, not a training:
        the previous state stays, and training goes on."""
        if not self.writes:
            return
        # torch's own file writer reports a full disk in its destructor, too late to mend.
        temporary, buffer = self.path.with_suffix(".tmp"), io.BytesIO()
        torch.save(state, buffer)
        try:
            with temporary.open("wb") as stream:
                stream.write(buffer.getbuffer())
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(temporary, self.path)
            self._saved = True
        except OSError as error:
            temporary.unlink(missing_ok=True)
            if not self._warned:
                self._warned = True
                _say(f"warning: {self.path} could not be written ({error.strerror}): training goes on.")

    def leave(self) -> NoReturn:
        """End an interrupted training after its last save: raises KeyboardInterrupt (exit status 130)."""
        self._restore_handlers()
        if self.writes:
            _say(f"{self.stage}: the same command continues from here.")
        raise KeyboardInterrupt

    def release_signals(self) -> None:
        """The trainings are over: from here on Ctrl-C ends the program at once (its state stays saved)."""
        self._restore_handlers()
        if self.stop_requested:
            raise KeyboardInterrupt

    def finish(self) -> None:
        """The outputs are written: the saved state is not needed any more."""
        if self.writes:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _hold(self) -> io.TextIOWrapper:
        """Lock the folder for this process; the lock file says which one that is."""
        path, told = self.folder / "lock", False
        while True:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                lock = path.open("a+")
            except (FileExistsError, FileNotFoundError):  # its owner finished and removed it in between
                continue
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.seek(0)
                holder = lock.read().strip() or "unknown"
                lock.close()
                said = f"process {holder} is already training {self.stage} with these params"
                if not self.wait or holder == str(os.getpid()):
                    raise RetimbreError(f"{said}: wait for it, or end it with `kill {holder}`.") from None
                if not told:
                    _say(f"{self.stage}: {said}: waiting for it (`kill {holder}` ends it).")
                    told = True
                time.sleep(WAIT_S)
                continue
            try:
                same = os.path.samestat(os.fstat(lock.fileno()), path.stat())
            except FileNotFoundError:
                same = False
            if same:
                break
            lock.close()  # its owner finished and removed it between open and flock: take the new one
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        return lock

    def _remove_old(self) -> None:
        """Remove what this stage left behind more than DAYS_KEPT days ago and nobody holds."""
        limit = time.time() - DAYS_KEPT * 24 * 3600
        for folder in self.folder.parent.iterdir():
            try:
                used = max(file.stat().st_mtime for file in (folder, *folder.iterdir()))
                if folder == self.folder or used > limit:
                    continue
                with (folder / "lock").open("a") as lock:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(folder)
            except OSError:  # held, or removed by another process meanwhile
                continue
            _say(f"{self.stage}: removed a checkpoint that was not used for {DAYS_KEPT} days ({folder})")

    def _on_signal(self, number: int, frame: object) -> None:
        if self.stop_requested:
            self.leave()
        self.stop_requested = True
        # print() may be what was interrupted; a plain write is safe in a handler.
        if self.writes:
            os.write(2, b"\nstopping after this step, the state is saved; once more stops at once.\n")

    def _restore_handlers(self) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers = {}
