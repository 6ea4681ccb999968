"""The trained networks as a system: any instrument's spectra to codes, samples of one of the trained ones."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from retimbre.audio.companding import decode_audio
from retimbre.audio.features import FeatureConfig, network_input, spectrum_of
from retimbre.errors import check_target
from retimbre.nn.generation.sampler import generate
from retimbre.nn.wavenet_autoencoder.autoencoder import TEMPERATURE, resampled
from retimbre.nn.weights import read_config, save_model, size, with_weights
from retimbre.systems.vlae.network import Vlae, VlaeConfig


class System:
    """Audio to mean codes, and samples drawn from the decoder (a ``systems.base.System``).

    The decoder works at ``config["rate"]`` Hz; what it sings is brought to the project's rate.
    """

    sources, slow = None, True

    def __init__(self, name: str, network: Vlae, config: dict[str, Any]):
        self.name, self.network, self.config = name, network.eval(), config
        self.targets: list[str] = config["domains"]
        self.features = FeatureConfig.from_dict(config["features"])
        self.sample_rate = self.features.sample_rate
        self.rms: float = config["rms"]

    @torch.no_grad()
    def encode(self, audio: np.ndarray) -> np.ndarray:
        """Audio (N,) to means of codes (Z, J)."""
        spectrum_db = spectrum_of(audio, self.features, self.config["representation"])
        x = network_input(spectrum_db, self.config["top_db"], self.features.range_db)[None]
        return self.network.encoder(x)[0][0].numpy()

    def decode(self, code: np.ndarray, length: int, to: str, seed: int = 0) -> np.ndarray:
        """Codes (Z, J) to ``length`` samples (N,) of ``to``; the same seed gives the same ones."""
        check_target(to, self.targets)
        c, rate = self.config, self.config["rate"]
        place, samples = self.targets.index(to), -(-length * rate // self.sample_rate)
        sung = generate(self.network.decoder, code[None], place, samples, TEMPERATURE, seed=seed)[0]
        played = decode_audio(sung, c["preemphasis"], c["gain"])
        audio = resampled(played, rate, self.sample_rate)[:length]
        return np.pad(audio, (0, length - len(audio)))

    def transfer(self, audio: np.ndarray, to: str, seed: int = 0) -> np.ndarray:
        """Audio (N,) to the same music on ``to``, (N,)."""
        return self.decode(self.encode(audio), len(audio), to, seed)

    @property
    def parameters(self) -> int:
        """Number of trained parameters."""
        return size(self.network)

    def save(self, folder: Path) -> None:
        config = self.config | {"network": self.network.config.to_dict()}
        save_model(folder / "network.safetensors", self.network, config)

    @classmethod
    def load(cls, folder: Path) -> "System":
        """Read what ``save`` wrote."""
        config = read_config(folder)
        network = Vlae(VlaeConfig.from_dict(config["network"]))
        return cls(folder.name, with_weights(network, folder / "network.safetensors"), config)
