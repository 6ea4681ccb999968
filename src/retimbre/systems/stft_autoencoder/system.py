"""The trained autoencoders: a change of the STFT's magnitudes, whose phases Griffin-Lim finds."""

from pathlib import Path
from typing import Any

import numpy as np

from retimbre.nn.spectral.decoded import Decoded
from retimbre.systems.base import Spectral
from retimbre.systems.stft_autoencoder.network import Autoencoders, FramesConfig
from retimbre.vocoders.catalogue import Vocoder
from retimbre.vocoders.inverter.vocoder import Inverter


class Change(Decoded):
    """The autoencoders as a change of spectra (a ``systems.base.Change``)."""

    @classmethod
    def build(cls, shape: dict[str, Any]) -> Autoencoders:
        return Autoencoders(FramesConfig(**shape))


class System:
    """Audio through the change and back, without any trained vocoder (a ``systems.base.System``).

    It is no ``Spectral``: the other systems' spectra may be of another representation.
    """

    slow = False

    def __init__(self, name: str, change: Change):
        self.name, self.change = name, change
        self.targets, self.sources = change.targets, change.sources
        self.sample_rate: int = change.features.sample_rate
        self.rms: float = change.config["rms"]
        self.spectral = Spectral(name, change, Vocoder("griffin_lim", Inverter(None, change.config, {})))

    @classmethod
    def load(cls, folder: Path) -> "System":
        """Read what ``Change.save`` wrote."""
        return cls(folder.name, Change.load(folder))

    def transfer(self, audio: np.ndarray, to: str, seed: int = 0) -> np.ndarray:
        """Audio (N,) to the same music on ``to``, (N,)."""
        return self.spectral.transfer(audio, to, seed)

    def continued(self, audio: np.ndarray, to: str, seed: int, before: np.ndarray | None) -> np.ndarray:
        """``transfer`` of a chunk, going on from ``before`` (M,)."""
        return self.spectral.continued(audio, to, seed, before)

    def chunking(self, to: str) -> tuple[int, int]:
        """Samples of context, and of the grid on which chunks must start."""
        return self.spectral.chunking(to)
