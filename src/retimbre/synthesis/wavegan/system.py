"""The trained generator of WaveGAN."""

from typing import Any

from torch import Tensor

from retimbre.synthesis.unconditional import Unconditional
from retimbre.synthesis.wavegan.network import WaveConfig, WaveGenerator


class Synthesiser(Unconditional):
    """Noise to audio at once."""

    @classmethod
    def build(cls, shape: dict[str, Any]) -> WaveGenerator:
        return WaveGenerator(WaveConfig.from_dict(shape))

    def audio(self, x: Tensor) -> Tensor:
        return x[:, 0]
