"""Gaussian codes of spectra: what variational autoencoders share (Kingma & Welling 2014).

B batch, F frequency bins, T frames, Z numbers of a code, J codes: one for every ``stride`` frames, code j
centred on frame j * stride. Spectra are in -1..1.
"""

import math

import torch
from torch import Tensor, nn

from retimbre.nn.spectral.resnet import DilatedBlock


class GaussianEncoder(nn.Module):
    """Spectra to means and log variances of codes: dilated residual blocks over time, then a stride."""

    def __init__(self, bins: int, channels: int, blocks: int, code: int, stride: int = 1):
        super().__init__()
        dilations = [2 ** (i % 4) for i in range(blocks)]
        self.stride, self.context = stride, 2 + sum(dilations) + stride
        self.inner = nn.Sequential(
            nn.Conv1d(bins, channels, 5, padding=2),
            nn.LeakyReLU(0.2),
            *[DilatedBlock(channels, dilation) for dilation in dilations],
            nn.LeakyReLU(0.2),
        )
        self.out = nn.Conv1d(channels, 2 * code, 2 * stride + 1, stride, padding=stride)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, F, T) -> means and log variances (B, Z, J), J = (T - 1) // stride + 1."""
        mean, log_variance = self.out(self.inner(x)).chunk(2, 1)
        return mean, log_variance.clamp(-12, 6)  # what is beyond carries no information, and may overflow


def drawn(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Codes drawn from torch's random numbers, with a gradient."""
    return mean + (0.5 * log_variance).exp() * torch.randn_like(mean)


def kl_nats(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Nats (B, Z, J) by which the codes differ from the standard normal prior."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance)


def paid_nats(kl: Tensor, free_bits: float) -> Tensor:
    """Nats per code that count, of (B, Z, J): each number of a code has ``free_bits`` for nothing.

    Kingma et al. 2016, the mean over the batch inside the bound: without it nothing may be worth its bits at
    first, and the codes say nothing for ever.
    """
    return kl.mean((0, 2)).clamp(min=free_bits * math.log(2)).sum()
