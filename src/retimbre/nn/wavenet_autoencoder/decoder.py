"""WaveNet decoder: the next sample's code from the past ones and a code that is held for many samples.

The decoder of Engel et al. 2017 and Mor et al. 2018: a scalar input through a causal convolution, whose
output enters the skip sum too, the code through a 1x1 convolution in every layer and once more in the head.
Residual and skip paths are scaled as in every WaveNet here (``nn.wavenet.network``).
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from retimbre.errors import RetimbreError
from retimbre.nn.wavenet.network import GatedLayers, shift_right
from retimbre.nn.wavenet.options import CODES, WaveNetConfig


@dataclass(frozen=True)
class DecoderConfig(WaveNetConfig):
    """Sizes of a decoder: a code of ``conditioning_channels`` numbers is held for ``hop_length`` samples."""

    @property
    def hold_length(self) -> int:
        return self.hop_length

    def receptive_field(self) -> int:
        """Previous samples that an output depends on: 4,094 and 65,534 (Mor et al.), 6,141 (Engel et al.)."""
        return self.kernel + (self.kernel - 1) * sum(self.dilations)


class Decoder(GatedLayers):
    """Logits of the next mu-law code. Shapes: codes (B, N), conditioning (B, T, H), N <= T * hop_length."""

    def __init__(self, config: DecoderConfig):
        super().__init__()
        self.config = config
        L, R, S = config.layers, config.residual_channels, config.skip_channels
        H = config.conditioning_channels
        self.input = nn.Conv1d(1, R, config.kernel)
        self.input_skip = nn.Linear(R, S)
        self.conditioning_projection = nn.Linear(H, L * 2 * R)
        self.conditioning_hidden = nn.Linear(H, S)
        self._make_layers()
        self.gate_bias = nn.Parameter(torch.zeros(L, 2 * R))
        self.start_head(None)

    def inputs(self, codes: Tensor) -> Tensor:
        """The first layer's input from the previous codes (B, N): (B, N, R)."""
        past = nnf.pad(self.amplitudes(codes)[:, None], (self.config.kernel - 1, 0))
        return self.input(past).transpose(1, 2)

    def input_rows(self, codes: Tensor) -> Tensor:
        """The last code's own part of the first layer's input (..., R)."""
        return self.input.bias + self.amplitudes(codes)[..., None] * self.input.weight[:, 0, -1]

    def forward(self, codes: Tensor, conditioning: Tensor) -> Tensor:
        """Teacher-forced logits (B, N, 256) from the codes of the PREVIOUS samples (``shift_right``)."""
        c, (B, N) = self.config, codes.shape
        T = math.ceil(N / c.hop_length)
        if conditioning.shape[1] < T or conditioning.shape[2] != c.conditioning_channels:
            needed = f"(B, {T} or more, {c.conditioning_channels})"
            raise RetimbreError(f"{N} samples need a code of {needed}, not {tuple(conditioning.shape)}.")
        x = self.inputs(nnf.pad(codes, (0, T * c.hop_length - N), value=c.silence))
        held = conditioning[:, :T]
        gates = self.conditioning_projection(held).view(B, T, c.layers, -1) + self.gate_bias
        return self.predict(x, gates, self.input_skip(x), self.conditioning_hidden(held))[:, :N]


def cross_entropy(
    decoder: Decoder, codes: Tensor, conditioning: Tensor, heard: Tensor | None = None
) -> Tensor:
    """Mean negative log likelihood of codes (B, N) in nats; ``heard``: the past as the decoder hears it."""
    logits = decoder(shift_right(codes if heard is None else heard), conditioning)
    return nnf.cross_entropy(logits.flatten(0, 1), codes.flatten())


def noisy(codes: Tensor, share: float, most: float, generator: torch.Generator) -> Tensor:
    """Codes (B, N) as a decoder hears its past in training: Gaussian noise on a ``share`` of the rows.

    Its standard deviation is drawn log-uniformly from 1 to ``most`` codes for each row. A decoder that
    cannot read the pitch from its own past must take it from the code.
    """
    B = len(codes)
    rows = torch.rand(B, 1, generator=generator) < share
    deviation = most ** torch.rand(B, 1, generator=generator)
    noise = torch.randn(codes.shape, generator=generator) * deviation * rows
    return (codes + noise.round().long()).clamp(0, CODES - 1)
