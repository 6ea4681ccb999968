"""The trained generator of SpecGAN."""

from typing import Any

from torch import Tensor

from retimbre.synthesis.dcgan import DcganConfig
from retimbre.synthesis.specgan.network import SpecGenerator
from retimbre.synthesis.unconditional import Unconditional


class Synthesiser(Unconditional):
    """Noise to magnitudes, and Griffin and Lim's phases to those."""

    network: SpecGenerator

    @classmethod
    def build(cls, shape: dict[str, Any]) -> SpecGenerator:
        return SpecGenerator(DcganConfig.from_dict(shape))

    def audio(self, x: Tensor) -> Tensor:
        return self.network.audio(x)
