"""The contract of a trained network that makes spectra audible."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import nn

from retimbre.audio.features import FeatureConfig, network_input
from retimbre.errors import RetimbreError
from retimbre.nn.weights import read_config, reading, save_weights, size, with_weights, write_config
from retimbre.vocoders.params import Rendering


@dataclass(frozen=True)
class Request:
    """Audio that is wanted: ``length`` (N) samples from a spectrum (F, T) in dB, T = N // hop + 1.

    ``source`` (N,): the recording whose spectrum was changed; ``before`` (M,): the first M samples as they
    were made already, which kinds that draw or continue phases go on from.
    """

    kind: str
    spectrum_db: np.ndarray
    length: int
    domain: str
    source: np.ndarray | None = None
    seed: int = 0
    before: np.ndarray | None = None


class Renderer(ABC):
    """One trained network that makes audio; ``train.py`` beside a subclass trains it.

    ``config``: as in ``config.json``; ``below``: the networks that it starts from; ``rendering``: its use.
    """

    name: ClassVar[str]  # of its folder, its weights' file and its options in the configuration
    hears: ClassVar[bool] = False  # another network's waveform of the same spectrum, as it predicts samples

    def __init__(
        self,
        network: nn.Module | None,
        config: dict[str, Any],
        below: Mapping[str, "Renderer"],
        rendering: Rendering = Rendering(),  # noqa: B008 (frozen)
    ):
        self.network = network if network is None else network.eval()
        self.config, self.below = config, dict(below)
        self.features = FeatureConfig.from_dict(config["features"])
        self.representation: str = config["representation"]
        self.domains: list[str] = config["domains"]
        self.top_db: float = config["top_db"]
        self.rms: float = config["rms"]  # root mean square, full scale 1, of the audio that it was trained on
        self.device = torch.device("cpu") if network is None else next(network.parameters()).device
        self.settings = self.settings_of(rendering)

    @classmethod
    @abstractmethod
    def build(cls, config: dict[str, Any]) -> nn.Module | None:
        """The untrained network of a stored configuration; None where none is needed."""

    @classmethod
    @abstractmethod
    def settings_of(cls, rendering: Rendering) -> Any:
        """The part of ``rendering`` that changes its audio."""

    @abstractmethod
    def synthesise(self, wanted: Request) -> np.ndarray:
        """Audio (N,) as wanted."""

    def graph(self, kind: str) -> nn.Module:
        """A module of spectra in dB (B, F, T) and a length to audio (B, N), to be exported.

        Raises RetimbreError for a kind that draws samples, or needs the source.
        """
        raise RetimbreError(f"the vocoder {kind} cannot be exported: choose griffin_lim or istft.")

    def nll_bits(
        self,
        audio: np.ndarray,
        spectrum_db: np.ndarray,
        domain: str,
        own_db: np.ndarray,
        heard_db: np.ndarray | None = None,
    ) -> float | None:
        """Bits per sample of audio (frames * hop_length,) given a spectrum (F, frames + 1) in dB.

        None where samples are not predicted. ``own_db``: the audio's own spectrum, which the given one is a
        change of. ``heard_db``: the one whose waveform is heard, where one is (None: the one given).
        """
        return None

    @property
    def parameters(self) -> int:
        """Number of trained parameters."""
        return 0 if self.network is None else size(self.network)

    def normalised(self, spectrum_db: np.ndarray) -> torch.Tensor:
        """Spectrum (F, T) in dB to -1..1 (1, F, T) on the network's device."""
        return network_input(spectrum_db, self.top_db, self.features.range_db)[None].to(self.device)

    def clipped(self, spectrum_db: np.ndarray) -> torch.Tensor:
        """Spectrum (F, T) in dB kept within the range that networks were trained on: (1, F, T) on the CPU."""
        spectrum = torch.from_numpy(np.ascontiguousarray(spectrum_db, np.float32))
        return spectrum.clamp(self.top_db - self.features.range_db, self.top_db)[None]

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        if self.network is not None:
            save_weights(folder / f"{self.name}.safetensors", self.network)
        write_config(folder, self.config)

    @classmethod
    def load(cls, folder: Path, below: Mapping[str, "Renderer"], rendering: Rendering) -> Self:
        """Read what ``save`` wrote. Raises RetimbreError when it is not there."""
        with reading(folder, cls.name, f"vocoder@{cls.name}"):
            config = read_config(folder)
            network = cls.build(config)
            if network is not None:
                with_weights(network, folder / f"{cls.name}.safetensors")
            return cls(network, config, below, rendering)
