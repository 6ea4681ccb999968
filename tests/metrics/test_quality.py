"""Hygiene of a waveform and consistency of its spectrogram."""

import librosa
import numpy as np
import pytest

from retimbre.metrics import quality

RATE = 16000


def tones(seconds=2.0):
    t = np.arange(round(seconds * RATE)) / RATE
    wave = sum(np.sin(2 * np.pi * 220 * k * t) / k for k in (1, 2, 3, 4))
    return (0.2 * np.exp(-2 * (t % 0.5)) * wave).astype(np.float32)


def damaged(magnitude, what):
    rng = np.random.default_rng(0)
    if what == "noise":
        return magnitude * 10 ** (rng.normal(0, 3, magnitude.shape) / 20)
    if what == "blur":
        return np.apply_along_axis(lambda column: np.convolve(column, np.ones(5) / 5, "same"), 0, magnitude)
    return np.abs(librosa.stft(rng.normal(0, 0.1, 2 * RATE), n_fft=1024, hop_length=256))


@pytest.mark.parametrize("what", ["noise", "blur", "white noise"])
def test_projection_error_grows_with_damage(what):
    magnitude = quality.stft_magnitude(tones(), 1024, 256)
    real, worse = (quality.projection_error_db(m, 256) for m in (magnitude, damaged(magnitude, what)))
    assert real < -20 and worse > real + 5


def test_projection_error_agrees_with_librosas_phase_retrieval():
    magnitude = damaged(quality.stft_magnitude(tones(), 1024, 256), "noise")
    settings = {"hop_length": 256, "n_fft": 1024, "random_state": 0, "pad_mode": "constant"}
    audio = librosa.griffinlim(magnitude, n_iter=64, **settings)
    again = quality.stft_magnitude(audio, 1024, 256)
    theirs = 20 * np.log10(np.linalg.norm(magnitude - again) / np.linalg.norm(magnitude))
    assert quality.projection_error_db(magnitude, 256, 64) == pytest.approx(theirs, abs=1.0)


def test_odd_windows_are_projected_like_even_ones():
    errors = [quality.spectrogram_scores(tones(), n_fft, 128)["quality_proj_err_db"] for n_fft in (511, 512)]
    assert errors[0] == pytest.approx(errors[1], abs=2.0)


def test_more_iterations_find_more():
    magnitude = quality.stft_magnitude(tones(), 1024, 256)
    few, many = (quality.projection_error_db(magnitude, 256, count) for count in (1, 32))
    assert many < few - 3


def test_projection_error_of_what_cannot_be_projected():
    assert np.isnan(quality.projection_error_db(np.zeros((513, 20)), 256))
    with pytest.raises(ValueError, match="finite"):
        quality.projection_error_db(np.full((513, 20), np.inf), 256)


def test_consistency_differs_between_music_and_noise_and_not_with_level():
    magnitude = quality.stft_magnitude(tones(), 1024, 256)
    music, noise = (quality.consistency(m) for m in (magnitude, damaged(np.ones((513, 4)), "white")))
    assert noise > music  # more is not better
    assert quality.consistency(0.1 * magnitude) == pytest.approx(music, abs=1e-4)
    for flat in (np.zeros((513, 20)), np.ones((513, 2)), np.ones((513, 20))):
        assert np.isnan(quality.consistency(flat))


def test_scores_of_very_short_audio_are_undefined():
    assert all(np.isnan(v) for v in quality.spectrogram_scores(tones()[:500], 1024, 256).values())
    assert all(np.isfinite(v) for v in quality.spectrogram_scores(tones(), 1024, 256).values())


def test_hygiene():
    x = tones()
    assert quality.quality_clip(x) == quality.quality_silence(x) == 0
    assert quality.quality_clip(np.clip(20 * x, -1, 1)) > 0.3
    half = x.copy()
    half[RATE:] = 0
    assert quality.quality_silence(half) == pytest.approx(0.5, abs=0.02)
    assert quality.quality_silence(np.zeros(RATE)) == 1
    assert quality.quality_lufs_delta(0.5 * x, x, RATE) == pytest.approx(-6.02, abs=0.01)
    assert quality.quality_lufs_delta(np.zeros_like(x), np.zeros_like(x), RATE) == 0
    assert quality.quality_lufs_delta(np.zeros_like(x), x, RATE) < -40


def test_high_band():
    assert quality.quality_hf_ratio(tones(), RATE) < 0.01
    noise = np.random.default_rng(0).normal(size=RATE)
    assert quality.quality_hf_ratio(noise, RATE) == pytest.approx(0.5, abs=0.03)
    t = np.arange(RATE) / RATE
    assert quality.quality_hf_ratio(np.sin(2 * np.pi * 5000 * t), RATE) == pytest.approx(1)
    assert np.isnan(quality.quality_hf_ratio(np.zeros(RATE), RATE))
