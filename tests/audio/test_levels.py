"""Levels against sinusoids of known level and pyloudnorm's calibration."""

import numpy as np
import pytest

from retimbre.audio import levels

RATE = 16000


def sine(amplitude: float, seconds: float = 1.0, frequency: float = 1000.0) -> np.ndarray:
    return (amplitude * np.sin(2 * np.pi * frequency * np.arange(round(RATE * seconds)) / RATE)).astype(
        np.float32
    )


def test_rms():
    assert levels.rms(sine(0.5)) == pytest.approx(0.5 / np.sqrt(2), rel=1e-5)
    assert levels.rms(np.full(1000, -0.25)) == 0.25
    assert levels.rms(np.zeros(0)) == 0.0


def test_scale_to_rms():
    x = sine(0.03)
    y, gain_db = levels.scale_to_rms(x, 0.1, RATE)
    assert y.dtype == np.float32 and levels.rms(y) == pytest.approx(0.1, rel=1e-5)
    np.testing.assert_allclose(y, x * 10 ** (gain_db / 20), rtol=1e-5)
    spike = np.zeros(16000, np.float32)
    spike[100] = -0.5
    y, gain_db = levels.scale_to_rms(spike, 0.1, RATE)
    assert y[100] == pytest.approx(-0.99) and gain_db == pytest.approx(20 * np.log10(0.99 / 0.5), abs=1e-5)
    for empty in (np.zeros(50), np.zeros(0)):
        y, gain_db = levels.scale_to_rms(empty, 0.1, RATE)
        assert gain_db == 0.0 and np.array_equal(y, empty)


def test_trim_bounds():
    x = np.concatenate([np.zeros(5000), sine(0.5), 1e-5 * np.ones(7000)]).astype(np.float32)
    start, stop = levels.trim_bounds(x, RATE, 60)
    assert 5000 - 320 <= start <= 5000 and 21000 <= stop <= 21000 + 320
    assert levels.trim_bounds(x, RATE, 120) == (start, len(x))  # 1e-5 is 94 dB below the peak
    assert levels.trim_bounds(sine(0.1), RATE, 60) == (0, RATE)
    assert levels.trim_bounds(np.zeros(100), RATE, 60) == levels.trim_bounds(np.zeros(0), RATE, 60) == (0, 0)


def test_loudness():
    calibration = sine(1.0, 3, 997.0)  # BS.1770's
    assert levels.loudness_lufs(calibration, RATE) == pytest.approx(-3.01, abs=0.1)
    assert levels.loudness_lufs(sine(0.1, 3, 997.0), RATE) == pytest.approx(-23.01, abs=0.1)
    short = levels.loudness_lufs(sine(0.1, 0.3, 997.0), RATE)
    assert short == pytest.approx(-23.7, abs=0.1)  # without the K-weighting's 0.7 dB at 1 kHz
    for silence in (np.zeros(2 * RATE), np.zeros(100), np.zeros(0), sine(1e-6)):
        assert levels.loudness_lufs(silence, RATE) == -70.0


@pytest.mark.parametrize("blocks", [1, 7, 1000])
def test_the_sounding_level_is_plain_with_rests_and_without_pauses_else(blocks):
    def level(x):
        sounding = levels.SoundingLevel(RATE)
        for block in np.array_split(x, blocks):
            sounding.update(block)
        return sounding.rms

    note, rest = sine(0.1), np.zeros(RATE // 20, np.float32)
    rests = np.concatenate([note, rest] * 4)
    assert level(rests) == pytest.approx(levels.rms(rests), rel=1e-9)
    for pause in (np.zeros(9 * RATE), np.random.default_rng(0).normal(0, 1e-4, 9 * RATE)):
        assert level(np.concatenate([note, pause, note])) == pytest.approx(levels.rms(note), rel=1e-3)
    assert level(np.zeros(0)) == level(np.zeros(RATE)) == 0.0
    assert level(note[:500]) == pytest.approx(levels.rms(note[:500]), rel=1e-9)
