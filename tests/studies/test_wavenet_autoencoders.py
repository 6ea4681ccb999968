"""The study of WaveNet autoencoders: notes that are kept and notes that are not."""

from types import SimpleNamespace

import numpy as np
import pytest

from retimbre.datasets.sources.params import Dataset
from retimbre.errors import RetimbreError
from studies.wavenet_autoencoders import kept_notes
from tests.toys.project import smoke


def system(change) -> SimpleNamespace:
    """A system that knows the flute alone."""
    return SimpleNamespace(
        name="toy", sample_rate=16000, rms=0.1, targets=["flute"], transfer=lambda x, to, seed: change(x)
    )


def test_a_copy_keeps_its_notes_and_a_semitone_less_does_not():
    dataset = Dataset.model_validate(smoke()["dataset"])
    assert kept_notes(system(lambda x: x), dataset, takes=1) == {"flute to flute": 1.0}
    slow = kept_notes(system(lambda x: np.interp(np.arange(len(x)) * 0.94, np.arange(len(x)), x)), dataset, 1)
    assert slow["flute to flute"] < 0.3


def test_instruments_that_cannot_be_rendered_are_refused():
    folders = {"piano": "/music/piano", "guitar": "/music/guitar"}
    folder = Dataset.model_validate(smoke()["dataset"] | {"source": "folder", "folders": folders})
    with pytest.raises(RetimbreError, match="toy: its instruments cannot be rendered"):
        kept_notes(system(lambda x: x), folder)
