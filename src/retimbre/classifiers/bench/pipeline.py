"""The instrument classifier of the pipeline, trained as evaluation's is, on the windows of the comparison."""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from retimbre.classifiers.bench.base import Recipe
from retimbre.classifiers.bench.windows import scalogram
from retimbre.classifiers.network import ClassifierConfig, SpectrumClassifier

RANGE_DB = 60.0  # as features.range_db
CHANNELS, STEPS, RATE = 16, 600, 2e-3  # as in the section `classifier` of params.yaml
GAIN_DB, NOISE_DB = 1.5, 1.0


def decibels(audio: np.ndarray) -> np.ndarray:
    """Constant-Q levels (B, BINS, FRAMES) in dB, at least -120."""
    return 20 * np.log10(np.maximum(scalogram(audio), 1e-6))


class Levels(nn.Module):
    """Levels in dB (B, F, T) to logits (B, outputs); in training every window has a random gain per bin and
    random noise per cell on it. ``observe`` takes the highest level of the training windows.
    """

    def __init__(self, outputs: int):
        super().__init__()
        classes = tuple(str(i) for i in range(outputs))
        self.network = SpectrumClassifier(ClassifierConfig(classes, CHANNELS, 0.0, RANGE_DB))

    def observe(self, x: Tensor) -> None:
        self.network.config = replace(self.network.config, top_db=float(x.max()))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            x = x + GAIN_DB * torch.randn_like(x[..., :1]) + NOISE_DB * torch.randn_like(x)
        return self.network(x)


RECIPE = Recipe(decibels, Levels, STEPS, learning_rate=RATE)
