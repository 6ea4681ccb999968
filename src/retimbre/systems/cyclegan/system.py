"""The trained generators as a change of log spectra, both directions of one pair of domains."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from retimbre.audio.features import FeatureConfig, denormalise, network_input
from retimbre.errors import check_target
from retimbre.nn.spectral.generators import Generator, GeneratorConfig
from retimbre.nn.weights import read_config, save_model, size, with_weights


class Change:
    """Generators ``ab`` and ``ba`` with all that is needed to use them (a ``systems.base.Change``)."""

    def __init__(self, generators: nn.ModuleDict, config: dict[str, Any]):
        self.generators, self.config = generators.eval(), config
        self.targets: list[str] = config["domains"]
        self.features = FeatureConfig.from_dict(config["features"])
        self.representation: str = config["representation"]
        self.top_db: float = config["top_db"]
        self.device = next(generators.parameters()).device

    @property
    def sources(self) -> list[str]:
        return self.targets

    def generator_to(self, target: str) -> Generator:
        """The generator that ends in ``target``; RetimbreError if it was not trained for it."""
        check_target(target, self.targets)
        return self.generators["ab" if target == self.targets[1] else "ba"]

    @torch.no_grad()
    def transfer(self, spectrum_db: np.ndarray, to: str) -> np.ndarray:
        """Spectrum in dB (F, T) of the other domain to (F, T) of ``to``."""
        z = network_input(spectrum_db, self.top_db, self.features.range_db)
        y = self.generator_to(to)(z[None].to(self.device))[0].cpu()
        return denormalise(y, self.top_db, self.features.range_db).numpy()

    def context(self, to: str) -> int:
        """Frames on each side that a frame of the output may depend on."""
        return self.generator_to(to).context

    def stride(self, to: str) -> int:
        """Frames of the grid on which chunks must start to come out as the whole does."""
        return self.generator_to(to).stride

    @property
    def parameters(self) -> int:
        """Trained parameters of one direction."""
        return size(self.generators["ab"])

    def save(self, folder: Path) -> None:
        save_model(folder / "generators.safetensors", self.generators, self.config)

    @classmethod
    def load(cls, folder: Path) -> "Change":
        """Read what ``save`` wrote."""
        config = read_config(folder)
        shape = GeneratorConfig(**config["generator"])
        generators = nn.ModuleDict({name: Generator(shape) for name in ("ab", "ba")})
        return cls(with_weights(generators, folder / "generators.safetensors"), config)
