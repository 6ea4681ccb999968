"""A trained autoencoder as a system of audio: any recording in, one of the decoders' instruments out."""

from pathlib import Path
from typing import Any, Self

import numpy as np

from retimbre.nn.wavenet_autoencoder.autoencoder import TEMPERATURE, Autoencoder
from retimbre.nn.weights import size


class CodedAudio:
    """The networks with all that is needed to use them (``systems.base.System`` that ``Streams``).

    ``config``: ``domains``, and ``sample_rate`` and ``rms`` of the audio that it takes.
    """

    sources = None
    slow = True

    def __init__(
        self, name: str, network: Autoencoder, config: dict[str, Any], temperature: float = TEMPERATURE
    ):
        self.name, self.network, self.config = name, network.eval(), config
        self.temperature = temperature
        self.sample_rate: int = config["sample_rate"]
        self.rms: float = config["rms"]
        self.targets: list[str] = config["domains"]

    def encode(self, audio: np.ndarray) -> np.ndarray:
        """Audio (N,) of the level ``rms`` to the code of what is played (T, C)."""
        return self.network.encode(audio, self.sample_rate)

    def decode(
        self, code: np.ndarray, to: str, length: int, seed: int = 0, before: np.ndarray | None = None
    ) -> np.ndarray:
        """A code (T, C), played on ``to``: audio (``length``,), going on from ``before`` (M,)."""
        return self.network.decode(code, to, length, self.sample_rate, self.temperature, seed, before)

    def transfer(self, audio: np.ndarray, to: str, seed: int = 0) -> np.ndarray:
        return self.continued(audio, to, seed, None)

    def continued(self, audio: np.ndarray, to: str, seed: int, before: np.ndarray | None) -> np.ndarray:
        return self.decode(self.encode(audio), to, len(audio), seed, before)

    def chunking(self, to: str) -> tuple[int, int]:
        ratio = self.sample_rate // self.network.config.sample_rate
        return ratio * self.network.context, ratio * self.network.config.pool

    @property
    def parameters(self) -> int:
        """Trained parameters of the encoder and one decoder."""
        return size(self.network.encoder, self.network.decoder(self.targets[-1]))

    def save(self, folder: Path) -> None:
        self.network.save(folder, self.config)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what ``save`` wrote."""
        return cls(folder.name, *Autoencoder.load(folder))
