"""Discriminators of audio that look at its spectrogram, at several resolutions at once.

Multi-resolution spectrogram discriminators (UnivNet, Jang et al. 2021; for Vocos, Siuzdak 2023): what one
resolution blurs another shows, so that a generator cannot hide its noise where a single STFT does not look.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

from retimbre.audio.features import decibels
from retimbre.audio.spectral import stft

RESOLUTIONS = (512, 1024, 2048)  # samples of the windows; a quarter as hop
CHANNELS = 16
SPAN_DB = 40.0


class SpectrogramDiscriminator(nn.Module):
    """Audio (B, N) to scores (B, frequency, time) of patches, and the features on the way there."""

    def __init__(self, n_fft: int, channels: int = CHANNELS):
        super().__init__()
        self.n_fft = n_fft
        layers = [(1, 7), *[(channels, 5)] * 3]  # channels of the input, height of the filters
        self.convolutions = nn.ModuleList(
            weight_norm(nn.Conv2d(c, channels, (k, 3), stride=(2, 1), padding=(k // 2, 1))) for c, k in layers
        )
        self.out = weight_norm(nn.Conv2d(channels, 1, 3, padding=1))

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        level_db, features = decibels(stft(x, self.n_fft, self.n_fft // 4).abs()), []
        h = level_db[:, None] / SPAN_DB + 1  # (B, 1, K, T), about -1..1
        for convolution in self.convolutions:
            h = F.leaky_relu(convolution(h), 0.1)
            features.append(h)
        return self.out(h)[:, 0], features


class MultiResolution(nn.Module):
    """One discriminator per resolution: a list of scores and a list of features."""

    def __init__(self, channels: int = CHANNELS):
        super().__init__()
        self.each = nn.ModuleList(SpectrogramDiscriminator(n_fft, channels) for n_fft in RESOLUTIONS)

    def forward(self, x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        made = [discriminator(x) for discriminator in self.each]
        return [scores for scores, _ in made], [h for _, features in made for h in features]


def feature_matching(fake: list[Tensor], real: list[Tensor]) -> Tensor:
    """Mean absolute difference of features, each relative to the real ones' mean size."""
    pairs = [(f, r.detach()) for f, r in zip(fake, real, strict=True)]
    return torch.stack([(f - r).abs().mean() / r.abs().mean().clamp(min=1e-6) for f, r in pairs]).mean()
