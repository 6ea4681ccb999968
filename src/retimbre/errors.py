"""Errors that the user can mend, and the one place where they end a program."""

import os
import sys
from collections.abc import Callable

# What soundfile and safetensors raise for a full disk; named, because importing either here would slow every command.
FILE_ERRORS = ("LibsndfileError", "SafetensorError")


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
        name = error.filename2 or error.filename  # of a copy, where it should go
        place = f" ({name})" if name else ""
        whole = "" if error.strerror else "a file could not be written whole, is the disk full? "  # numpy's, without a number
        print(f"error: {whole}{error.strerror or error}{place}.", file=sys.stderr)
        sys.exit(1)
    except Exception as error:
        if type(error).__name__ not in FILE_ERRORS:
            raise
        print(f"error: a file could not be written or read ({str(error).rstrip('.')}): check the disk's free space.", file=sys.stderr)
        sys.exit(1)
