"""The inverse constant-Q transform: adjoint, signal-to-noise ratio, and Griffin-Lim beside librosa's."""

import librosa
import numpy as np
import pytest
import torch

from retimbre.audio.cqt import ConstantQ
from retimbre.audio.cqt_inverse import InverseConstantQ, bin_weights
from retimbre.audio.products import overlap_add

RATE, C1 = 16000, 32.70319566257483
SETTINGS = [
    (RATE, 256, C1, 84, 12),
    (48000, 512, 65.4, 60, 12),
    (RATE, 160, 220.0, 41, 24),
    (RATE, 100, 440.0, 1, 12),
]
WIDER = [(RATE, 256, C1, 84, 12, torch.float32, 13.0), (RATE, 256, C1, 336, 48, torch.float32, 40.0)]
VARIABLE = (RATE, 256, C1, 84, 12, torch.float64, 25.0)  # the last two octaves share a rate


def harmonic_notes(seconds: float = 4.0) -> torch.Tensor:
    """Twelve decaying notes of eight partials between 55 Hz and 4 kHz: (1, N)."""
    random, time = np.random.default_rng(3), np.arange(int(RATE * seconds)) / RATE
    y = np.zeros_like(time)
    for _ in range(12):
        f0, onset = 55 * 2 ** (random.integers(0, 48) / 12), random.uniform(0, 0.8 * seconds)
        envelope = np.where(time > onset, np.exp(-(time - onset) * 3), 0)
        for h in range(1, 9):
            if f0 * h < 4000:
                y += envelope * np.sin(2 * np.pi * f0 * h * time + random.uniform(0, 6)) / h
    return torch.from_numpy(0.8 * y / np.abs(y).max()).float()[None]


def snr(x: torch.Tensor, y: torch.Tensor) -> float:
    return float(10 * torch.log10(x.square().sum() / (x - y).square().sum()))


def convergence(transform: ConstantQ, x: torch.Tensor, magnitude: torch.Tensor) -> float:
    return float((transform.magnitude(x) - magnitude).norm() / magnitude.norm())


def test_overlap_add_is_a_sum_of_shifted_frames():
    random = torch.Generator().manual_seed(0)
    for frames, size, hop in [(5, 7, 3), (4, 3, 5), (1, 4, 2), (6, 8, 4)]:
        rows = torch.randn(2, frames, 3, generator=random, dtype=torch.float64)
        kernels = torch.randn(size, 3, generator=random, dtype=torch.float64)
        expected = torch.zeros(2, (frames - 1) * hop + size, dtype=torch.float64)
        for t in range(frames):
            expected[:, t * hop : t * hop + size] += rows[:, t] @ kernels.T
        torch.testing.assert_close(overlap_add(rows, kernels, hop), expected)


@pytest.mark.parametrize("settings", [*((*settings, torch.float64) for settings in SETTINGS), VARIABLE])
@pytest.mark.parametrize("samples", [1, 4999, 9216])
def test_adjoint_is_autograds(settings, samples):
    transform = ConstantQ(*settings)
    x = torch.randn(
        2, samples, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True
    )
    C = transform(x)
    D = torch.randn(C.shape, dtype=C.dtype, generator=torch.Generator().manual_seed(1))
    (expected,) = torch.autograd.grad((C.conj() * D).sum().real, x)
    adjoint = InverseConstantQ(transform).adjoint(D, samples)
    assert adjoint.shape == x.shape
    torch.testing.assert_close(adjoint, expected, atol=1e-12, rtol=1e-9)


@pytest.mark.parametrize(
    "settings", [*SETTINGS[:3], (RATE, 64, C1, 84, 12), (RATE, 256, C1, 336, 48), *WIDER]
)
def test_weighted_gain_is_about_one_at_most(settings):
    """The largest eigenvalue, by the power method: below 1 Griffin-Lim descends, much below it is slow."""
    transform = ConstantQ(*settings)
    inverse = InverseConstantQ(transform)
    x = torch.randn(1, 16000, generator=torch.Generator().manual_seed(0))
    for _ in range(25):
        x = x / x.norm()
        x = inverse.adjoint(inverse.weights * transform(x), 16000)
    assert 0.9 < x.norm() < 1.02


def test_weights_of_long_and_short_windows():
    """Long windows: a gain of 0.75 L / hop, almost flat in time. Shorter than the hop: 2, at the centres."""
    weights = bin_weights(np.array([8000.0, 1000.0, 200.0, 10.0]), 256)
    np.testing.assert_allclose(weights, [256 / 6000, 256 / 750, 0.5, 0.5], rtol=2e-3)


@pytest.mark.parametrize(
    "bins, per_octave, hop, least",
    [
        (84, 12, 256, 14),
        (84, 12, 128, 20),
        (168, 24, 256, 20),
        (168, 24, 128, 29),
        (336, 48, 256, 28),
        (336, 48, 128, 29),
    ],
)
def test_inverts_better_than_librosa(bins, per_octave, hop, least):
    x = harmonic_notes()
    transform = ConstantQ(RATE, hop, C1, bins, per_octave)
    ours = InverseConstantQ(transform)(transform(x), x.shape[1])
    common = dict(sr=RATE, hop_length=hop, fmin=C1, bins_per_octave=per_octave)
    theirs = librosa.icqt(librosa.cqt(x[0].numpy(), n_bins=bins, **common), length=x.shape[1], **common)
    assert ours.shape == x.shape and ours.dtype == torch.float32
    assert snr(x, ours) > least
    assert snr(x, ours) > snr(x, torch.from_numpy(theirs)[None]) + 5


def test_inverse_of_what_the_band_holds_is_exact():
    """Audio within the band, with a redundant transform; at any length, for every signal of a batch."""
    transform = ConstantQ(RATE, 64, 110.0, 144, 24, dtype=torch.float64)
    inverse = InverseConstantQ(transform)
    for samples in (8000, 8191):
        random = torch.randn(2, samples, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        # Filtered by the transform's own response.
        x = inverse.adjoint(inverse.weights * transform(random), samples)
        y = inverse(transform(x), samples, iterations=200, tolerance=1e-6)
        assert y.shape == x.shape and min(snr(a, b) for a, b in zip(x, y, strict=True)) > 60
        torch.testing.assert_close(
            inverse(transform(x[1:]), samples, 20, 0.0), inverse(transform(x), samples, 20, 0.0)[1:]
        )


def test_more_iterations_come_nearer():
    x = harmonic_notes(1.0)
    transform = ConstantQ(RATE, 128, C1, 84, 12)
    ratios = [
        snr(x, InverseConstantQ(transform)(transform(x), x.shape[1], iterations)) for iterations in (1, 4, 16)
    ]
    assert ratios[0] > 5 and ratios == sorted(ratios)


def test_silence_and_wrong_shapes():
    transform = ConstantQ(RATE, 256, C1, 84, 12)
    inverse = InverseConstantQ(transform)
    assert torch.equal(inverse(torch.zeros(1, 84, 5, dtype=torch.complex64), 1100), torch.zeros(1, 1100))
    assert torch.equal(inverse.griffin_lim(torch.zeros(1, 84, 5), 1100, 3), torch.zeros(1, 1100))
    for bins, length in ((83, 1100), (84, 1023), (84, 1280)):
        with pytest.raises(ValueError, match="coefficients"):
            inverse(torch.zeros(1, bins, 5, dtype=torch.complex64), length)


def test_griffin_lim_converges():
    x = harmonic_notes(2.0)
    transform = ConstantQ(RATE, 128, C1, 84, 12)
    inverse, magnitude = InverseConstantQ(transform), transform.magnitude(x)

    def after(iterations, **options):
        y = inverse.griffin_lim(
            magnitude, x.shape[1], iterations, generator=torch.Generator().manual_seed(0), **options
        )
        assert y.shape == x.shape
        return convergence(transform, y, magnitude)

    few, many, plain = after(4), after(32), after(32, momentum=0.0)
    assert after(0) > few > plain > many
    assert many < 0.1
    true = inverse.griffin_lim(magnitude, x.shape[1], 16, initial_phase=transform(x).angle())
    assert convergence(transform, true, magnitude) < 0.02 and snr(x, true) > 12


def test_griffin_lim_is_repeatable_and_each_signal_is_its_own():
    transform = ConstantQ(RATE, 256, C1, 84, 12)
    inverse, magnitude = (
        InverseConstantQ(transform),
        transform.magnitude(torch.cat([harmonic_notes(1.0), harmonic_notes(1.0).flip(1)])),
    )
    phase = torch.rand(magnitude.shape, generator=torch.Generator().manual_seed(0))
    both = inverse.griffin_lim(magnitude, 16000, 3, initial_phase=phase)
    torch.testing.assert_close(
        both[1:], inverse.griffin_lim(magnitude[1:], 16000, 3, initial_phase=phase[1:]), atol=1e-5, rtol=1e-4
    )
    a, b = (
        inverse.griffin_lim(magnitude, 16000, 3, generator=torch.Generator().manual_seed(7)) for _ in range(2)
    )
    assert torch.equal(a, b)


def test_griffin_lim_comes_nearer_than_librosas_in_as_many_iterations():
    """In librosa's own measure."""
    x = harmonic_notes(2.0)
    common = dict(sr=RATE, hop_length=256, fmin=C1, bins_per_octave=12)
    magnitude = np.abs(librosa.cqt(x[0].numpy(), n_bins=84, **common))
    theirs = librosa.griffinlim_cqt(magnitude, n_iter=4, length=x.shape[1], random_state=0, **common)
    inverse = InverseConstantQ(ConstantQ(RATE, 256, C1, 84, 12))
    ours = inverse.griffin_lim(
        torch.from_numpy(magnitude)[None], x.shape[1], 4, generator=torch.Generator().manual_seed(0)
    )[0].numpy()
    errors = [np.linalg.norm(np.abs(librosa.cqt(y, n_bins=84, **common)) - magnitude) for y in (ours, theirs)]
    assert errors[0] < errors[1]
