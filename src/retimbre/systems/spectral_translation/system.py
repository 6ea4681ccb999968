"""The trained networks as a system: any recording's spectrum through E, played by one of the WaveNets."""

from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

from retimbre.audio.features import FeatureConfig
from retimbre.nn.wavenet_autoencoder.autoencoder import TEMPERATURE
from retimbre.nn.wavenet_autoencoder.system import CodedAudio
from retimbre.systems.base import LONGEST_WINDOW_S
from retimbre.systems.spectral_translation.hearing import Hearing
from retimbre.systems.spectral_translation.network import Translator


class System(CodedAudio):
    """One E, a WaveNet for every instrument. ``config`` also has ``hears``, ``features`` and ``top_db``."""

    network: Translator

    def __init__(
        self, name: str, network: Translator, config: dict[str, Any], temperature: float = TEMPERATURE
    ):
        super().__init__(name, network, config, temperature)
        self.hearing = Hearing(config["hears"], FeatureConfig.from_dict(config["features"]), config["top_db"])

    @torch.no_grad()
    def encode(self, audio: np.ndarray) -> np.ndarray:
        """Audio (N,) of the level ``rms`` to E's output (T, F)."""
        spectrum = self.hearing.spectrum(audio)[None].to(self.network.device)
        return self.network.encoder(spectrum)[0].cpu().numpy()

    def chunking(self, to: str) -> tuple[int, int]:
        context, hop = super().chunking(to)
        window_s = max(LONGEST_WINDOW_S, self.hearing.longest_window_s)
        return context + round(window_s / 2 * self.sample_rate), hop * self.network.encoder.generator.stride

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what ``save`` wrote."""
        return cls(folder.name, *Translator.load(folder))
