"""Exponential moving average of a network's weights."""

import copy

import torch
from torch import nn


class Ema:
    """Averaged copy, ``module``, of a network.

    The decay warms up as min(decay, (1 + n) / (1 + warmup + n)), so that the random start does not dominate
    early averages. While that binds, step k weighs about k^(warmup - 1): the average reaches back over the
    last 1 / warmup of the training (9: TensorFlow's; Karras et al. 2024: a power-function average).
    """

    def __init__(self, network: nn.Module, decay: float, warmup: float = 9):
        self.decay, self.warmup = decay, warmup
        self.module = copy.deepcopy(network).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Move towards ``network``; ``step`` counts from 0."""
        weight = 1 - min(self.decay, (1 + step) / (1 + self.warmup + step))
        averaged, current = list(self.module.parameters()), list(network.parameters())
        torch._foreach_lerp_(averaged, current, weight)
        for kept, new in zip(self.module.buffers(), network.buffers(), strict=True):
            kept.copy_(new)
