"""Errors that the user can mend, and the one place where they end a program."""

import os
import sys
from collections.abc import Callable


class RetimbreError(Exception):
    """A problem with what the user gave: its text is one sentence that names the file or the
    parameter and says what to do. Programs print it and exit with status 1, without a traceback.
    """


def run(main: Callable[[], None]) -> None:
    """Run a program's ``main`` and turn what the user can mend into one line on stderr.

    Exit status: 0 when ``main`` returns, 1 after an error, 130 after Ctrl-C.
    """
    try:
        main()
    except RetimbreError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("stopped.", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:  # the reader of our output went away: nothing left to say
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        place = f" ({error.filename})" if error.filename else ""
        print(f"error: {error.strerror or error}{place}.", file=sys.stderr)
        sys.exit(1)
