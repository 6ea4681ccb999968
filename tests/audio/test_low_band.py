"""The low notes of log-CQT levels as a signal, against sinusoids: frequency, level, chords, seams."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from retimbre.audio.features import FeatureConfig, FeatureExtractor, decibels
from retimbre.audio.low_band import FADE_HZ, LowBand, peak_phase, splice
from retimbre.audio.spectral import stft

RATE, HOP, FLOOR_DB = 16000, 256, -52.0
COARSE = FeatureConfig(RATE, HOP, "retimbre", 32.7031956626, 84, 12, 1024, 80, 60.0)
FINE = replace(COARSE, cqt_bins=188, cqt_bins_per_octave=24)


def tones(frequencies, amplitude=0.2, seconds=3.0):
    time = np.arange(round(seconds * RATE)) / RATE
    return sum(amplitude * np.cos(2 * np.pi * f * time + i) for i, f in enumerate(frequencies)).astype(
        np.float32
    )


def levels(x: np.ndarray, config: FeatureConfig) -> np.ndarray:
    return decibels(FeatureExtractor(config)(torch.from_numpy(x)[None], "cqt"))[0].numpy()


def rebuilt(band: LowBand, x: np.ndarray, iterations: int = 8, **more) -> np.ndarray:
    return band(levels(x, band.config), FLOOR_DB, len(x), iterations, **more)[0].numpy()


def spectrum(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies in Hz and amplitudes of sinusoids in the middle second, interpolated 16-fold."""
    middle = x[RATE : 2 * RATE] * np.hanning(RATE)
    return np.fft.rfftfreq(16 * RATE, 1 / RATE), np.abs(np.fft.rfft(middle, 16 * RATE)) * 4 / RATE


def strongest(x: np.ndarray, near_hz: float) -> tuple[float, float]:
    """Frequency and amplitude of the peak within 2 % of a frequency."""
    frequencies, amplitudes = spectrum(x)
    inside = np.abs(frequencies / near_hz - 1) < 0.02
    k = np.argmax(np.where(inside, amplitudes, 0))
    return frequencies[k], amplitudes[k]


@pytest.mark.parametrize("config", [COARSE, FINE])
@pytest.mark.parametrize("frequency", [70.3, 111.1, 220.0, 331.7])
def test_a_sinusoid_keeps_its_frequency_within_cents_and_its_level(config, frequency):
    found, amplitude = strongest(rebuilt(LowBand(config, 2.5), tones([frequency])), frequency)
    assert abs(1200 * np.log2(found / frequency)) < 4
    assert abs(20 * np.log10(amplitude / 0.2)) < 0.5


def test_followed_peaks_alone_are_in_tune():
    """Without an iteration the phase advances by the peak's frequency, between bins as well as on one."""
    band = LowBand(FINE, 2.5)
    for frequency in (130.0, 262.9, 440.0):
        found, _ = strongest(rebuilt(band, tones([frequency]), iterations=0), frequency)
        assert abs(1200 * np.log2(found / frequency)) < 8


def test_notes_a_tone_apart_stay_two():
    """24 Hz apart: within one lobe (62 Hz) of a short-time Fourier transform of 1024 samples."""
    chord = [196.0, 220.0]
    y = rebuilt(LowBand(FINE, 2.5), tones(chord))
    for frequency in chord:
        found, amplitude = strongest(y, frequency)
        assert abs(1200 * np.log2(found / frequency)) < 8
        assert abs(20 * np.log10(amplitude / 0.2)) < 1
    frequencies, amplitudes = spectrum(y)
    assert amplitudes[np.argmin(np.abs(frequencies - 207.65))] < 0.02


def test_iterations_bring_the_levels_nearer():
    x = tones([98.0, 146.8, 185.0]) * np.exp(-np.arange(3 * RATE) / RATE)
    band, wanted = LowBand(FINE, 2.5), levels(x.astype(np.float32), FINE)[:100]

    def error(iterations):
        return np.abs(
            10 ** (levels(rebuilt(band, x.astype(np.float32), iterations), FINE)[:100] / 20)
            - 10 ** (wanted / 20)
        ).mean()

    errors = [error(n) for n in (0, 4, 16)]
    assert errors[0] > errors[1] > errors[2]


def test_empty_bins_do_not_hum():
    band = LowBand(FINE, 2.5)
    y = band(np.full((188, 40), FLOOR_DB - 10, np.float32).clip(FLOOR_DB), FLOOR_DB, 39 * HOP, 4).numpy()
    assert np.abs(y).max() < 1e-4


def test_the_crossover_follows_the_windows_lengths():
    """2.5 hops of 256 samples are 640: half the bins per octave, half the frequency."""
    coarse, fine, none = LowBand(COARSE, 2.5), LowBand(FINE, 2.5), LowBand(COARSE, 1000)
    assert 400 < coarse.crossover_hz < 440 and 820 < fine.crossover_hz < 870
    assert LowBand(FINE, 5.0).crossover_hz == pytest.approx(fine.crossover_hz / 2, rel=0.03)
    assert (none.bins, none.crossover_hz) == (0, 0.0)
    few = LowBand(replace(FINE, cqt_bins=30), 2.5)
    assert few.bins == 30


def test_what_was_made_before_is_continued():
    """A second chunk that is given the first one's end has its phases; one that is not has others."""
    x = tones([110.0, 164.9, 277.1], seconds=6.0)
    whole = rebuilt(LowBand(FINE, 2.5), x)
    start, known, end = 2 * RATE // HOP * HOP, 2 * RATE, 5 * RATE
    band, level = LowBand(FINE, 2.5), levels(x, FINE)[:, start // HOP : start // HOP + 3 * RATE // HOP + 1]
    length = (level.shape[1] - 1) * HOP
    on, off = (
        band(level, FLOOR_DB, length, 8, before=before)[0].numpy()
        for before in (whole[start : start + known], None)
    )
    after = slice(known + RATE // 8, min(length, end - start) - RATE // 2)
    true = whole[start : start + length][after]
    assert np.corrcoef(on[after], true)[0, 1] > 0.95
    assert np.corrcoef(off[after], true)[0, 1] < 0.9


def test_known_phases_are_kept_by_bin():
    level = np.random.default_rng(0).normal(size=(6, 5)).astype(np.float32)
    known = np.full((6, 4), 0.25, np.float32)
    phase = peak_phase(level, 100.0, 12, 0.016, known, np.array([0, 1, 2, 3, 4, 9]))
    for k, count in enumerate([0, 1, 2, 3, 4, 4]):
        assert (phase[k, :count] == 0.25).all()
        assert not (phase[k, count:] == 0.25).any()
    with pytest.raises(ValueError, match="shape"):
        peak_phase(level[0], 100.0, 12, 0.016)


def test_a_clipped_peak_is_taken_in_its_middle():
    """Three bins as loud as the range allows: the note is the middle one's, 0.016 s further on."""
    level = np.array([-40, -20, 0, 0, 0, -20, -40], np.float32)[:, None].repeat(3, 1)
    advance = np.diff(np.unwrap(peak_phase(level, 20.0, 12, 0.004)[3]))
    np.testing.assert_allclose(advance, 2 * np.pi * 20 * 2 ** (3 / 12) * 0.004, rtol=1e-4)


def test_splice_takes_the_low_spectrum_below_and_leaves_the_rest():
    low = stft(torch.from_numpy(tones([220.0], seconds=0.5))[None], 1024, HOP)
    spectrum, phase = torch.rand(low.shape), torch.rand(low.shape)
    magnitude, angle = splice(spectrum, phase, low, 800.0, RATE / 1024, weight=1)
    frequencies = np.arange(513) * RATE / 1024
    below, above = frequencies < 800 - FADE_HZ / 2, frequencies > 800 + FADE_HZ / 2
    assert torch.equal(magnitude[:, below], low.abs()[:, below]) and torch.equal(
        angle[:, below], torch.angle(low)[:, below]
    )
    assert torch.equal(magnitude[:, above], spectrum[:, above]) and torch.equal(
        angle[:, above], phase[:, above]
    )
    mixed, same = splice(spectrum, phase, low, 800.0, RATE / 1024, weight=0.5)
    assert torch.equal(same, angle) and torch.equal(mixed[:, above], spectrum[:, above])
    loud = below[:, None] & (low[0].abs() > 1e-3).numpy() & (spectrum[0] > 1e-3).numpy()
    torch.testing.assert_close(mixed[0][loud] ** 2, (low[0].abs() * spectrum[0])[loud])
