"""The trained networks as a change of recordings: any instrument in, one of the trained ones out."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from retimbre.audio.features import FeatureConfig, denormalise, network_input
from retimbre.errors import RetimbreError, check_target
from retimbre.nn.transcriber.content import Content
from retimbre.nn.weights import read_config, save_model, size, with_weights
from retimbre.systems.resynthesis.code import evened, notes_heard, octaves_into, shifted, transposed
from retimbre.systems.resynthesis.network import Experts


class Change:
    """The networks with all that is needed to use them (``systems.base.Coded``)."""

    sources = None

    def __init__(
        self, networks: Experts, config: dict[str, Any], octaves: int | None = 0, expression: float = 1.0
    ):
        """``octaves`` by which the music is transposed (None: into the target's range, by
        :meth:`fitted`); ``expression``: how much of bends, vibrato and swells is taken over, 0 to 1.
        """
        self.networks, self.config = networks.eval(), config
        self.octaves, self.expression = octaves, expression
        self.targets: list[str] = config["domains"]
        self.features = FeatureConfig.from_dict(config["features"])
        self.representation: str = config["representation"]
        self.top_db: float = config["top_db"]
        self.device = next(networks.parameters()).device
        self.content = Content(self.features)

    def encode(self, audio: np.ndarray) -> np.ndarray:
        """Content (T, C) of audio (N,) of RMS 0.1."""
        return self.content.frames(audio)

    @torch.no_grad()
    def decode(self, code: np.ndarray, spectrum_db: np.ndarray, to: str) -> np.ndarray:
        """Content (T, C) and the source's spectrum in dB (F, T) to the spectrum (F, T) of ``to``."""
        check_target(to, self.targets)
        heard = torch.from_numpy(np.ascontiguousarray(code.T, np.float32))[None]
        source = network_input(spectrum_db, self.top_db, self.features.range_db)[None]
        return self.spectrum(heard, source, to)[0].cpu().numpy()

    def spectrum(self, heard: Tensor, source: Tensor, to: str) -> Tensor:
        """Content (B, C, T) and the source's spectrum in -1..1 (B, F, T) to the spectrum in dB (B, F, T)."""
        if self.octaves:
            heard = transposed(heard, 12 * self.octaves)
            source = shifted(source, self.octaves * self.features.cqt_bins_per_octave, -1.0)
        if self.expression < 1:
            heard = evened(heard, self.expression)
        place = torch.tensor([self.targets.index(to)], device=self.device)
        z = self.networks(heard.to(self.device), source.to(self.device), place).clamp(-1, 1)
        return denormalise(z, self.top_db, self.features.range_db)

    def graph(self, to: str) -> nn.Module:
        """A module of audio (B, N) to the spectrum in dB (B, F, T) of ``to``, to be exported."""
        from retimbre.systems.resynthesis.graph import Graph

        check_target(to, self.targets)
        return Graph(self, to)

    def adjusted(self, octaves: int | None, expression: float) -> "Change":
        """The same networks, transposed and expressive as asked. Raises RetimbreError where they cannot."""
        if octaves != 0 and self.representation != "cqt":
            raise RetimbreError(
                f"a spectrum of {self.representation} cannot be transposed: leave --transpose out, or train "
                "with resynthesis.representation: cqt."
            )
        return Change(self.networks, self.config, octaves, expression)

    def fitted(self, audio: np.ndarray, to: str) -> tuple["Change", str]:
        """Transposed by the octaves that bring most of audio (N,) into the range of ``to``; a sentence."""
        octaves = octaves_into(notes_heard(self.encode(audio)), *self.config["ranges"][to])
        said = (
            f"transposed by {octaves:+d} octave{'s' if abs(octaves) > 1 else ''} into the range of the {to}"
        )
        return self.adjusted(octaves, self.expression), said if octaves else ""

    def context(self, to: str) -> int:
        """Frames on each side that a frame of the output may depend on."""
        return self.networks.context + -(-self.content.context // self.features.hop_length)

    def stride(self, to: str) -> int:
        """Frames of the grid on which chunks must start to come out as the whole does."""
        return self.content.grid // self.features.hop_length

    @property
    def parameters(self) -> int:
        """Number of trained parameters."""
        return size(self.networks)

    def save(self, folder: Path) -> None:
        config = self.config | {"networks": self.networks.to_dict()}
        save_model(folder / "networks.safetensors", self.networks, config)

    @classmethod
    def load(cls, folder: Path) -> "Change":
        """Read what ``save`` wrote."""
        config = read_config(folder)
        networks = Experts.from_dict(config["networks"])
        return cls(with_weights(networks, folder / "networks.safetensors"), config)
