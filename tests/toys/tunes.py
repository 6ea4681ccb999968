"""Two instruments that play tunes: audio and all its features, for trainings of a few steps."""

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from retimbre.audio.levels import rms
from retimbre.datasets.packed.data import Data
from retimbre.datasets.packed.format import AudioWriter
from retimbre.datasets.preparation.caching import cache_features
from retimbre.datasets.preparation.hearing import cache_content
from retimbre.datasets.preparation.params import Features
from retimbre.section import Machine
from retimbre.training.checkpoint import Scratch
from retimbre.training.fit import History
from tests.toys.features import run_of
from tests.toys.models import FEATURES, RATE, melody

DOMAINS = ("piano", "guitar")


def write_tunes(folder: Path, content: bool = False) -> Data:
    """Two training pieces of 3 s for each instrument; the second one's notes are darker. ``content``: with
    what a transcriber hears of them.
    """
    with AudioWriter(folder / "resampled", RATE, 0.1, 100) as writer:
        for n, domain in enumerate(DOMAINS):
            for piece in range(2):
                x = np.roll(melody(3.0), (2 * n + piece) * 4000)
                x = np.convolve(x, (1.0, 0.9))[: len(x)] if n else x
                codes = np.rint(x * (0.1 / rms(x)) * 32767).clip(-32768, 32767).astype(np.int16)
                writer.add(codes, domain, "train", f"piece{n}{piece}")
    known = {name: value for name, value in FEATURES.to_dict().items() if name != "sample_rate"}
    machine = Machine(jobs=1, joblib_backend="threading")
    features = Features.model_validate(known)
    cache_features(folder / "resampled", folder / "features", features, 100, machine)
    if content:
        cache_content(folder / "resampled", folder / "content", features, 100, machine)
    return Data(folder / "resampled", folder / "features", folder / "content")


def continued(
    train: ModuleType, trainer: str, data: Data, p: Any, folder: Path, patch: pytest.MonkeyPatch
) -> tuple[Any, History]:
    """Model and history of a training that broke off at step 7 and went on from its checkpoint of step 5."""
    patch.setenv("DVC_ROOT", str(folder))
    whole = getattr(train, trainer).step

    def step(self: Any, *batch: Any) -> Any:
        if batch[-1] == 7:
            raise InterruptedError
        return whole(self, *batch)

    with patch.context() as broken:
        broken.setattr(getattr(train, trainer), "step", step)
        with pytest.raises(InterruptedError), Scratch("toy", "key") as scratch:
            train.fit(data, p, run_of(scratch))
    with Scratch("toy", "key") as scratch:
        assert scratch.load()[p.section]["step"] == 5
        return train.fit(data, p, run_of(scratch))
