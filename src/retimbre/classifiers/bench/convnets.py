"""Convolutional networks on the constant-Q transform with three ways of sharing weights, and their hybrids.

Lostanlen and Cella, "Deep convolutional networks on the pitch spiral for musical instrument recognition"
(ISMIR 2016). Convolutions along frequency and time (2-d) suit the whole range. Above 2 kHz transposed notes
differ by a bias alone, so one kernel spans all bins (1-d). Below, partials an octave apart belong together,
so kernels hear neighbouring octaves at once (spiral).

Maxima are taken before the activation, which rises throughout: the same result with less to compute. The
paper's text says that the 1-d kernels are 3 frames long; with its counts of parameters and its code, 5.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from retimbre.classifiers.bench.base import Recipe
from retimbre.classifiers.bench.windows import BINS, FRAMES, PER_OCTAVE, compressed

LEAK = 0.3  # of LeakyReLU
HIDDEN = 64
HIGH_OCTAVE = 5  # A6, where the 1-d branch begins
SPIRAL_OCTAVES = ((1, 3), (2, 4), (3, 5))  # A2 to A6 in bands of two octaves that overlap by half
DROPOUT = 0.5
STEPS = 500


class _Branch(nn.Module):
    """A part of the bins (B, 1, F, T), less its mean in training, through two convolutions: (B, features)."""

    def __init__(self, first_bin: int, last_bin: int):
        super().__init__()
        self.bins = slice(first_bin, last_bin)
        self.register_buffer("mean", torch.zeros(()))

    def observe(self, x: Tensor) -> None:
        self.mean.copy_(x[:, self.bins].mean())

    def seen(self, x: Tensor) -> Tensor:
        return x[:, None, self.bins] - self.mean


class TwoD(_Branch):
    """All bins: 5 x 5 twice, each with a pooling of 3 bins and 5 frames."""

    def __init__(self, bins: int, kernels: int):
        super().__init__(0, bins)
        self.body = nn.Sequential(
            nn.Conv2d(1, kernels, 5), nn.MaxPool2d((3, 5)), nn.LeakyReLU(LEAK),
            nn.Conv2d(kernels, kernels, 5), nn.MaxPool2d((3, 5)), nn.LeakyReLU(LEAK), nn.Flatten(),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.body(self.seen(x))


class OneD(_Branch):
    """The bins from A6: kernels of all of them and 5 frames, then 5 frames again."""

    def __init__(self, bins: int, kernels: int):
        super().__init__(HIGH_OCTAVE * PER_OCTAVE, bins)
        self.body = nn.Sequential(
            nn.Conv2d(1, kernels, (bins - HIGH_OCTAVE * PER_OCTAVE, 5)), nn.MaxPool2d((1, 5)),
            nn.LeakyReLU(LEAK), nn.Conv2d(kernels, kernels, (1, 5), padding="same"), nn.MaxPool2d((1, 6)),
            nn.LeakyReLU(LEAK), nn.Flatten(),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.body(self.seen(x))


class Spiral(_Branch):
    """A2 to A6: three bands of two octaves, an octave apart, each with its 3 x 5 kernels, summed."""

    def __init__(self, bins: int, kernels: int):
        lowest, highest = SPIRAL_OCTAVES[0][0], SPIRAL_OCTAVES[-1][1]
        super().__init__(lowest * PER_OCTAVE, highest * PER_OCTAVE)
        self.bands = [
            slice((low - lowest) * PER_OCTAVE, (high - lowest) * PER_OCTAVE) for low, high in SPIRAL_OCTAVES
        ]
        self.turns = nn.ModuleList(nn.Conv2d(1, kernels, (3, 5)) for _ in self.bands)
        self.body = nn.Sequential(
            nn.MaxPool2d((3, 5)), nn.LeakyReLU(LEAK), nn.Conv2d(kernels, kernels, 5), nn.MaxPool2d((3, 5)),
            nn.LeakyReLU(LEAK), nn.Flatten(),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        x = self.seen(x)
        return self.body(sum(turn(x[:, :, band]) for turn, band in zip(self.turns, self.bands, strict=True)))


BRANCHES = {"2d": TwoD, "1d": OneD, "spiral": Spiral}


class ConvNet(nn.Module):
    """Levels (B, F, T) to logits (B, outputs): branches side by side, a hidden layer of 64, an output layer.

    The published input has 96 bins and 128 frames. ``observe`` takes the extremes and the branches' means of
    the training windows; the paper's code took the means of the test set.
    """

    def __init__(
        self, branches: Sequence[str], outputs: int, kernels: int = 32, bins: int = BINS, frames: int = FRAMES
    ):
        super().__init__()
        self.branches = nn.ModuleDict({name: BRANCHES[name](bins, kernels) for name in branches})
        self.register_buffer("low", torch.zeros(()))
        self.register_buffer("span", torch.ones(()))
        with torch.no_grad():
            features = sum(b(torch.zeros(1, bins, frames)).shape[1] for b in self.branches.values())
        self.head = nn.Sequential(
            nn.Dropout(DROPOUT), nn.Linear(features, HIDDEN), nn.LeakyReLU(LEAK),
            nn.Dropout(DROPOUT), nn.Linear(HIDDEN, outputs),
        )  # fmt: skip
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, LEAK)
                nn.init.zeros_(layer.bias)

    def observe(self, x: Tensor) -> None:
        self.low.copy_(x.min())
        self.span.copy_((x.max() - x.min()).clamp(min=1e-6))
        for branch in self.branches.values():
            branch.observe((x - self.low) / self.span)

    def forward(self, x: Tensor) -> Tensor:
        x = (x - self.low) / self.span
        return self.head(torch.cat([branch(x) for branch in self.branches.values()], dim=1))


def recipe(*branches: str, kernels: int = 32) -> Recipe:
    """A row: the branches of its network."""
    return Recipe(compressed, lambda outputs: ConvNet(branches, outputs, kernels), STEPS)
