"""The baseline without a network: what it averages of tones that are known, and what it makes of it."""

import numpy as np
import pytest

from retimbre.audio.levels import rms
from retimbre.datasets.scores.performance import PlayedNote
from retimbre.errors import RetimbreError
from retimbre.synthesis import catalogue, performance
from retimbre.synthesis.base import Notes, hertz, sample
from retimbre.synthesis.parametric.params import Params
from retimbre.synthesis.parametric.train import fit, harmonics
from retimbre.training.devices import make_fabric
from retimbre.training.fit import Run

RATE, SAMPLES = 8000, 4096


def tone(pitch: int, slope: float, rate: float) -> np.ndarray:
    """Ten harmonics of amplitudes 1 / h^slope that die away at ``rate`` per second."""
    t, h = np.arange(SAMPLES) / RATE, np.arange(1, 11)
    h = h[h * hertz(pitch) < RATE / 2]
    return 0.1 * np.exp(-rate * t) * (h**-slope @ np.sin(2 * np.pi * hertz(pitch) * h[:, None] * t))


@pytest.fixture(scope="module")
def model():
    pitches = np.array([48, 50, 52, 55, 57, 60] * 2)
    audio = np.stack([tone(p, 1.0 + k // 6, 4.0 * (k // 6)) for k, p in enumerate(pitches)])
    instrument = np.repeat([0, 1], 6)
    notes = Notes(audio.astype(np.float32), pitches, np.full(12, 75), instrument, ("saw", "dull"), RATE)
    return fit(notes, Params(bands=24, frames=16), Run(1, make_fabric("cpu")))[0]


def of_instrument(model, k: int, pitch: int) -> np.ndarray:
    """A note of one instrument."""
    latents = model.latents(8, 0)
    chosen = next(n for n, z in enumerate(latents) if z[k] == 1)
    return model.decode(latents[chosen : chosen + 1], [pitch])[0]


def test_harmonics_have_the_envelope_of_the_instrument(model) -> None:
    for k, slope in ((0, 1.0), (1, 2.0)):
        _, level = harmonics(of_instrument(model, k, 52), 52, RATE)
        expected = -slope * np.log(np.arange(1, 7))
        assert level[:6] - level[0] == pytest.approx(expected, abs=0.6)


def test_the_decay_is_the_mean_one(model) -> None:
    for k, rate in ((0, 0.0), (1, 4.0)):
        first, last = np.split(of_instrument(model, k, 55), [SAMPLES // 2])
        assert np.log(rms(first) / rms(last)) == pytest.approx(rate * SAMPLES / 2 / RATE, abs=0.25)


def test_the_same_seed_makes_the_same_notes_and_a_saved_model_too(model, tmp_path) -> None:
    catalogue.store("parametric", model, tmp_path / "parametric")
    again = catalogue.load("parametric", tmp_path)
    assert np.array_equal(sample(model, 5, seed=3), sample(again, 5, seed=3))
    assert not np.array_equal(sample(model, 5, seed=3), sample(model, 5, seed=4))
    assert again.parameters == model.parameters == 2 * (24 + 16 + 32 + 1)


def test_words_are_refused() -> None:
    words = Notes(np.zeros((2, 64), np.float32), *np.zeros((3, 2), int), (), RATE)
    with pytest.raises(RetimbreError, match="parametric makes notes of a pitch"):
        fit(words, Params(bands=4, frames=4), Run(1, make_fabric("cpu")))


def test_unknown_pitches_and_untrained_rows_are_refused(model, tmp_path) -> None:
    with pytest.raises(RetimbreError, match="not learned the pitch 20: ask for one of 48 to 60"):
        model.decode(model.latents(1, 0), [20])
    with pytest.raises(RetimbreError, match="has no trained gansynth .*run.py --only gansynth"):
        catalogue.load("gansynth", tmp_path)


def test_a_melody_is_played_in_time_and_by_octaves(model) -> None:
    notes = [PlayedNote(0.0, 0.1, 60, 127), PlayedNote(1.0, 1.3, 72, 64)]
    audio = performance.play(notes, model, 0, None)
    assert len(audio) == RATE + SAMPLES
    note = model.decode(model.latents(1, 0), [60])[0]
    expected = np.zeros(RATE + SAMPLES)
    expected[:SAMPLES] += performance.released(note, 0.1, RATE)
    expected[RATE:] += (64 / 127) ** 2 * performance.released(note, 0.3, RATE)  # 72 is an octave above 60
    assert audio == pytest.approx(expected, abs=1e-6)
    assert not audio[round(0.21 * RATE) : RATE].any()


def test_a_walk_passes_its_stations_on_the_sphere(model) -> None:
    latents = performance.walk(model, [0.0, 2.0, 3.0, 4.0], 0, 2.0)
    stations = model.latents(3, 0)
    assert np.allclose(latents[[0, 1, 3]], stations, atol=1e-5)
    a, b = np.eye(3)[:2]
    import torch

    halfway = performance.between(torch.tensor(a), torch.tensor(b), 0.5)
    assert halfway.numpy() == pytest.approx(np.sqrt(0.5) * (a + b))
