"""An unconditional WaveNet, the residuals of its layers, and what they say of style."""

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from retimbre.nn.wavenet.network import WaveNet
from retimbre.nn.wavenet.options import CONTEXT_FRAMES, SEGMENTS_PER_FRAME, WaveNetConfig


def nothing(batch: int, samples: int, hop: int) -> tuple[Tensor, Tensor]:
    """The conditioning of a network that has none: features (B, 1, T) and domains (B,)."""
    return torch.zeros(batch, 1, -(-samples // hop)), torch.zeros(batch, dtype=torch.long)


def residuals(network: WaveNet, x: Tensor) -> list[Tensor]:
    """Inputs (B, N, R) of layers 1, 2, ..., the last, for inputs (B, N, R) of layer 0.

    Element l is the residual of layer l: its own output added to what came in.
    """
    c, samples, middle = network.config, x.shape[1], SEGMENTS_PER_FRAME * CONTEXT_FRAMES
    # No conditioning is the same everywhere but near the ends.
    frames = (2 * CONTEXT_FRAMES + 1) * c.hop_length
    features, domain = (y.to(x.device) for y in nothing(1, frames, c.hop_length))
    segment = network.segments(features, domain, middle, middle + 1)
    gates = network.conditioning_projection(segment).view(c.layers, -1)
    found = []
    for layer, dilation in enumerate(c.dilations[:-1]):
        earlier = nnf.pad(x, (0, 0, dilation, 0))[:, :samples]
        h = torch.cat([earlier, x], -1) @ network.gate_weight[layer] + gates[layer]
        filtered, gate = h.chunk(2, -1)
        size = c.residual_channels
        update = (torch.tanh(filtered) * torch.sigmoid(gate)) @ network.output_weight[layer, :, :size]
        x = (update + network.output_bias[layer, :size] + x) * network.residual_scale
        found.append(x)
    return found


class Listener(nn.Module):
    """The WaveNet, and ``styles`` (targets, layers, R, R): mean Gram matrices of each target's recordings."""

    def __init__(self, network: WaveNet, targets: int, layers: int):
        super().__init__()
        self.network, size = network, network.config.residual_channels
        self.register_buffer("styles", torch.zeros(targets, layers, size, size))


def unconditional(layers: int, per_stack: int, channels: int, skip: int, hop: int) -> WaveNetConfig:
    """The configuration of a network of codes, kernel 2, whose conditioning of zeros leaves a bias."""
    return WaveNetConfig(
        1, hop, 1, layers, per_stack,
        residual_channels=channels, skip_channels=skip, conditioning_channels=8,
    )  # fmt: skip
