"""Errors that the user can mend, and the one place where they end a program."""

import gc
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# What soundfile and safetensors raise for a full disk; named, as importing either would slow every command.
FILE_ERRORS = ("LibsndfileError", "SafetensorError")


class RetimbreError(Exception):
    """A problem with what the user gave: its text is one sentence that names the file or the
    parameter and says what to do. Programs print it and exit with status 1, without a traceback.
    """


def check_target(to: str, targets: list[str]) -> None:
    """Raise RetimbreError, naming the choice, unless ``to`` is one of ``targets``."""
    if to not in targets:
        raise RetimbreError(f"{to!r} is no instrument of this system: choose {', '.join(targets)}.")


# What ends a process by default and can be caught.
STOPS = (signal.SIGTERM, signal.SIGHUP, signal.SIGALRM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU)


@contextmanager
def unwound_by_signals() -> Iterator[None]:
    """Signals that would end the process at once end it by SystemExit: what it was writing is taken away."""

    def stop(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    main = threading.current_thread() is threading.main_thread()  # only it may set handlers
    # What is ignored stays so: nohup ignores SIGHUP.
    caught = [number for number in STOPS if main and signal.getsignal(number) is signal.SIG_DFL]
    for number in caught:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number in caught:
            signal.signal(number, signal.SIG_DFL)


def sentence(error: BaseException) -> str | None:
    """One line on an error that the user can mend; None for any other."""
    if isinstance(error, RetimbreError):
        return str(error)
    if isinstance(error, OSError):
        name = error.filename2 or error.filename  # of a copy, where it should go
        place = f" ({name})" if name else ""
        # numpy's has no number
        whole = "" if error.strerror else "a file could not be written whole, is the disk full? "
        return f"{whole}{error.strerror or error}{place}."
    if type(error).__name__ in FILE_ERRORS:
        problem = f"a file could not be written or read ({str(error).rstrip('.')})"
        return f"{problem}: check the disk's free space."
    return None


def run(main: Callable[[], None]) -> None:
    """Run a program's ``main`` and turn what the user can mend into one line on stderr.

    Exit status: 0 when ``main`` returns, 1 after an error, 130 after Ctrl-C, 143 after SIGTERM.
    """
    gc.set_threshold(10_000)  # as in stages: imports, and numba's compiler, make many objects that stay
    try:
        with unwound_by_signals():
            main()
    except KeyboardInterrupt:
        print("stopped.", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:  # the reader of our output went away: nothing left to say
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        said = sentence(error)
        if said is None:
            raise
        print(f"error: {said}", file=sys.stderr)
        sys.exit(1)
