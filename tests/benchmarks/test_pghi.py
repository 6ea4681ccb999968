"""PGHI against known phases (a sinusoid, a chirp, an impulse), and by convergence beside noise and SPSI."""

import numpy as np
import pytest
import torch

from benchmarks.pghi import gaussian_window, hann_gamma, pghi_phase, phase_gradients
from retimbre.audio.spectral import griffin_lim, spsi_phase, stft

RATE, N_FFT, HOP, SAMPLES = 16000, 512, 64, 12000
NARROW = 0.06 * N_FFT**2  # a Gaussian that has almost died away at the window's ends (exp(-13))


def transform(x: np.ndarray, window: str) -> torch.Tensor:
    """Complex (F, T) with a Hann window, or with the narrow Gaussian."""
    x = torch.from_numpy(x).float()[None]
    if window == "hann":
        return stft(x, N_FFT, HOP)[0]
    gaussian = torch.from_numpy(gaussian_window(N_FFT, NARROW))
    settings = {"center": True, "pad_mode": "constant", "return_complex": True}
    return torch.stft(x, N_FFT, HOP, window=gaussian, **settings)[0]


def signal(kind: str) -> np.ndarray:
    time = np.arange(SAMPLES) / RATE
    if kind == "sinusoid":
        return 0.5 * np.sin(2 * np.pi * 2011.3 * time + 1)
    if kind == "chirp":  # 1 to 5 kHz
        return 0.5 * np.sin(2 * np.pi * (1000 * time + 0.5 * 4000 / time[-1] * time**2))
    return np.eye(1, SAMPLES, 6017)[0]


def gamma_of(window: str) -> float:
    return hann_gamma(N_FFT) if window == "hann" else NARROW


def wrapped(x: np.ndarray) -> np.ndarray:
    return np.angle(np.exp(1j * x))


def step_errors(phase: np.ndarray, X: torch.Tensor, down_db: float) -> tuple[float, float]:
    """RMS error (radians) of phase steps along time and frequency, at most ``down_db`` below the maximum.

    The audio's ends are left out. With a Gaussian window these three have quadratic log-magnitudes, so that
    all steps are exact.
    """
    X = X.numpy()[1:-1, 12:-12]
    phase, loud = phase[1:-1, 12:-12], np.abs(X) > np.abs(X).max() * 10 ** (-down_db / 20)
    errors = []
    for axis in (1, 0):
        both = loud & np.roll(loud, -1, axis)
        both = both[:, :-1] if axis else both[:-1]
        error = wrapped(np.diff(phase, axis=axis) - np.diff(np.angle(X), axis=axis))[both]
        assert error.size > 50
        errors.append(float(np.sqrt(np.mean(error**2))))
    return errors[0], errors[1]


@pytest.mark.parametrize("kind", ["sinusoid", "chirp", "impulse"])
@pytest.mark.parametrize("window, down_db, most", [("gauss", 40, 1e-3), ("hann", 20, 0.15)])
def test_phase_steps_are_the_true_ones(kind, window, down_db, most):
    X = transform(signal(kind), window)
    phase = pghi_phase(X.abs().numpy(), N_FFT, HOP, gamma_of(window))
    assert phase.shape == X.shape and phase.dtype == np.float32
    assert max(step_errors(phase, X, down_db)) < most


@pytest.mark.parametrize("window, tolerance", [("gauss", 0.01), ("hann", 0.25)])
def test_gradients_have_closed_forms(window, tolerance):
    """A sinusoid: its frequency where it reaches, pi from bin to bin. An impulse: the distance from it."""
    gamma, k = gamma_of(window), round(2011.3 / RATE * N_FFT)
    along_time, along_frequency = phase_gradients(
        transform(signal("sinusoid"), window).abs().numpy(), N_FFT, HOP, gamma
    )
    np.testing.assert_allclose(
        along_time[k - 1 : k + 2, 20:-20], 2 * np.pi * 2011.3 / RATE * HOP, atol=tolerance
    )
    np.testing.assert_allclose(along_frequency[k - 1 : k + 2, 20:-20], np.pi, atol=0.01)
    frame = 6017 // HOP
    along_time, along_frequency = phase_gradients(
        transform(signal("impulse"), window).abs().numpy(), N_FFT, HOP, gamma
    )
    for t in (frame - 1, frame, frame + 1):
        distance = 6017 - t * HOP
        np.testing.assert_allclose(
            along_frequency[5:-5, t], np.pi - 2 * np.pi * distance / N_FFT, atol=tolerance
        )
        np.testing.assert_allclose(
            along_time[5:-5, t], 2 * np.pi * HOP / N_FFT * np.arange(5, N_FFT // 2 - 4), rtol=1e-3
        )


def test_the_sinusoid_comes_back():
    """Frequency and level of what is resynthesised from the magnitude alone."""
    X = transform(signal("sinusoid"), "hann")
    phase = torch.from_numpy(pghi_phase(X.abs().numpy(), N_FFT, HOP))[None]
    y = griffin_lim(X.abs()[None], N_FFT, HOP, SAMPLES, 0, initial_phase=phase)[0, 2000:-2000]
    y = y.double().numpy()
    spectrum = np.abs(np.fft.rfft(y * np.hanning(len(y)), 8 * len(y)))
    assert np.argmax(spectrum) * RATE / (8 * len(y)) == pytest.approx(2011.3, abs=1.0)
    assert np.sqrt(np.mean(y**2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.05)


def harmonic_notes() -> torch.Tensor:
    """Twelve decaying notes of eight partials each, between the bins and over one another."""
    random, time = np.random.default_rng(3), np.arange(48000) / RATE
    y = np.zeros_like(time)
    for _ in range(12):
        f0, onset = 55 * 2 ** (random.integers(0, 48) / 12), random.uniform(0, 2.4)
        envelope = np.where(time > onset, np.exp(-(time - onset) * 3), 0)
        every = [(h, 2 * np.pi * f0 * h * time + random.uniform(0, 6)) for h in range(1, 9)]
        y += envelope * sum(np.sin(angle) / h * (f0 * h < 4000) for h, angle in every)
    return torch.from_numpy(0.2 * y).float()[None]


@pytest.mark.parametrize("n_fft, hop", [(1024, 256), (1024, 128)])
def test_is_a_better_start_than_spsi_and_noise(n_fft, hop):
    x = harmonic_notes()
    magnitude = stft(x, n_fft, hop).abs()
    m = magnitude[0].numpy()
    starts = [
        pghi_phase(m, n_fft, hop),
        spsi_phase(m, n_fft, hop),
        np.random.default_rng(0).uniform(0, 2 * np.pi, m.shape),
    ]
    for iterations in (0, 16):
        errors = []
        for phase in starts:
            y = griffin_lim(
                magnitude, n_fft, hop, x.shape[1], iterations, initial_phase=torch.from_numpy(phase)[None]
            )
            errors.append(float((stft(y, n_fft, hop).abs() - magnitude).norm() / magnitude.norm()))
        pghi, spsi, noise = errors
        assert pghi < 0.9 * spsi and pghi < 0.5 * noise


def test_gaussian_window_is_inverted_better_with_its_own_gamma():
    """Spectral convergence of one resynthesis; the Hann window's gamma is four times too large here."""
    x = harmonic_notes()
    window = torch.from_numpy(gaussian_window(N_FFT, NARROW))
    options = dict(n_fft=N_FFT, hop_length=HOP, window=window, center=True)
    magnitude = torch.stft(x, **options, pad_mode="constant", return_complex=True).abs()
    errors = []
    for gamma in (NARROW, None):
        phase = torch.from_numpy(pghi_phase(magnitude[0].numpy(), N_FFT, HOP, gamma))[None]
        y = torch.istft(torch.polar(magnitude, phase), **options, length=x.shape[1])
        rebuilt = torch.stft(y, **options, pad_mode="constant", return_complex=True).abs()
        errors.append(float((rebuilt - magnitude).norm() / magnitude.norm()))
    assert errors[0] < 0.15 and errors[0] < 0.5 * errors[1]


def test_random_phase_below_the_tolerance_only():
    m = transform(signal("chirp"), "hann").abs().numpy()
    one, two = (pghi_phase(m, N_FFT, HOP, tolerance=1e-2, seed=seed) for seed in (0, 1))
    quiet = m <= 1e-2 * m.max()
    assert 0.3 < quiet.mean() < 0.99
    assert np.array_equal(one[~quiet], two[~quiet])
    assert np.mean(one[quiet] == two[quiet]) < 0.01
    spread = np.abs(np.exp(1j * one[quiet]).mean())  # uniform on the circle
    assert spread < 4 / np.sqrt(quiet.sum())
    assert np.array_equal(one, pghi_phase(m, N_FFT, HOP, tolerance=1e-2, seed=0))
    assert one.min() >= 0 and one.max() <= 2 * np.pi + 1e-6


def test_every_loud_bin_is_reached_from_its_island():
    """Two tones a second apart with silence between: neither is left to chance."""
    x = np.zeros(SAMPLES)
    x[1500:4000], x[8000:10500] = (
        np.hanning(2500) * np.sin(2 * np.pi * f / RATE * np.arange(2500)) for f in (1000, 3000)
    )
    m = transform(x, "hann").abs().numpy()
    one, two = (pghi_phase(m, N_FFT, HOP, tolerance=1e-3, seed=seed) for seed in (0, 1))
    assert np.array_equal(one[m > 1e-3 * m.max()], two[m > 1e-3 * m.max()])


def test_silence_single_frames_and_wrong_shapes():
    assert np.isfinite(pghi_phase(np.zeros((129, 5)), 256, 64)).all()
    assert pghi_phase(np.ones((129, 1)), 256, 64).shape == (129, 1)
    assert pghi_phase(np.zeros((129, 0)), 256, 64).shape == (129, 0)
    with pytest.raises(ValueError, match="shape"):
        pghi_phase(np.zeros((128, 5)), 256, 64)
