"""Generators of notes whose pitch cannot be chosen: used, saved and loaded alike."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from retimbre.errors import RetimbreError
from retimbre.nn.weights import read_config, save_model, size, with_weights
from retimbre.synthesis.base import Notes
from retimbre.synthesis.dcgan import DcganConfig, Generator

CHUNK = 32  # notes at once: a thousand of them would fill the memory with activations


class Unconditional(ABC):
    """A ``Synthesiser`` of noise alone.

    Subclasses write ``audio``, and ``build`` where the network is another. ``config``: sample rate, samples
    of a note, and what else they need.
    """

    pitches: tuple[int, ...] = ()

    def __init__(self, network: Generator, config: dict[str, Any]):
        self.network, self.config = network.eval(), config
        self.sample_rate: int = config["sample_rate"]
        self.samples: int = config["samples"]

    @classmethod
    def trained(cls, network: Generator, notes: Notes, **further: Any) -> Self:
        """The synthesiser of a network that was trained on these notes. ``further``: of its configuration."""
        return cls(network, {"sample_rate": notes.sample_rate, "samples": notes.audio.shape[1], **further})

    @classmethod
    def build(cls, shape: dict[str, Any]) -> Generator:
        """The untrained network of a stored shape."""
        return Generator(DcganConfig.from_dict(shape))

    @abstractmethod
    def audio(self, x: Tensor) -> Tensor:
        """Audio (B, N) of what the network gives."""

    @property
    def parameters(self) -> int:
        return size(self.network)

    def latents(self, n: int, seed: int) -> Tensor:
        """Uniform noise (n, Z) in -1..1; fewer of the same seed are the first of more."""
        noise = np.random.default_rng(seed).uniform(-1, 1, (n, self.network.config.latent))
        return torch.from_numpy(noise).float()

    def decode(self, latents: Tensor, pitches: Sequence[int] | None = None) -> np.ndarray:
        """Audio (n, N) in -1..1 of latents (n, Z). Raises RetimbreError where pitches are asked for."""
        if pitches is not None:
            raise RetimbreError(
                "this generator learned no pitches, so none can be asked for: leave --pitch out, or use "
                "gansynth."
            )
        return self._made(lambda x: self.audio(x).clamp(-1, 1), latents)

    @torch.no_grad()
    def _made(self, of: Callable[[Tensor], Tensor], latents: Tensor) -> np.ndarray:
        """Network's output for latents (n, Z) as ``of`` turns it into something, some notes at a time."""
        return torch.cat([of(self.network(z)) for z in latents.split(CHUNK)]).numpy()

    def save(self, folder: Path) -> None:
        config = self.config | {"network": self.network.config.to_dict()}
        save_model(folder / "generator.safetensors", self.network, config)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what ``save`` wrote."""
        config = read_config(folder)
        return cls(with_weights(cls.build(config["network"]), folder / "generator.safetensors"), config)
