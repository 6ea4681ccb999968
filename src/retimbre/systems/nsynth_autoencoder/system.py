"""The trained autoencoders as systems: recordings played by another instrument, or between two recordings."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from retimbre.audio.spectral import griffin_lim, spsi_phase
from retimbre.errors import RetimbreError, check_target
from retimbre.nn.wavenet_autoencoder.system import CodedAudio
from retimbre.nn.weights import read_config, save_model, size, with_weights
from retimbre.systems.nsynth_autoencoder.network import (
    FRAMES,
    HOP,
    N_FFT,
    SpectralAutoencoder,
    log_magnitude,
    magnitude,
)


class System(CodedAudio):
    """The WaveNet autoencoder; ``load`` returns its spectral baseline where that was trained."""

    def morph(
        self, a: np.ndarray, b: np.ndarray, to: str, share: float | None = None, seed: int = 0
    ) -> np.ndarray:
        """Audio between two recordings (N,) of this rate and level, played on ``to``, as long as the shorter.

        Their codes are mixed: ``share`` 0 is the first, 1 the second; None goes from one to the other.
        """
        length = min(len(a), len(b))
        first, second = self.encode(a[:length]), self.encode(b[:length])
        between = np.linspace(0, 1, len(first), dtype=np.float32) if share is None else np.float32(share)
        if not (0 <= np.min(between) and np.max(between) <= 1):
            raise RetimbreError(f"share is {share}, and a number from 0 to 1 is needed.")
        w = np.broadcast_to(between, len(first))[:, None]
        return self.decode((1 - w) * first + w * second, to, length, seed)

    @classmethod
    def load(cls, folder: Path) -> "System | Baseline":  # type: ignore[override]
        """Read what ``save`` wrote."""
        if "spectral" in read_config(folder):
            return Baseline.load(folder)
        return super().load(folder)


class Baseline:
    """The spectral baseline (``systems.base.System``): windows of 4 s that overlap by half, Griffin-Lim."""

    sources = None
    slow = False

    def __init__(self, name: str, network: SpectralAutoencoder, config: dict[str, Any]):
        self.name, self.network, self.config = name, network.eval(), config
        self.sample_rate: int = config["sample_rate"]
        self.rms: float = config["rms"]
        self.targets: list[str] = config["domains"]

    def transfer(self, audio: np.ndarray, to: str, seed: int = 0) -> np.ndarray:
        check_target(to, self.targets)
        domain = torch.tensor([self.targets.index(to)])
        z = self.windowed(audio, lambda x: self.network(x, domain))
        made = magnitude(z[None])[..., : len(audio) // HOP + 1]
        phase = torch.from_numpy(spsi_phase(made[0].numpy(), N_FFT, HOP))[None]
        iterations = self.config["griffin_lim_iterations"]
        y = griffin_lim(made, N_FFT, HOP, len(audio), iterations, initial_phase=phase)
        return y[0].numpy()

    @torch.no_grad()
    def windowed(self, audio: np.ndarray, change: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
        """Spectrogram (512, T) of audio (N,), changed window by window, where windows overlap their mean."""
        step = FRAMES // 2
        count = max(0, -(-(len(audio) // HOP + 1 - FRAMES) // step)) + 1
        total = (count - 1) * step + FRAMES
        padded = np.pad(np.asarray(audio, np.float32), (0, max(0, total * HOP - len(audio))))
        whole = log_magnitude(torch.from_numpy(padded)[None])[0]
        fade = torch.minimum(torch.arange(FRAMES), torch.arange(FRAMES).flip(0)).float() + 1
        sums, weight = torch.zeros_like(whole), torch.zeros(whole.shape[1])
        for start in range(0, count * step, step):
            now = slice(start, start + FRAMES)
            sums[:, now] += fade * change(whole[None, :, now])[0]
            weight[now] += fade
        return sums / weight

    @property
    def parameters(self) -> int:
        """Trained parameters."""
        return size(self.network)

    def save(self, folder: Path) -> None:
        save_model(folder / "spectral.safetensors", self.network, self.config)

    @classmethod
    def load(cls, folder: Path) -> "Baseline":
        """Read what ``save`` wrote."""
        config = read_config(folder)
        network = SpectralAutoencoder(**config["spectral"], domains=len(config["domains"]))
        return cls(folder.name, with_weights(network, folder / "spectral.safetensors"), config)
