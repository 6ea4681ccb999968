import os
import signal
import threading
import time

import pytest
import soundfile
from safetensors import SafetensorError

from retimbre.errors import RetimbreError, run


def raising(error: BaseException):
    def main() -> None:
        raise error

    return main


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (RetimbreError("params.yaml is broken: mend it."), 1, "error: params.yaml is broken: mend it."),
        (KeyboardInterrupt(), 130, "stopped."),
        (
            OSError(28, "No space left on device", "data/x.npy"),
            1,
            "error: No space left on device (data/x.npy).",
        ),
        (
            OSError(28, "No space left on device", "a.wav", None, "data/a.wav"),
            1,
            "error: No space left on device (data/a.wav).",
        ),
        (OSError("100 requested and 47 written"), 1, "is the disk full? 100 requested and 47 written."),
        (
            SafetensorError("I/O error: No space left on device (os error 28)"),
            1,
            "check the disk's free space.",
        ),
        (soundfile.LibsndfileError(2, "x.wav"), 1, "check the disk's free space."),
    ],
)
def test_what_the_user_can_mend_is_one_line(capsys, error, status, words):
    with pytest.raises(SystemExit) as stop:
        run(raising(error))
    assert stop.value.code == status
    said = capsys.readouterr().err
    assert words in said and said.count("\n") == 1


def test_a_bug_is_not_hidden():
    with pytest.raises(ZeroDivisionError):
        run(raising(ZeroDivisionError()))


def test_signals_unwind_the_program_and_are_put_back(capsys):
    before = signal.getsignal(signal.SIGUSR1)
    ended = []

    def main() -> None:
        try:
            os.kill(os.getpid(), signal.SIGUSR1)
            time.sleep(10)
        finally:
            ended.append("taken away")

    with pytest.raises(SystemExit) as stop:
        run(main)
    assert stop.value.code == 128 + signal.SIGUSR1 and ended == ["taken away"]
    assert signal.getsignal(signal.SIGUSR1) is before


def test_a_program_may_run_in_a_thread():
    ran = []
    thread = threading.Thread(target=lambda: run(lambda: ran.append(1)))
    thread.start()
    thread.join()
    assert ran == [1]
