"""Codes whose activations in a WaveNet are the source's content in the target's style."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from retimbre.audio.companding import decode_audio, encode_audio
from retimbre.errors import check_target
from retimbre.nn.style import gram
from retimbre.nn.wavenet.network import WaveNet
from retimbre.nn.wavenet.options import CODES, WaveNetConfig
from retimbre.nn.weights import read_config, save_model, size, with_weights
from retimbre.systems.wavenet_activations.network import Listener, residuals

START = 8.0  # of a code's own entry, others 0: the softmax gives it 0.92
PART_S = 1.0  # optimised at a time: a matrix of 256 numbers for each sample


class System:
    """The trained network as a system of audio (``systems.base.System``)."""

    sources = None
    slow = True

    def __init__(self, name: str, listener: Listener, config: dict[str, Any]):
        self.name, self.listener, self.config = name, listener.eval().requires_grad_(False), config
        self.targets: list[str] = config["targets"]
        self.rms: float = config["rms"]
        self.sample_rate: int = config["sample_rate"]
        self.device = listener.styles.device

    def losses(self, rows: Tensor, content: Tensor, to: str) -> tuple[Tensor, Tensor]:
        """Content and style loss of inputs (1, N, R) of the WaveNet; ``content``: the source's residual.

        Each is relative to the square of what it should be.
        """
        c, found = self.config, residuals(self.listener.network, rows)
        of_content = (found[c["content_layer"]] - content).square().mean() / content.square().mean()
        goals = self.listener.styles[self.targets.index(to)]
        of_style = [
            (gram(found[layer].mT)[0] - goal).square().mean() / goal.square().mean()
            for layer, goal in zip(c["style_layers"], goals, strict=True)
        ]
        return of_content, torch.stack(of_style).mean()

    def optimise(self, codes: Tensor, to: str) -> Tensor:
        """Codes (N,) to as many: of each sample the likeliest, after Adam on the log odds (N, 256) of all."""
        c, embedding = self.config, self.listener.network.embedding.weight
        with torch.no_grad():
            content = residuals(self.listener.network, embedding[codes][None])[c["content_layer"]]
        odds = (START * functional.one_hot(codes, CODES)).requires_grad_()
        optimiser = torch.optim.Adam([odds], c["rate"])
        with torch.enable_grad():
            for _ in range(c["iterations"]):
                rows = odds.softmax(-1) @ embedding
                of_content, of_style = self.losses(rows[None], content, to)
                optimiser.zero_grad()
                (c["content"] * of_content + c["style"] * of_style).backward()
                optimiser.step()
        return odds.detach().argmax(-1)

    def transfer(self, audio: np.ndarray, to: str, seed: int = 0) -> np.ndarray:
        """Mono audio (N,) of RMS ``rms`` to (N,) float32. Nothing is drawn: ``seed`` changes nothing."""
        check_target(to, self.targets)
        c = self.config
        codes = torch.from_numpy(encode_audio(audio, c["preemphasis"], c["gain"])).to(self.device)
        parts = codes.split(round(PART_S * self.sample_rate))
        made = torch.cat([self.optimise(part, to) for part in parts]).cpu().numpy()
        return decode_audio(made, c["preemphasis"], c["gain"])

    @property
    def parameters(self) -> int:
        """Number of the WaveNet's trained parameters."""
        return size(self.listener.network)

    def save(self, folder: Path) -> None:
        config = self.config | {"wavenet": self.listener.network.config.to_dict()}
        save_model(folder / "listener.safetensors", self.listener, config)

    @classmethod
    def load(cls, folder: Path) -> "System":
        """Read what ``save`` wrote."""
        config = read_config(folder)
        network = WaveNet(WaveNetConfig(**config["wavenet"]))
        listener = Listener(network, len(config["targets"]), len(config["style_layers"]))
        return cls(folder.name, with_weights(listener, folder / "listener.safetensors"), config)
