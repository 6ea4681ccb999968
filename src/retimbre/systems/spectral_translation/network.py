"""Generator E, a WaveNet for every instrument, and the critic on E's output.

B batch, F frequency bins, T frames, N samples. Spectra are in -1..1; a frame of E's output is a code, held
for the samples of a hop.
"""

from dataclasses import dataclass
from typing import Any, Self

from torch import Tensor, nn

from retimbre.nn.spectral.discriminators import DISCRIMINATORS
from retimbre.nn.spectral.generators import Generator, GeneratorConfig
from retimbre.nn.wavenet_autoencoder.autoencoder import CodedWaveNets, DecodersConfig


@dataclass(frozen=True)
class TranslatorConfig(DecodersConfig):
    """``generator``: of E, whose bins are the numbers of a code."""

    generator: GeneratorConfig

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        return cls(**values | {"generator": GeneratorConfig(**values["generator"])})


class Encoder(nn.Module):
    """E: spectra (B, F, T) to codes (B, T, F)."""

    def __init__(self, config: GeneratorConfig):
        super().__init__()
        self.generator = Generator(config)

    def forward(self, spectra: Tensor) -> Tensor:
        return self.generator(spectra).transpose(1, 2)


class Translator(CodedWaveNets):
    """E and a decoder for every instrument; the decoders hear E's output as it is, without a pool."""

    Config = TranslatorConfig
    config: TranslatorConfig

    def __init__(self, config: TranslatorConfig):
        super().__init__(Encoder(config.generator), config)

    @property
    def context(self) -> int:
        """Samples of the networks' rate on either side that one of the output depends on, the spectrum's
        windows apart.
        """
        frames, field = self.encoder.generator.context + 1, self.config.decoder().receptive_field()
        return frames * self.config.pool + field


class Critic(nn.Module):
    """Instrument that codes come from: one of the CycleGAN's discriminators with a score for each, and the
    mean of its map.
    """

    def __init__(self, kind: str, bins: int, channels: int, domains: int):
        super().__init__()
        self.body = DISCRIMINATORS[kind](bins, channels, outputs=domains)

    def forward(self, code: Tensor) -> Tensor:
        """Codes (B, T, F) to logits (B, domains)."""
        return self.body(code.transpose(1, 2))[-1].mean((2, 3))
