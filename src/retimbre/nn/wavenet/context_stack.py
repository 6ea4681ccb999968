"""A context stack: a narrow WaveNet with a long field, at segment rate, that conditions the main one.

Van den Oord et al. 2016, section 2.6: it sees a long part of the past with few units and at a lower rate.
Here a segment of samples becomes one vector (a strided convolution), so one step of the stack is one
conditioning segment, and the main network's generation loop does not change: what the stack says is part of
the conditioning that a segment is held for.
"""

import math

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn


class ContextStack(nn.Module):
    """Past segments to a conditioning vector each: dilations 1, 2, 4 ... segments, kernel 2, gated, skips.

    ``samples`` per segment; ``channels`` C of the stack; ``out`` H channels of the conditioning.
    """

    def __init__(self, samples: int, layers: int, channels: int, out: int):
        super().__init__()
        C = channels
        self.input = nn.Linear(samples, C)
        self.gate_weight = nn.Parameter(torch.randn(layers, 2 * C, 2 * C) / math.sqrt(2 * C))
        self.gate_bias = nn.Parameter(torch.zeros(layers, 2 * C))
        self.residual = nn.Parameter(torch.randn(layers, C, C) / math.sqrt(C))
        self.skip = nn.Linear(layers * C, out)

    def forward(self, amplitudes: Tensor) -> Tensor:
        """Companded amplitudes (B, M, samples) -> (B, M, H); output m has seen segments 0..m."""
        M = amplitudes.shape[1]
        x = self.input(amplitudes)  # B, M, C
        gated = []
        for layer, (gate_weight, gate_bias) in enumerate(zip(self.gate_weight, self.gate_bias, strict=True)):
            past = nnf.pad(x, (0, 0, 2**layer, 0))[:, :M]
            filtered, gate = (torch.cat([past, x], -1) @ gate_weight + gate_bias).chunk(2, -1)
            g = torch.tanh(filtered) * torch.sigmoid(gate)
            gated.append(g)
            x = (x + g @ self.residual[layer]) * math.sqrt(0.5)
        return self.skip(torch.cat(gated, -1))  # B, M, H
