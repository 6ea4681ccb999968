"""Damaged recordings: used, or refused in one sentence, and nothing else happens."""

from pathlib import Path

import numpy as np
import soundfile

from retimbre.datasets.recordings import inspection
from retimbre.datasets.recordings.checking import Task, check
from retimbre.datasets.recordings.manifest import Recording
from retimbre.errors import RetimbreError
from retimbre.systems import streaming
from tests.fuzz.mutations import damaged

MOST_S = 600.0  # of audio that half a second may turn into: a rate of 1 Hz would make hours


class Same:
    """A system that changes nothing."""

    name, sample_rate, rms, targets, sources, slow = "same", 16000, 0.1, ["guitar"], None, False

    def transfer(self, audio: np.ndarray, to: str, seed: int = 0) -> np.ndarray:
        return audio


def run(number: int, folder: Path) -> str:
    """One case through `transfer`, `download`'s check and `data inspect`; how it ended: used, or why not.

    Raises AssertionError, or whatever the program raises, where it does what it must not.
    """
    kind, data = damaged(number)
    source, target = folder / f"{number}.{kind.lower()}", folder / f"{number}.out.wav"
    source.write_bytes(data)
    try:
        found, _ = streaming.transfer_file(Same(), source, target, "guitar")
        y, rate = soundfile.read(target)
        assert len(y) == found.frames and rate == found.info.sample_rate and np.isfinite(y).all()
        assert np.abs(y).max() < 10 ** (-1 / 20)
        ended = "used"
    except RetimbreError as error:
        sentence(str(error), source.name)
        assert not target.exists()
        ended = str(error).removeprefix(f"{source} ")
    checked = check(Task(source.name), folder)
    if checked.problem:
        assert "\n" not in checked.problem
    else:
        assert 0 < checked.duration_s < MOST_S and checked.sample_rate > 0
    recording = Recording(source.name, "sax", "a", "train", "", 0.0, 0.5, checked.sample_rate or 8000, "", "")
    measured = inspection.measure((0, recording), folder)
    if measured.problem:
        sentence(measured.problem, source.name)
    target.unlink(missing_ok=True)
    source.unlink()
    assert not list(folder.iterdir()), "nothing is left half-written"
    return ended


def sentence(text: str, name: str) -> None:
    assert name in text and text.endswith(".") and "\n" not in text, text
