"""Patch classifiers of spectra, after the discriminators of Yoon's dissertation (Cambridge, 2019).

``Shallow`` is PatchGAN's without normalisation: overlapping patches are judged on their own. ``Timbral``
hears all bins at once, some frames wide. ``Course`` (there ``conv1d``) takes bins as channels. They decided
between two domains by one output; here there is one per class. The text says that conv1d did not converge.
"""

from torch import Tensor, nn

from retimbre.classifiers.bench.base import CROSS_ENTROPY, LEAST_SQUARES, Objective, Recipe
from retimbre.classifiers.bench.windows import BINS, compressed


def _scaled(x: Tensor) -> Tensor:
    """Levels (B, F, T) from -1 to 1, each window by its own extremes, as published."""
    low, high = x.amin(dim=(1, 2), keepdim=True), x.amax(dim=(1, 2), keepdim=True)
    return 2 * (x - low) / (high - low).clamp(min=1e-6) - 1


class Shallow(nn.Module):
    """Levels (B, F, T) to a map (B, outputs, F / 16, T / 16), about; ``width``: channels of the first layer.

    One output and 32 channels are the 693,217 parameters of the dissertation's.
    """

    def __init__(self, outputs: int, width: int = 32):
        super().__init__()
        layers, channels = [], 1
        for n in range(4):
            layers += [nn.Conv2d(channels, width * 2**n, 4, 2, 1), nn.LeakyReLU(0.2)]
            channels = width * 2**n
        self.body = nn.Sequential(*layers, nn.Conv2d(channels, outputs, 4, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(_scaled(x)[:, None])


class Timbral(nn.Module):
    """Levels (B, bins, T) to a map (B, outputs, 1, T'): halved along frequency down to 4 bins or fewer.

    Each layer is ``growth`` times as wide as the one before.
    """

    def __init__(self, outputs: int, width: int, growth: int, bins: int = BINS):
        super().__init__()
        self.width, self.growth = width, growth
        layers: list[nn.Module] = [nn.Conv2d(1, width, 4, bias=False), nn.ReLU()]
        height = bins - 3
        while height > 4:
            kernel = 4 if height % 2 == 0 else 3
            layers += [nn.Conv2d(width, width * growth, kernel, (2, 1), bias=False), nn.ReLU()]
            width, height = width * growth, (height - kernel) // 2 + 1
        self.body = nn.Sequential(*layers, nn.Conv2d(width, outputs, height))
        for layer in self.body[:-1]:
            if isinstance(layer, nn.Conv2d):
                nn.init.xavier_uniform_(layer.weight, nn.init.calculate_gain("relu"))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(_scaled(x)[:, None])


class Course(nn.Module):
    """Levels (B, bins, T), bins as channels, to a map (B, outputs, T') by ``layers`` of width 3, stride 2."""

    def __init__(self, outputs: int, width: int = 1024, layers: int = 3, bins: int = BINS):
        super().__init__()
        sizes = [bins, *[width] * (layers - 1), outputs]
        parts: list[nn.Module] = []
        for before, after in zip(sizes, sizes[1:], strict=False):
            parts += [nn.Conv1d(before, after, 3, 2), nn.ReLU()]
        self.body = nn.Sequential(*parts[:-1])

    def forward(self, x: Tensor) -> Tensor:
        return self.body(_scaled(x))


def shallow(objective: Objective = LEAST_SQUARES) -> Recipe:
    return Recipe(compressed, Shallow, 200, 16, 5e-4, objective)


def timbral(width: int, growth: int, objective: Objective = LEAST_SQUARES) -> Recipe:
    steps, batch = (300, 32) if width < 16 else (120, 8)  # the wide one costs 16 times as much a window
    return Recipe(compressed, lambda outputs: Timbral(outputs, width, growth), steps, batch, 1e-3, objective)


def course(objective: Objective = LEAST_SQUARES) -> Recipe:
    return Recipe(compressed, Course, 150, 16, 5e-4, objective)


OBJECTIVES = {"squares": LEAST_SQUARES, "entropy": CROSS_ENTROPY}
