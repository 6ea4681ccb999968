"""The trained decoders as a system of audio: any single line in, one of the trained instruments out."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from retimbre.errors import check_target
from retimbre.nn.weights import read_config, save_model, size, with_weights
from retimbre.systems.ddsp.hearing import hear
from retimbre.systems.ddsp.network import Decoder, DecoderConfig


class System:
    """Decoders by instrument (``systems.base.System``). Of chords it plays the one line that it hears."""

    sources = None
    slow = False

    def __init__(self, name: str, decoders: nn.ModuleDict, config: dict[str, Any]):
        self.name, self.decoders, self.config = name, decoders.eval(), config
        self.targets: list[str] = config["targets"]
        self.rms: float = config["rms"]
        self.sample_rate: int = config["decoder"]["sample_rate"]
        self.device = next(decoders.parameters()).device

    @torch.no_grad()
    def transfer(self, audio: np.ndarray, to: str, seed: int = 0) -> np.ndarray:
        """Mono audio (N,) of RMS ``rms`` to (N,) float32; ``seed``: of the noise."""
        check_target(to, self.targets)
        hop = self.config["decoder"]["hop"]
        padded = np.pad(audio, (0, hop - len(audio) % hop))  # to a frame behind the last sample
        heard = hear(padded, self.sample_rate, hop)
        f0_hz, loudness_db = (torch.from_numpy(x)[None].to(self.device) for x in heard)
        generator = torch.Generator().manual_seed(seed)
        noise = 2 * torch.rand(1, len(padded), generator=generator) - 1
        made = self.decoders[to](f0_hz, loudness_db, noise.to(self.device))
        return made[0, : len(audio)].cpu().numpy()

    @property
    def parameters(self) -> int:
        """Trained parameters of one instrument's decoder."""
        return size(self.decoders[self.targets[0]])

    def save(self, folder: Path) -> None:
        save_model(folder / "decoders.safetensors", self.decoders, self.config)

    @classmethod
    def load(cls, folder: Path) -> "System":
        """Read what ``save`` wrote."""
        config = read_config(folder)
        shape = DecoderConfig(**config["decoder"])
        decoders = nn.ModuleDict({target: Decoder(shape) for target in config["targets"]})
        return cls(folder.name, with_weights(decoders, folder / "decoders.safetensors"), config)
