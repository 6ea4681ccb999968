"""A network with a decoder for each instrument, as a change of log spectra: what such systems share."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import nn

from retimbre.audio.features import FeatureConfig, denormalise, network_input
from retimbre.errors import check_target
from retimbre.nn.weights import read_config, save_model, size, with_weights


class Decoded(ABC):
    """A trained network with all that is needed to use it, on disk and in memory.

    ``network`` takes spectra (B, F, T) in -1..1 of any instrument and the place of the wanted one among the
    ``domains``; it has ``context``, the frames on each side that an output frame depends on, and ``config``.
    Subclasses write ``build``.
    """

    sources = None

    def __init__(self, network: nn.Module, config: dict[str, Any]):
        self.network, self.config = network.eval(), config
        self.targets: list[str] = config["domains"]
        self.features = FeatureConfig.from_dict(config["features"])
        self.representation: str = config["representation"]
        self.top_db: float = config["top_db"]
        self.device = next(network.parameters()).device

    @classmethod
    @abstractmethod
    def build(cls, shape: dict[str, Any]) -> nn.Module:
        """The untrained network of a stored shape."""

    @torch.no_grad()
    def transfer(self, spectrum_db: np.ndarray, to: str) -> np.ndarray:
        """Spectrum in dB (F, T) to the spectrum (F, T) of ``to``. Raises RetimbreError for an unknown one."""
        check_target(to, self.targets)
        z = network_input(spectrum_db, self.top_db, self.features.range_db)[None].to(self.device)
        y = self.network(z, self.targets.index(to))[0].clamp(-1, 1).cpu()
        return denormalise(y, self.top_db, self.features.range_db).numpy()

    def context(self, to: str) -> int:
        """Frames on each side that a frame of the output may depend on."""
        return self.network.context

    def stride(self, to: str) -> int:
        """Frames of the grid on which chunks must start to come out as the whole does."""
        return 1

    @property
    def parameters(self) -> int:
        """Number of trained parameters."""
        return size(self.network)

    def save(self, folder: Path) -> None:
        config = self.config | {"network": self.network.config.to_dict()}
        save_model(folder / "network.safetensors", self.network, config)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what ``save`` wrote."""
        config = read_config(folder)
        return cls(with_weights(cls.build(config["network"]), folder / "network.safetensors"), config)
