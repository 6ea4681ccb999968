"""Exponential moving average of a network's weights."""

import copy

import torch
from torch import nn


class Ema:
    """``module`` is the averaged copy. The decay warms up as min(decay, (1 + n) / (10 + n)), so
    that early averages are not dominated by the random start.
    """

    def __init__(self, network: nn.Module, decay: float):
        self.decay = decay
        self.module = copy.deepcopy(network).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Move towards ``network``; ``step`` counts from 0."""
        weight = 1 - min(self.decay, (1 + step) / (10 + step))
        averaged, current = list(self.module.parameters()), list(network.parameters())
        torch._foreach_lerp_(averaged, current, weight)
        for kept, new in zip(self.module.buffers(), network.buffers(), strict=True):
            kept.copy_(new)
