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
    """Audio (B, N) to scores (B, frequency, time) and the features on the way there, all of which look at a
    patch.
    """

    def __init__(self, n_fft: int, channels: int = CHANNELS):
        super().__init__()
        self.n_fft = n_fft
        sizes = [1, channels, channels, channels, channels]
        self.convolutions = nn.ModuleList(
            weight_norm(
                nn.Conv2d(
                    a, b, (7, 3) if i == 0 else (5, 3), stride=(2, 1), padding=(3, 1) if i == 0 else (2, 1)
                )
            )
            for i, (a, b) in enumerate(zip(sizes, sizes[1:], strict=False))
        )
        self.out = weight_norm(nn.Conv2d(channels, 1, 3, padding=1))

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        h = (
            decibels(stft(x, self.n_fft, self.n_fft // 4).abs())[:, None] / SPAN_DB + 1
        )  # (B, 1, K, T), about -1..1
        features = []
        for convolution in self.convolutions:
            h = F.leaky_relu(convolution(h), 0.1)
            features.append(h)
        return self.out(h)[:, 0], features


class MultiResolution(nn.Module):
    """One discriminator per resolution: a list of scores and a list of features."""

    def __init__(self, resolutions: tuple[int, ...] = RESOLUTIONS, channels: int = CHANNELS):
        super().__init__()
        self.each = nn.ModuleList(SpectrogramDiscriminator(n_fft, channels) for n_fft in resolutions)

    def forward(self, x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        made = [discriminator(x) for discriminator in self.each]
        return [scores for scores, _ in made], [h for _, features in made for h in features]


def feature_matching(fake: list[Tensor], real: list[Tensor]) -> Tensor:
    """Mean absolute difference of features, each relative to the real ones' mean size."""
    return torch.stack(
        [
            (f - r.detach()).abs().mean() / r.detach().abs().mean().clamp(min=1e-6)
            for f, r in zip(fake, real, strict=True)
        ]
    ).mean()
