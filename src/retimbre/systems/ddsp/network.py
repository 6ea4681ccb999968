"""The decoder: pitch and loudness to the controls of the synthesiser, one network for each instrument."""

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from retimbre.systems.ddsp.synthesiser import exp_sigmoid, filtered_noise, harmonic

LOUDNESS_RANGE_DB = 80.0
NOISE_START = -5.0  # bias of the noise bands: it begins nearly silent


@dataclass(frozen=True)
class DecoderConfig:
    """``harmonics`` and ``bands`` (of noise) of the synthesiser; ``channels`` and ``layers`` of the
    perceptrons; ``hop`` in samples and ``sample_rate`` in Hz.
    """

    harmonics: int
    bands: int
    channels: int
    layers: int
    hop: int
    sample_rate: int

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def perceptron(inputs: int, channels: int, layers: int) -> nn.Sequential:
    sizes = [inputs, *[channels] * layers]
    stacked = [
        [nn.Linear(i, o), nn.LayerNorm(o), nn.LeakyReLU(0.01)]
        for i, o in zip(sizes[:-1], sizes[1:], strict=True)
    ]
    return nn.Sequential(*[layer for layers in stacked for layer in layers])


class Decoder(nn.Module):
    """A perceptron for each curve, a GRU over time, a perceptron, and one linear layer."""

    def __init__(self, config: DecoderConfig):
        super().__init__()
        self.config, c = config, config.channels
        self.pitch, self.loudness = (perceptron(1, c, config.layers) for _ in range(2))
        self.memory = nn.GRU(2 * c, c, batch_first=True)
        self.after = perceptron(3 * c, c, config.layers)
        self.out = nn.Linear(c, 1 + config.harmonics + config.bands)
        with torch.no_grad():
            self.out.bias[1 + config.harmonics :] = NOISE_START

    def controls(self, f0_hz: Tensor, loudness_db: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Curves (B, T) to amplitude (B, T), shares of partials (B, T, K) and noise bands (B, T, M)."""
        midi = 69 + 12 * torch.log2(f0_hz / 440)
        x = self.pitch(midi[..., None] / 127), self.loudness(loudness_db[..., None] / LOUDNESS_RANGE_DB + 1)
        remembered, _ = self.memory(torch.cat(x, -1))  # (B, T, C)
        y = exp_sigmoid(self.out(self.after(torch.cat([remembered, *x], -1))).float())
        amplitude, shares, bands = y.split([1, self.config.harmonics, self.config.bands], -1)
        return amplitude[..., 0], shares, bands

    def forward(self, f0_hz: Tensor, loudness_db: Tensor, noise: Tensor) -> Tensor:
        """Audio (B, N) of curves (B, T); ``noise`` (B, N) in -1..1, N = (T - 1) * hop."""
        c, (amplitude, shares, bands) = self.config, self.controls(f0_hz, loudness_db)
        tone = harmonic(f0_hz, amplitude, shares, c.hop, c.sample_rate)
        return tone + filtered_noise(bands, noise, c.hop)
