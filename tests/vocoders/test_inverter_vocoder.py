"""The kind griffin_lim with the low band: what it changes, what it leaves, how chunks join."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import maximum_filter1d
from scipy.signal import butter, sosfilt

from retimbre.audio.features import FeatureConfig, spectrum_of
from retimbre.vocoders.inverter.network import InverterConfig, SpectralInverter
from retimbre.vocoders.inverter.vocoder import Inverter
from retimbre.vocoders.params import GriffinLim, Rendering

RATE, HOP, SECONDS = 16000, 256, 6.0
FINE = FeatureConfig(RATE, HOP, "retimbre", 32.7031956626, 188, 24, 1024, 80, 60.0)


def vocoder(features=FINE, representation="cqt", hops: float = 2.5, iterations: int = 2) -> Inverter:
    """An untrained one; ``hops`` and ``iterations``: of its low band."""
    torch.manual_seed(0)
    network = SpectralInverter(InverterConfig(features.bins(representation), 1024, 16, 1))
    config = {"domains": ["piano", "guitar"], "features": features.to_dict(), "top_db": 8.0}
    config["rms"] = 0.1
    config |= {"representation": representation, "inverter": network.config.to_dict()}
    how = GriffinLim(iterations=2, low_band_hops=hops, low_band_iterations=iterations)
    return Inverter(network, config, {}, Rendering(griffin_lim=how))


def chord() -> np.ndarray:
    """Two chords, one after the other, below the crossover."""
    time = np.arange(round(SECONDS * RATE)) / RATE
    first, second = (
        sum(np.cos(2 * np.pi * f * time + f) for f in notes)
        for notes in ([130.8, 164.8, 196.0], [146.8, 174.6, 220.0])
    )
    return (0.1 * np.where(time < 3.5, first, second)).astype(np.float32)


def spectrum(x: np.ndarray, features=FINE, representation="cqt") -> np.ndarray:
    return spectrum_of(x, features, representation)


def low(x: np.ndarray) -> np.ndarray:
    return sosfilt(butter(8, 600, fs=RATE, output="sos"), x)


def test_the_low_notes_are_there_whatever_the_network_says():
    """The network is untrained: the notes below the crossover come from the constant-Q spectrum alone."""
    x = chord()
    y = vocoder(iterations=8).griffin_lim(spectrum(x), len(x))
    found, wanted = (np.abs(np.fft.rfft(low(z)[RATE : 3 * RATE] * np.hanning(2 * RATE))) for z in (y, x))
    peaks = wanted == maximum_filter1d(wanted, 15)  # of half-hertz bins
    loudest = np.flatnonzero((wanted > 0.3 * wanted.max()) & peaks)
    assert len(loudest) == 3
    for k in loudest:
        assert abs(np.argmax(found[k - 10 : k + 11]) - 10) <= 2
        assert found[k - 2 : k + 3].max() > 5 * np.median(found[k - 30 : k + 31])


def test_without_it_nothing_is_inverted_by_the_constant_q_transform():
    x = chord()[: 2 * RATE]
    spectrum_db, off = spectrum(x), vocoder(hops=0)
    assert off.low_band is None
    made = [v.griffin_lim(spectrum_db, len(x)) for v in (off, vocoder(hops=0, iterations=8), vocoder())]
    assert np.array_equal(made[0], made[1]) and not np.array_equal(made[0], made[2])


@pytest.mark.parametrize("representation", ["mel", "stft"])
def test_other_representations_have_none(representation):
    x = chord()[:RATE]
    inverter = vocoder(representation=representation)
    assert inverter.low_band is None
    y = inverter.griffin_lim(spectrum(x, representation=representation), len(x))
    assert y.shape == x.shape and np.isfinite(y).all()


@pytest.mark.parametrize(
    "features", [FINE, replace(FINE, cqt_bins=84, cqt_bins_per_octave=12), replace(FINE, cqt_bins=20)]
)
@pytest.mark.parametrize("samples", [1, 300, 16000])
def test_any_length_and_number_of_bins(features, samples):
    x = chord()[:samples]
    y = vocoder(features).griffin_lim(spectrum(x, features), samples)
    assert y.shape == (samples,) and np.isfinite(y).all()


def test_chunks_continue_each_other():
    """As in a long transfer: what follows 2 s that were made before is what one piece would be."""
    x = chord()
    inverter = vocoder(iterations=8)
    whole = inverter.griffin_lim(spectrum(x), len(x))
    # The second chunk begins at `begin`; of it, everything up to `made` exists.
    begin, made = 1 * RATE // HOP * HOP, 3 * RATE
    rest_db = spectrum(x)[:, begin // HOP :]
    on, off = (
        inverter.griffin_lim(rest_db, len(x) - begin, before=before) for before in (whole[begin:made], None)
    )
    overlap = slice(made - RATE, made - RATE // 2)
    true = low(whole)[overlap]

    def difference(y):
        return np.sqrt(np.mean((low(np.pad(y, (begin, 0)))[overlap] - true) ** 2) / np.mean(true**2))

    assert difference(on) < 0.2 < difference(off)


def test_it_travels_to_other_processes():
    x = chord()[:RATE]
    inverter = vocoder()
    first = inverter.griffin_lim(spectrum(x), len(x))
    np.testing.assert_array_equal(
        pickle.loads(pickle.dumps(inverter)).griffin_lim(spectrum(x), len(x)), first
    )
