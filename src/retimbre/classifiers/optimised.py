"""Changes that optimise the spectrum itself until a trained classifier of instruments is content with it."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from retimbre.audio.features import FeatureConfig
from retimbre.classifiers.network import ClassifierConfig, SpectrumClassifier
from retimbre.datasets.packed.format import PackedFeatures
from retimbre.errors import check_target
from retimbre.nn.weights import read_config, save_model, size, with_weights


def descend(
    loss: Callable[[Tensor], Tensor], start: Tensor, lowest: float, highest: float, steps: int, rate: float
) -> Tensor:
    """Adam on spectra (B, F, T) in dB, kept between ``lowest`` and ``highest``; ``rate`` in dB a step.

    ``loss`` is a sum over examples: then each comes out as it would alone.
    """
    x = start.clone().requires_grad_()
    optimiser = torch.optim.Adam([x], rate)
    with torch.enable_grad():
        for _ in range(steps):
            optimiser.zero_grad()
            loss(x).backward()
            optimiser.step()
            with torch.no_grad():
                x.clamp_(lowest, highest)
    return x.detach()


class Optimised(ABC):
    """Base of such changes (``systems.base.Change``); subclasses write ``loss``.

    A recording is optimised in the classifier's windows, each for itself. ``networks``: the ``classifier``,
    and what else a subclass keeps.
    """

    sources = None

    def __init__(self, networks: nn.ModuleDict, config: dict[str, Any]):
        self.networks, self.config = networks.eval().requires_grad_(False), config
        self.classifier: SpectrumClassifier = networks["classifier"]
        self.targets: list[str] = config["targets"]
        self.features = FeatureConfig.from_dict(config["features"])
        self.representation: str = config["representation"]
        self.top_db: float = config["top_db"]
        self.device = next(networks.parameters()).device

    @abstractmethod
    def loss(self, source: Tensor, to: str) -> Callable[[Tensor], Tensor]:
        """The loss to be minimised, summed over windows (B, F, T) in dB that begin as ``source``."""

    def transfer(self, spectrum_db: np.ndarray, to: str) -> np.ndarray:
        """Spectrum in dB (F, T) of any instrument to (F, T) of ``to``."""
        check_target(to, self.targets)
        frames, width = spectrum_db.shape[1], self.config["window_frames"]
        lowest = self.top_db - self.features.range_db
        x = torch.from_numpy(np.ascontiguousarray(spectrum_db, np.float32)).clamp(lowest, self.top_db)
        x = functional.pad(x[None], (0, -frames % width), mode="replicate")[0]
        windows = x.unflatten(1, (-1, width)).transpose(0, 1).to(self.device)  # (B, F, width)
        bounds, p = (lowest, self.top_db), self.config
        made = descend(self.loss(windows, to), windows, *bounds, p["iterations"], p["rate_db"])
        return made.transpose(0, 1).flatten(1)[:, :frames].cpu().numpy()

    def context(self, to: str) -> int:
        """Frames on each side that a frame of the output may depend on: those of its window."""
        return self.config["window_frames"]

    def stride(self, to: str) -> int:
        """Frames of the grid on which chunks must start to come out as the whole does."""
        return self.config["window_frames"]

    @property
    def parameters(self) -> int:
        """Number of the classifier's trained parameters."""
        return size(self.classifier)

    @staticmethod
    def description(features: PackedFeatures, p: Any) -> dict[str, Any]:
        """Configuration of a change of these features; ``p``: its section of the params."""
        return {
            "targets": features.domains,
            "representation": p.representation,
            "features": features.config.to_dict(),
            "top_db": features.statistics[p.representation]["top_db"],
            **p.model_dump(include={"window_frames", "iterations", "rate_db", "content"}),
        }

    def save(self, folder: Path) -> None:
        config = self.config | {"classifier": self.classifier.config.to_dict()}
        save_model(folder / "networks.safetensors", self.networks, config)

    @classmethod
    def empty(cls, config: dict[str, Any]) -> nn.ModuleDict:
        """Networks of a configuration, before their weights are read."""
        return nn.ModuleDict(
            {"classifier": SpectrumClassifier(ClassifierConfig.from_dict(config["classifier"]))}
        )

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what ``save`` wrote."""
        config = read_config(folder)
        return cls(with_weights(cls.empty(config), folder / "networks.safetensors"), config)
