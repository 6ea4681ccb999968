"""An encoder of any instrument's spectra, and a decoder for each instrument.

B batch, F frequency bins, T frames, Z numbers of a code. Spectra are in -1..1.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from retimbre.nn.spectral.gaussian import GaussianEncoder
from retimbre.nn.spectral.resnet import DilatedBlock

# Of the likelihood, half ranges: below what the features' float16 and the clipped floor would make certain.
LEAST_DEVIATION = 0.02


@dataclass(frozen=True)
class VaeConfig:
    """Shape of a :class:`Vae`."""

    bins: int
    instruments: int
    channels: int
    blocks: int
    code: int

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class Decoder(nn.Module):
    """Codes (B, Z, T) to spectra (B, F, T); ``log_deviation`` (F,) is learnt beside them."""

    def __init__(self, config: VaeConfig):
        super().__init__()
        c = config
        dilations = [2 ** (i % 4) for i in range(c.blocks)]
        self.context = 3 + sum(dilations)
        self.body = nn.Sequential(
            nn.Conv1d(c.code, c.channels, 3, padding=1),
            nn.LeakyReLU(0.2),
            *[DilatedBlock(c.channels, dilation) for dilation in dilations],
            nn.LeakyReLU(0.2),
            nn.Conv1d(c.channels, c.bins, 5, padding=2),
        )
        self.log_deviation = nn.Parameter(torch.full((c.bins,), math.log(0.3)))

    def forward(self, code: Tensor) -> Tensor:
        return self.body(code)

    def nats(self, code: Tensor, x: Tensor) -> Tensor:
        """Negative log-likelihood of spectra (B, F, T) given their codes, nats per frame (scalar)."""
        log_deviation = self.log_deviation.clamp(min=math.log(LEAST_DEVIATION))[:, None]
        error = (self(code).float() - x) * torch.exp(-log_deviation)
        return (0.5 * error.square() + log_deviation + 0.5 * math.log(2 * math.pi)).sum(1).mean()


class Vae(nn.Module):
    """``encoder`` hears all instruments, ``decoders`` write one each."""

    def __init__(self, config: VaeConfig):
        super().__init__()
        self.config = c = config
        self.encoder = GaussianEncoder(c.bins, c.channels, c.blocks, c.code)
        self.decoders = nn.ModuleList(Decoder(c) for _ in range(c.instruments))

    @property
    def context(self) -> int:
        """Frames on each side that an output frame depends on."""
        return self.encoder.context + self.decoders[0].context

    def forward(self, x: Tensor, instrument: int) -> Tensor:
        """Spectra (B, F, T) of any instrument to those of one: the decoder's mean for the codes' means."""
        return self.decoders[instrument](self.encoder(x)[0])
