"""Tagging from raw audio: a strided convolution learns what a spectrogram is, and its twin on log-mel bands.

Dieleman and Schrauwen, "End-to-end learning for music audio" (ICASSP 2014): frames by a strided convolution,
two convolutions of width 8 with poolings of 4, a hidden layer. The twin has log-mel bands.
Foote, Yang and Rohaninejad (2016) repeated it with 200 samples, padding and dropout.
"""

from functools import cache

import numpy as np
import torch
from torch import Tensor, nn

from retimbre.audio.spectral import mel_filters, stft
from retimbre.classifiers.bench.base import Recipe
from retimbre.classifiers.bench.windows import RATE, SAMPLES, Front

BANDS = 128
FILTERS, WIDTH, POOL, HIDDEN = 32, 8, 4, 100
MEL_COMPRESSION = 10000.0
FOOTE_DROPOUT = 0.25
FOOTE_INIT = 0.01
STEPS = 500
PUBLISHED = ((1024, 1024), (1024, 512), (512, 512), (512, 256), (256, 256))  # filter length and stride


def as_heard(audio: np.ndarray) -> np.ndarray:
    """The audio itself."""
    return audio


@cache
def log_mel(length: int, stride: int) -> Front:
    """The front of log-mel bands: (B, BANDS, T). Frames have ``length`` samples, or 1024 where that is less,
    which has too few bins for the bands.
    """
    size = max(length, 1024)

    @torch.no_grad()
    def front(audio: np.ndarray) -> np.ndarray:
        bands = mel_filters(RATE, size, BANDS) @ stft(torch.from_numpy(audio), size, stride).abs()
        return torch.log1p(MEL_COMPRESSION / length * bands).numpy()

    return front


class TagNet(nn.Module):
    """Audio (B, N), or bands (B, BANDS, T), to logits (B, outputs).

    ``frames``: length and stride of the strided convolution in samples; None: bands come in. ``padded``:
    Foote's form, with padding that keeps lengths and dropout before the last layer.
    """

    def __init__(self, outputs: int, frames: tuple[int, int] | None, size: int, padded: bool = False):
        super().__init__()
        self.raw = frames is not None
        padding = "same" if padded else "valid"
        layers = [nn.Conv1d(1, BANDS, *frames), nn.ReLU()] if frames else []
        length = (size - frames[0]) // frames[1] + 1 if frames else size
        for channels in (BANDS, FILTERS):
            length -= 0 if padded else WIDTH - 1
            pool = min(POOL, length)  # of frames of 1024 samples fewer than four are left at the end
            convolution = nn.Conv1d(channels, FILTERS, WIDTH, padding=padding)
            layers += [convolution, nn.ReLU(), nn.MaxPool1d(pool)]
            length //= pool
        self.body = nn.Sequential(*layers, nn.Flatten())
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("spread", torch.ones(()))
        self.head = nn.Sequential(
            nn.Linear(length * FILTERS, HIDDEN), nn.ReLU(), nn.Dropout(FOOTE_DROPOUT if padded else 0.0),
            nn.Linear(HIDDEN, outputs),
        )  # fmt: skip
        if padded:
            for layer in self.modules():
                if isinstance(layer, nn.Conv1d | nn.Linear):
                    nn.init.normal_(layer.weight, 0.0, FOOTE_INIT)

    def observe(self, x: Tensor) -> None:
        self.mean.copy_(x.mean())
        self.spread.copy_(x.std().clamp(min=1e-6))

    def forward(self, x: Tensor) -> Tensor:
        x = (x - self.mean) / self.spread
        return self.head(self.body(x[:, None] if self.raw else x))


def raw(length: int, stride: int) -> Recipe:
    """Dieleman's row of one setting."""
    return Recipe(as_heard, lambda outputs: TagNet(outputs, (length, stride), SAMPLES), STEPS)


def foote() -> Recipe:
    """Foote's row: 200 samples, batches of 20."""
    return Recipe(as_heard, lambda outputs: TagNet(outputs, (200, 200), SAMPLES, True), STEPS, batch_size=20)


def mel(length: int, stride: int) -> Recipe:
    """The twin of a setting on log-mel bands."""
    frames = SAMPLES // stride + 1
    return Recipe(log_mel(length, stride), lambda outputs: TagNet(outputs, None, frames), STEPS)
