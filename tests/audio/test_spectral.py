"""STFT, its inverse, mel filters and the phase algorithms against librosa and against each other."""

import librosa
import numpy as np
import pytest
import torch

from retimbre.audio.spectral import griffin_lim, istft, mel_filters, spsi_phase, stft

RATE = 16000


def notes(samples: int = 24000) -> torch.Tensor:
    """Three decaying notes with partials between the bins."""
    time = np.arange(samples) / RATE
    y = np.zeros(samples)
    for f0, onset in [(220.5, 0.0), (331.3, 0.4), (442.7, 0.8)]:
        envelope = np.where(time > onset, np.exp(-(time - onset) * 3), 0)
        for h in range(1, 7):
            y += envelope * np.sin(2 * np.pi * f0 * h * time + h) / h
    return torch.from_numpy(0.2 * y).float()[None]


def convergence(x: torch.Tensor, magnitude: torch.Tensor, n_fft: int, hop: int) -> float:
    return float((stft(x, n_fft, hop).abs() - magnitude).norm() / magnitude.norm())


@pytest.mark.parametrize(
    "n_fft, hop, samples",
    [(1024, 256, 24000), (512, 100, 5003), (64, 32, 63), (1024, 256, 10), (511, 128, 5120), (511, 128, 5003)],
)
def test_stft_is_librosas(n_fft, hop, samples):
    x = notes(samples)
    # librosa pads an odd window by one sample too little: it would leave out the frame that is centred
    # behind the last sample.
    theirs = librosa.stft(
        np.pad(x[0].numpy(), (0, n_fft % 2)), n_fft=n_fft, hop_length=hop, pad_mode="constant"
    )
    ours = stft(x, n_fft, hop)
    assert ours.shape == (1, n_fft // 2 + 1, samples // hop + 1)
    np.testing.assert_allclose(ours[0].numpy(), theirs, atol=1e-4)


@pytest.mark.parametrize(
    "n_fft, hop, samples",
    [
        (1024, 256, 24000),
        (1024, 256, 24255),
        (512, 100, 5003),
        (1024, 512, 8191),
        (64, 16, 7),
        (511, 128, 5120),
        (511, 256, 5119),
    ],
)
@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 1e-3), (torch.float64, 1e-9)])
def test_istft_inverts_at_any_length(n_fft, hop, samples, dtype, tolerance):
    x = torch.randn(3, samples, dtype=dtype, generator=torch.Generator().manual_seed(0))
    y = istft(stft(x, n_fft, hop), n_fft, hop, samples)
    assert y.shape == x.shape and y.dtype == dtype
    assert (y - x).norm() < tolerance * x.norm()


def test_level_of_a_sinusoid():
    x = 0.3 * torch.cos(2 * torch.pi * 1000 * torch.arange(16000) / RATE)[None]
    assert stft(x, 1024, 256)[0, 64, 30].abs().item() == pytest.approx(0.3 * 1024 / 4, rel=1e-4)


def test_wrong_length_is_refused():
    for length in (23999 - 256, 24256 + 256):
        with pytest.raises(ValueError, match="frames"):
            istft(stft(notes(), 1024, 256), 1024, 256, length)
        with pytest.raises(ValueError, match="frames"):
            griffin_lim(stft(notes(), 1024, 256).abs(), 1024, 256, length, 1)


def test_mel_filters_are_librosas():
    ours = mel_filters(RATE, 1024, 80)
    assert ours.dtype == torch.float32
    np.testing.assert_array_equal(ours.numpy(), librosa.filters.mel(sr=RATE, n_fft=1024, n_mels=80))
    ours.zero_()  # the cached filters are not handed out themselves
    assert mel_filters(RATE, 1024, 80).sum() > 0


def test_griffin_lim_converges_and_keeps_the_length():
    x = notes(24100)
    magnitude = stft(x, 1024, 256).abs().expand(2, -1, -1)
    by_iterations = {}
    for iterations in (0, 4, 32):
        y = griffin_lim(magnitude, 1024, 256, 24100, iterations, generator=torch.Generator().manual_seed(0))
        assert y.shape == (2, 24100)
        by_iterations[iterations] = convergence(y, magnitude, 1024, 256)
    assert by_iterations[0] > by_iterations[4] > by_iterations[32]
    assert by_iterations[32] < 0.1
    plain = griffin_lim(
        magnitude, 1024, 256, 24100, 32, momentum=0.0, generator=torch.Generator().manual_seed(0)
    )
    assert by_iterations[32] < convergence(plain, magnitude, 1024, 256)
    theirs = librosa.griffinlim(
        magnitude[0].numpy(), n_iter=32, hop_length=256, length=24100, random_state=0, pad_mode="constant"
    )
    assert by_iterations[32] < 1.3 * convergence(torch.from_numpy(theirs)[None], magnitude[:1], 1024, 256)


def test_griffin_lim_from_the_true_phase_is_the_signal():
    x = notes()
    X = stft(x, 1024, 256)
    y = griffin_lim(X.abs(), 1024, 256, x.shape[-1], 3, initial_phase=X.angle())
    assert (y - x).norm() < 1e-3 * x.norm()


def test_griffin_lim_is_repeatable_and_silent_on_silence():
    magnitude = stft(notes(4000), 256, 64).abs()
    a, b = (
        griffin_lim(magnitude, 256, 64, 4000, 3, generator=torch.Generator().manual_seed(7)) for _ in range(2)
    )
    assert torch.equal(a, b)
    assert torch.equal(griffin_lim(torch.zeros(1, 129, 11), 256, 64, 640, 3), torch.zeros(1, 640))


def test_spsi_is_a_better_start_than_noise():
    x = notes()
    magnitude = stft(x, 1024, 256).abs()
    phase = torch.from_numpy(spsi_phase(magnitude[0].numpy(), 1024, 256))[None]
    for iterations in (0, 8):
        random = griffin_lim(
            magnitude, 1024, 256, 24000, iterations, generator=torch.Generator().manual_seed(0)
        )
        informed = griffin_lim(magnitude, 1024, 256, 24000, iterations, initial_phase=phase)
        assert convergence(informed, magnitude, 1024, 256) < 0.8 * convergence(random, magnitude, 1024, 256)


def test_spsi_gives_a_steady_sinusoid_its_frequency():
    """Between two bins, so the parabola decides; the audio is one sinusoid with an arbitrary phase."""
    frequency, time = 1003.7, torch.arange(32000) / RATE
    magnitude = stft(0.5 * torch.sin(2 * torch.pi * frequency * time)[None], 1024, 256).abs()
    phase = torch.from_numpy(spsi_phase(magnitude[0].numpy(), 1024, 256))[None]
    y = griffin_lim(magnitude, 1024, 256, 32000, 0, initial_phase=phase)[0, 4000:-4000].double().numpy()
    spectrum = np.abs(np.fft.rfft(y * np.hanning(len(y)), 8 * len(y)))
    assert np.argmax(spectrum) * RATE / (8 * len(y)) == pytest.approx(frequency, abs=1.0)
    assert np.sqrt(np.mean(y**2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.05)


def test_spsi_of_silence_and_wrong_shapes():
    assert spsi_phase(np.zeros((129, 5)), 256, 64).shape == (129, 5)
    with pytest.raises(ValueError, match="shape"):
        spsi_phase(np.zeros((128, 5)), 256, 64)
