"""What the parts of the vocoder have in common, and which ways from levels to audio (kinds) there are.

A part is one trained network with its settings, one file each in ``data/models/vocoder``. A kind is a way from levels to audio that
one part, perhaps with the help of others, goes. ``systems.vocoder`` puts them together.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from retimbre.audio.features import FeatureConfig, normalise
from retimbre.datasets.packed.format import PackedAudio, PackedFeatures
from retimbre.params import Vocoder as VocoderParams
from retimbre.tracking import StageRun
from retimbre.training.checkpoint import Scratch


@dataclass(frozen=True)
class Kind:
    """A way from levels to audio. ``parts``: what must be trained, in the order of training; the last makes the audio.

    ``needs_source``: the source recording; ``needs_domain``: the target instrument; ``slow``: takes so long that the
    table hears it on a few pieces only.
    """

    parts: tuple[str, ...]
    needs_source: bool = False
    needs_domain: bool = False
    slow: bool = False


KINDS: dict[str, Kind] = {
    "source_phase": Kind(("inverter",), needs_source=True),
    "griffin_lim": Kind(("inverter",)),
    "istft": Kind(("inverter", "istft")),
    "wavenet": Kind(("wavenet",), needs_domain=True, slow=True),
    "wavenet_excited": Kind(("inverter", "excited"), needs_domain=True),
}


@dataclass(frozen=True)
class Training:
    """What a part is trained with; ``settings``: the vocoder's configuration as far as it is known before (domains, features ...)."""

    audio: PackedAudio
    features: PackedFeatures
    params: VocoderParams
    seed: int
    scratch: Scratch
    run: StageRun
    settings: dict[str, Any]


@dataclass(frozen=True)
class Request:
    """Audio that is wanted of a part: ``length`` (N) samples from levels (F, T) in dB, T = N // hop + 1.

    ``source`` (N,): the recording whose levels were changed; ``before`` (M,): the first M samples as they were made already,
    which kinds that draw or continue phases go on from.
    """

    kind: str
    level_db: np.ndarray
    length: int
    domain: str
    source: np.ndarray | None = None
    seed: int = 0
    before: np.ndarray | None = None


class Part(ABC):
    """One trained network of the vocoder. ``config``: the vocoder's whole configuration; ``parts``: those trained before this one.

    Subclasses say how it is built (``build``), trained (``fit``) and used (``synthesise``).
    """

    name: ClassVar[str]  # of its weights' file and of its entry in the configuration
    hears: ClassVar[bool] = False  # whether it predicts samples with another part's waveform of the same levels in its ear

    def __init__(self, network: nn.Module | None, config: dict[str, Any], parts: Mapping[str, "Part"]):
        self.network = network if network is None else network.eval()
        self.config, self.parts = config, parts
        self.features = FeatureConfig.from_dict(config["features"])
        self.representation: str = config["representation"]
        self.domains: list[str] = config["domains"]
        self.top_db: float = config["top_db"]
        self.device = torch.device("cpu") if network is None else next(network.parameters()).device

    @classmethod
    @abstractmethod
    def build(cls, config: dict[str, Any]) -> nn.Module | None:
        """The untrained network of a stored configuration; None where the part needs no network."""

    @classmethod
    @abstractmethod
    def fit(cls, training: Training, parts: Mapping[str, "Part"]) -> tuple[nn.Module | None, dict[str, Any], list[dict[str, float]]]:
        """The trained network (on the CPU), what it adds to the configuration, and the curves of its training."""

    @abstractmethod
    def synthesise(self, wanted: Request) -> np.ndarray:
        """Audio (N,) as wanted."""

    def nll_bits(
        self, audio: np.ndarray, level_db: np.ndarray, domain: str, own_db: np.ndarray, heard_db: np.ndarray | None = None
    ) -> float | None:
        """Bits per sample of audio (frames * hop_length,) given levels (F, frames + 1) in dB, as far as a part predicts samples.

        ``own_db``: the audio's own levels, which those given are a change of. ``heard_db``: the levels whose waveform is heard, of a part
        that hears one (None: those given).
        """
        return None

    @property
    def parameters(self) -> int:
        """Number of trained parameters."""
        return 0 if self.network is None else sum(p.numel() for p in self.network.parameters())

    def normalised(self, level_db: np.ndarray) -> torch.Tensor:
        """Levels (F, T) in dB to -1..1 (1, F, T) on the network's device."""
        z = normalise(torch.from_numpy(np.ascontiguousarray(level_db, np.float32)), self.top_db, self.features.range_db)
        return z[None].to(self.device)

    def clipped(self, level_db: np.ndarray) -> torch.Tensor:
        """Levels (F, T) in dB kept within the range that networks were trained on: (1, F, T) on the CPU."""
        levels = torch.from_numpy(np.ascontiguousarray(level_db, np.float32))
        return levels.clamp(self.top_db - self.features.range_db, self.top_db)[None]

    def state(self) -> Any:
        """What the outputs depend on beside the code: the settings and the weights, of this part and of those before it."""
        settings = {name: value for name, value in self.config.items() if name not in ("kind", "kinds")}
        return [settings, self.network, *(part.network for part in self.parts.values())]
