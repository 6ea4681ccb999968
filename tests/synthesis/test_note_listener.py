"""The network that hears notes: it learns pitch and instrument, and all measures can be taken with it."""

import numpy as np
import pytest

from retimbre.synthesis.base import Notes, hertz
from retimbre.synthesis.measures.listener import Listener
from retimbre.synthesis.measures.suite import Reference, measure
from retimbre.synthesis.measures.train import fit_listener
from retimbre.training.devices import make_fabric
from retimbre.training.fit import Run

RATE, SAMPLES = 16000, 8192
PITCHES = (48, 60, 72)


def notes(count: int, seed: int) -> Notes:
    """Tones of three pitches, pure or with harmonics, at any level."""
    rng = np.random.default_rng(seed)
    pitch, instrument = rng.choice(PITCHES, count), rng.integers(2, size=count)
    t, h = np.arange(SAMPLES) / RATE, np.arange(1, 9)
    audio = [
        rng.uniform(0.01, 0.1)
        * ((h == 1) + k / h * (h > 1))
        @ np.sin(2 * np.pi * hertz(p) * h[:, None] * t + rng.uniform(0, 6, (8, 1)))
        for p, k in zip(pitch, instrument, strict=True)
    ]
    return Notes(np.array(audio, np.float32), pitch, np.full(count, 75), instrument, ("pure", "rich"), RATE)


@pytest.fixture(scope="module")
def listener() -> Listener:
    return fit_listener(notes(60, 0), Run(1, make_fabric("cpu")), steps=25)[0]


def test_it_hears_pitch_and_instrument_of_other_notes(listener, tmp_path) -> None:
    other = notes(24, 1)
    heard = listener.hear(other.audio)
    assert (np.array(PITCHES)[heard.pitch.argmax(1)] == other.pitch).all()
    assert (heard.instrument.argmax(1) == other.instrument).mean() > 0.9
    louder = listener.hear(5 * other.audio)  # levels tell nothing
    assert np.allclose(louder.pitch, heard.pitch, atol=1e-3)
    listener.save(tmp_path)
    assert np.array_equal(Listener.load(tmp_path).hear(other.audio).embedding, heard.embedding)


def test_figures_of_good_notes_of_copies_and_of_one_note(listener) -> None:
    train, test = notes(60, 0), notes(40, 1)
    reference = Reference(train, test, listener)
    assert (reference.group, reference.notes) == (15, 60)
    good = measure(notes(60, 2).audio, notes(60, 2).pitch, reference)
    assert good["pitch_accuracy"].value == 1
    assert (
        2.5 < good["inception_score"].value <= 3.01
        and good["inception_score"].low < good["inception_score"].high
    )
    copies = measure(train.audio, train.pitch, reference)
    assert copies["d_train"].value == pytest.approx(0, abs=0.1) and copies["duplicates"].value == 1
    assert copies["fid"].value == pytest.approx(0, abs=1e-3) and copies["ndb"].value == 0
    one = measure(np.repeat(train.audio[:1], 60, axis=0), None, reference)
    assert "pitch_accuracy" not in one
    assert one["inception_score"].value == pytest.approx(1, abs=1e-3)
    assert one["d_self"].value == pytest.approx(0, abs=0.1) and one["diversity"].value == pytest.approx(
        0, abs=0.1
    )
    assert one["fid"].value > good["fid"].value and one["js"].value > good["js"].value
