"""The way to audio keeps the spectrum that it is given, whatever its network was trained on."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from retimbre.audio.features import FeatureConfig, FeatureExtractor, decibels, normalise, spectrum_of
from retimbre.audio.spectral import mel_filters, stft
from retimbre.vocoders.inverter.consistency import SMALL_DB, consistency_of
from retimbre.vocoders.inverter.network import InverterConfig, SpectralInverter
from retimbre.vocoders.inverter.vocoder import Inverter

FINE = FeatureConfig(16000, 256, "retimbre", 32.7031956626, 188, 24, 1024, 80, 60.0)
WIDE = replace(FINE, sample_rate=44100, hop_length=512, cqt_bins=210, stft_n_fft=2048, range_db=80.0)
CHORD = [261.63, 329.63, 392.0]  # Hz
TOP_DB = 16.0  # of the chord


def tones(config: FeatureConfig, frequencies_hz: list[float], amplitudes: list[float]) -> np.ndarray:
    t = np.arange(round(1.5 * config.sample_rate)) / config.sample_rate
    waves = (a * np.sin(2 * np.pi * f * t + f) for f, a in zip(frequencies_hz, amplitudes, strict=True))
    return sum(waves).astype(np.float32)


def untrained(features: FeatureConfig, representation: str = "cqt") -> Inverter:
    config = {"domains": [], "features": features.to_dict(), "representation": representation}
    config |= {"top_db": TOP_DB, "rms": 0.1}
    torch.manual_seed(0)
    network = SpectralInverter(
        InverterConfig(features.bins(representation), features.stft_n_fft, 8, 1),
        consistency_of(config, features.stft_n_fft),
    )
    return Inverter(network, config, {})


def power_by_note(x: np.ndarray, hz: float, rate: int) -> dict[int, float]:
    """Power of a signal's middle by semitones from ``hz``."""
    middle = x[len(x) // 3 : 2 * len(x) // 3]
    power = np.abs(np.fft.rfft(middle * np.blackman(len(middle)))) ** 2
    frequencies = np.fft.rfftfreq(len(middle), 1 / rate)
    semitones = np.rint(12 * np.log2(np.maximum(frequencies, 20) / hz)).astype(int)
    return dict(enumerate(np.bincount(semitones - semitones.min(), power), semitones.min()))


@pytest.mark.parametrize("features", [FINE, WIDE], ids=["16 kHz", "44.1 kHz"])
@pytest.mark.parametrize("below_db", [0, 28], ids=["alone", "under a chord"])
def test_every_tone_comes_back_and_no_other(features, below_db):
    """From 90 Hz to the highest bin, through a network that has learnt nothing."""
    inverter, rate = untrained(features), features.sample_rate
    chord = CHORD if below_db else []
    far = 4.5  # semitones from a chord's note, 28 dB above it, at which the STFT still tells both apart
    for hz in np.geomspace(90, features.frequencies_hz("cqt")[-1], 15):
        if any(abs(12 * np.log2(hz / note)) < far for note in chord):
            continue
        x = tones(features, [hz, *chord], [0.1 * 10 ** (-below_db / 20), *[0.1] * len(chord)])
        y = inverter.griffin_lim(spectrum_of(x, features, "cqt"), len(x))
        wanted, found = (power_by_note(z, hz, rate) for z in (x, y))
        assert abs(10 * np.log10(found[0] / wanted[0])) < SMALL_DB, hz
        notes = {0, *(round(12 * np.log2(note / hz)) for note in chord)}
        others = [power for n, power in found.items() if all(abs(n - note) > 1 for note in notes)]
        assert 10 * np.log10(max(others) / sum(wanted.values())) < -20, hz


@pytest.mark.parametrize("features", [FINE, WIDE], ids=["16 kHz", "44.1 kHz"])
@pytest.mark.parametrize("n_fft", [1, 2], ids=["the features' window", "twice its length"])
def test_an_stft_says_the_constant_q_levels_of_tones(features, n_fft):
    """The correction computes what the transform has: at the loudest bin, short windows or long."""
    n_fft *= features.stft_n_fft
    consistency = consistency_of(
        {"features": features.to_dict(), "representation": "cqt", "top_db": 0.0}, n_fft
    )
    z = torch.full((1, features.bins("cqt"), 60), -1.0)
    z[..., 30] = 1.0  # one loud frame
    assert consistency(torch.full((1, n_fft // 2 + 1, 60), -35.0), z).isfinite().all()
    for hz in np.geomspace(1000, features.frequencies_hz("cqt")[-3], 8):
        x = torch.from_numpy(tones(features, [hz], [0.1]))[None]
        power = stft(x, n_fft, features.hop_length).abs()[0, :, 40:50] ** 2
        computed = 10 * (consistency.response @ power).log10() + consistency.gain_db
        true = decibels(FeatureExtractor(features)(x, "cqt"))[0, :, 40:50]
        assert abs(float((computed.amax(0) - true.amax(0)).mean())) < 1.5, hz
        assert torch.equal(computed.argmax(0), true.argmax(0))


def test_mel_bands_are_kept_too():
    features = replace(FINE, mel_bins=40)
    x = tones(features, [200.0, 900.0, 4000.0], [0.1, 0.03, 0.01])
    spectrum_db = spectrum_of(x, features, "mel")
    made = untrained(features, "mel").stft_magnitude(spectrum_db)
    filters = mel_filters(features.sample_rate, features.stft_n_fft, features.mel_bins)
    kept_db = decibels(filters @ made)[0, :, 40:50].numpy()
    loud = spectrum_db[:, 40:50] > spectrum_db.max() - 40
    assert np.abs(kept_db - spectrum_db[:, 40:50])[loud].max() < SMALL_DB


def test_a_true_prediction_is_left_alone():
    """The STFT that a chord in noise has comes out nearly as it was: what is corrected are errors."""
    x = tones(FINE, [220.0, 554.4, 1318.5], [0.1, 0.1, 0.05])
    x += np.random.default_rng(0).normal(0, 1e-3, len(x)).astype(np.float32)
    true = decibels(stft(torch.from_numpy(x)[None], 1024, 256).abs())
    z = normalise(torch.from_numpy(spectrum_of(x, FINE, "cqt"))[None], TOP_DB, FINE.range_db)
    kept = consistency_of({"features": FINE.to_dict(), "representation": "cqt", "top_db": TOP_DB}, 1024)(
        true, z
    )
    held = slice(30, 60)  # frames
    loud = true[..., held] > true.max() - 20
    assert float((kept - true)[..., held].abs()[loud].mean()) < 1
