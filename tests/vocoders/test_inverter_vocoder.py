"""The kind griffin_lim with the low band: what it changes, what it leaves, and how chunks follow each other."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import maximum_filter1d
from scipy.signal import butter, sosfilt

from retimbre.audio.features import FeatureConfig, FeatureExtractor, decibels
from retimbre.vocoders.inverter.network import InverterConfig, SpectralInverter
from retimbre.vocoders.inverter.vocoder import Inverter

RATE, HOP, SECONDS = 16000, 256, 6.0
FINE = FeatureConfig(RATE, HOP, "retimbre", 32.7031956626, 188, 24, 1024, 80, 60.0)


def part(features=FINE, representation="cqt", **settings) -> Inverter:
    torch.manual_seed(0)
    network = SpectralInverter(InverterConfig(features.bins(representation), 1024, 16, 1))
    common = {"domains": ["piano", "guitar"], "features": features.to_dict(), "representation": representation, "top_db": 8.0}
    return Inverter(network, {**common, "inverter": network.config.to_dict(), "griffin_lim_iterations": 2, **settings}, {})


def chord() -> np.ndarray:
    """Two chords, one after the other, below the crossover."""
    time = np.arange(round(SECONDS * RATE)) / RATE
    first, second = (sum(np.cos(2 * np.pi * f * time + f) for f in notes) for notes in ([130.8, 164.8, 196.0], [146.8, 174.6, 220.0]))
    return (0.1 * np.where(time < 3.5, first, second)).astype(np.float32)


def levels(x: np.ndarray, features=FINE, representation="cqt") -> np.ndarray:
    return decibels(FeatureExtractor(features)(torch.from_numpy(x)[None], representation))[0].numpy()


def low(x: np.ndarray) -> np.ndarray:
    return sosfilt(butter(8, 600, fs=RATE, output="sos"), x)


def test_the_low_notes_are_there_whatever_the_network_says():
    """The network is untrained: which notes sound below the crossover comes from the constant-Q levels alone."""
    x = chord()
    y = part(low_band_hops=2.5, low_band_iterations=8).griffin_lim(levels(x), len(x))
    spectrum, wanted = (np.abs(np.fft.rfft(low(z)[RATE : 3 * RATE] * np.hanning(2 * RATE))) for z in (y, x))
    loudest = np.flatnonzero((wanted > 0.3 * wanted.max()) & (wanted == maximum_filter1d(wanted, 15)))  # half-hertz bins
    assert len(loudest) == 3
    for k in loudest:
        assert abs(np.argmax(spectrum[k - 10 : k + 11]) - 10) <= 2
        assert spectrum[k - 2 : k + 3].max() > 5 * np.median(spectrum[k - 30 : k + 31])


def test_without_it_nothing_changes():
    x = chord()[: 2 * RATE]
    level_db = levels(x)
    old = part()  # a folder that was written before the low band existed
    assert old.low_band is None
    np.testing.assert_array_equal(
        old.griffin_lim(level_db, len(x)), part(low_band_hops=0, low_band_iterations=8).griffin_lim(level_db, len(x))
    )


@pytest.mark.parametrize("representation", ["mel", "stft"])
def test_other_representations_have_none(representation):
    x = chord()[:RATE]
    inverter = part(representation=representation, low_band_hops=2.5, low_band_iterations=2)
    assert inverter.low_band is None
    y = inverter.griffin_lim(levels(x, representation=representation), len(x))
    assert y.shape == x.shape and np.isfinite(y).all()


@pytest.mark.parametrize("features", [FINE, replace(FINE, cqt_bins=84, cqt_bins_per_octave=12), replace(FINE, cqt_bins=20)])
@pytest.mark.parametrize("samples", [1, 300, 16000])
def test_any_length_and_number_of_bins(features, samples):
    x = chord()[:samples]
    y = part(features, low_band_hops=2.5, low_band_iterations=2).griffin_lim(levels(x, features), samples)
    assert y.shape == (samples,) and np.isfinite(y).all()


def test_chunks_continue_each_other():
    """As a long transfer makes them: 2 s of what was made before, and a body. What follows is what one piece would have been."""
    x = chord()
    inverter = part(low_band_hops=2.5, low_band_iterations=8)
    whole = inverter.griffin_lim(levels(x), len(x))
    begin, made = 1 * RATE // HOP * HOP, 3 * RATE  # the second chunk begins at `begin`; of it, everything up to `made` exists
    on, off = (inverter.griffin_lim(levels(x)[:, begin // HOP :], len(x) - begin, before=before) for before in (whole[begin:made], None))
    overlap = slice(made - RATE, made - RATE // 2)
    true = low(whole)[overlap]

    def difference(y):
        return np.sqrt(np.mean((low(np.pad(y, (begin, 0)))[overlap] - true) ** 2) / np.mean(true**2))

    assert difference(on) < 0.2 < difference(off)


def test_it_travels_to_other_processes():
    x = chord()[:RATE]
    inverter = part(low_band_hops=2.5, low_band_iterations=2)
    first = inverter.griffin_lim(levels(x), len(x))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(inverter)).griffin_lim(levels(x), len(x)), first)
