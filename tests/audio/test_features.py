"""Features: one frame count, three constant-Q backends, decibels and their inverse."""

import dataclasses

import librosa
import numpy as np
import pytest
import torch

from retimbre.audio.features import (
    FeatureConfig,
    FeatureExtractor,
    decibels,
    denormalise,
    magnitude,
    normalise,
)
from retimbre.errors import RetimbreError
from tests.toys.models import FEATURES as CONFIG


def audio(samples: int) -> torch.Tensor:
    time = torch.arange(samples) / 16000
    x = sum(torch.sin(2 * torch.pi * f * time) * torch.exp(-time) for f in (110.0, 277.2, 659.3, 1760.0)) / 4
    return torch.stack([x, x.flip(0)]) + 1e-3 * torch.randn(
        2, samples, generator=torch.Generator().manual_seed(0)
    )


@pytest.mark.parametrize("backend", ["retimbre", "nnaudio", "librosa"])
@pytest.mark.parametrize("samples", [16000, 16128, 1000, 100])
def test_every_representation_has_the_same_frames(backend, samples):
    extract = FeatureExtractor(dataclasses.replace(CONFIG, cqt_backend=backend))
    for representation in ("cqt", "mel", "stft"):
        y = extract(audio(samples), representation)
        assert y.shape == (2, CONFIG.bins(representation), samples // 256 + 1) and y.dtype == torch.float32
        assert CONFIG.frames(samples) == y.shape[-1]
        assert torch.isfinite(y).all() and (y >= 0).all()


@pytest.mark.parametrize("backend", ["nnaudio", "librosa"])
def test_backends_agree(backend):
    ours = FeatureExtractor(CONFIG)(audio(32000), "cqt")
    theirs = FeatureExtractor(dataclasses.replace(CONFIG, cqt_backend=backend))(audio(32000), "cqt")
    assert (ours - theirs).norm() < 0.03 * theirs.norm()
    assert abs(float((ours * theirs).sum() / theirs.square().sum()) - 1) < 0.01
    assert float(torch.corrcoef(torch.stack([ours.flatten(), theirs.flatten()]))[0, 1]) > 0.999


def test_mel_is_of_the_magnitude():
    x = audio(16000)
    theirs = librosa.feature.melspectrogram(
        y=x.numpy(), sr=16000, n_fft=1024, hop_length=256, n_mels=80, power=1.0, pad_mode="constant"
    )
    np.testing.assert_allclose(FeatureExtractor(CONFIG)(x, "mel").numpy(), theirs, rtol=1e-3, atol=1e-5)


def test_a_note_shows_at_its_bin():
    x = torch.sin(2 * torch.pi * 440 * torch.arange(16000) / 16000)[None]
    for representation in ("cqt", "mel", "stft"):
        peak = FeatureExtractor(CONFIG)(x, representation)[0, :, 30].argmax().item()
        frequencies = CONFIG.frequencies_hz(representation)
        assert len(frequencies) == CONFIG.bins(representation)
        assert peak == np.argmin(np.abs(frequencies - 440))


@pytest.mark.parametrize("kind", [np.asarray, lambda x: torch.tensor(x, dtype=torch.float64)])
def test_decibels_and_their_inverse(kind):
    levels = kind([1.0, 0.1, 1e-5, 1e-9, 0.0])
    np.testing.assert_allclose(np.asarray(decibels(levels)), [0, -20, -100, -100, -100], atol=1e-9)
    np.testing.assert_allclose(
        np.asarray(magnitude(decibels(levels))), [1.0, 0.1, 1e-5, 1e-5, 1e-5], rtol=1e-9
    )
    z = normalise(kind([20.0, 8.0, -22.0, -52.0, -90.0]), 8.0, 60.0)
    np.testing.assert_allclose(np.asarray(z), [1, 1, 0, -1, -1])
    np.testing.assert_allclose(np.asarray(denormalise(z, 8.0, 60.0)), [8, 8, -22, -52, -52])


def test_config_round_trip_and_mistakes():
    assert FeatureConfig.from_dict(CONFIG.to_dict()) == CONFIG
    with pytest.raises(RetimbreError, match="mel_bins"):
        FeatureConfig.from_dict({k: v for k, v in CONFIG.to_dict().items() if k != "mel_bins"})
    with pytest.raises(RetimbreError, match="cqt_backend"):
        FeatureExtractor(dataclasses.replace(CONFIG, cqt_backend="essentia"))
    for action in (lambda: CONFIG.bins("wavelet"), lambda: FeatureExtractor(CONFIG)(audio(1000), "wavelet")):
        with pytest.raises(RetimbreError, match="wavelet"):
            action()


def test_gradients_reach_the_audio():
    x = audio(4096).requires_grad_()
    extract = FeatureExtractor(CONFIG)
    sum(extract(x, r).sum() for r in ("cqt", "mel", "stft")).backward()
    assert torch.isfinite(x.grad).all() and x.grad.abs().sum() > 0
