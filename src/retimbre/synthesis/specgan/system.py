"""The trained generator of SpecGAN."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from retimbre.synthesis.dcgan import DcganConfig
from retimbre.synthesis.specgan.network import SpecGenerator, log_magnitude
from retimbre.synthesis.unconditional import Unconditional


class Synthesiser(Unconditional):
    """Noise to magnitudes, and Griffin and Lim's phases to those."""

    network: SpecGenerator

    @classmethod
    def build(cls, shape: dict[str, Any]) -> SpecGenerator:
        return SpecGenerator(DcganConfig.from_dict(shape))

    def audio(self, x: Tensor) -> Tensor:
        return self.network.audio(x)

    def drawn(self, latents: Tensor, pitches: Sequence[int] | None = None) -> np.ndarray:
        """Magnitudes (n, 129, T) of latents (n, Z)."""
        return self._made(self.network.magnitude, latents)

    def analysed(self, audio: np.ndarray) -> np.ndarray:
        """Magnitudes (n, 129, T) of audio (n, N)."""
        return log_magnitude(torch.from_numpy(audio)).exp().numpy()
