"""Notes from an instrument's mean envelope and decay."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor

from retimbre.nn.weights import read_config, save_tensors, write_config
from retimbre.synthesis.base import check_pitches, hertz

LOWEST_HZ = 40.0
HARMONICS = 128  # at most, and none above half the sample rate
LEVELS = 32  # quantiles of an instrument's levels


def band_centres(bands: int, rate: int) -> np.ndarray:
    """Frequencies (bands,) in Hz, equally far apart in log frequency up to half the rate."""
    edges = np.geomspace(LOWEST_HZ, rate / 2, bands + 1)
    return np.sqrt(edges[1:] * edges[:-1])


@dataclass(frozen=True)
class Averages:
    """Averages of K instruments: ``envelope`` (K, bands) in nats, of harmonics that together have power 1;
    ``decay`` (K, frames), amplitudes from a note's begin to its end; ``levels`` (K, 32), quantiles of RMS;
    ``share`` (K,) of the notes.
    """

    envelope: np.ndarray
    decay: np.ndarray
    levels: np.ndarray
    share: np.ndarray


class Synthesiser:
    """A latent is a weight of every instrument, a level (0 to 1), and phases of harmonics in turns.

    Noise has one instrument each, as often as the notes; between two points envelopes and decays are mixed.
    """

    def __init__(self, averages: Averages, pitches: Sequence[int], sample_rate: int, samples: int):
        self.averages, self.pitches = averages, tuple(pitches)
        self.sample_rate, self.samples = sample_rate, samples

    @property
    def parameters(self) -> int:
        a = self.averages
        return a.envelope.size + a.decay.size + a.levels.size + a.share.size

    def latents(self, n: int, seed: int) -> Tensor:
        rng, found = np.random.default_rng(seed), []
        share = self.averages.share
        for _ in range(n):
            weights = np.eye(len(share))[rng.choice(len(share), p=share)]
            found.append(np.concatenate([weights, rng.random(1 + HARMONICS)]))
        return torch.from_numpy(np.array(found)).float()

    def decode(self, latents: Tensor, pitches: Sequence[int] | None = None) -> np.ndarray:
        check_pitches(pitches, self.pitches)
        made = [self._note(z, p) for z, p in zip(latents.double().numpy(), pitches, strict=True)]
        return np.array(made, np.float32).reshape(-1, self.samples)

    def _note(self, latent: np.ndarray, pitch: int) -> np.ndarray:
        a, count = self.averages, len(self.averages.share)
        weights, level, phases = latent[:count], latent[count], latent[count + 1 :]
        weights = weights / max(weights.sum(), 1e-9)
        f = hertz(pitch) * np.arange(1, HARMONICS + 1)
        f, phases = f[f < self.sample_rate / 2], phases[f < self.sample_rate / 2]
        centres = band_centres(a.envelope.shape[1], self.sample_rate)
        amplitude = np.exp(np.interp(np.log(f), np.log(centres), weights @ a.envelope))
        t = np.arange(self.samples) / self.sample_rate
        tone = amplitude @ np.sin(2 * np.pi * (f[:, None] * t + phases[:, None]))
        places = (np.arange(a.decay.shape[1]) + 0.5) * self.samples / a.decay.shape[1]
        tone *= np.interp(np.arange(self.samples), places, weights @ a.decay)
        wanted = np.interp(level, np.linspace(0, 1, LEVELS), weights @ a.levels)
        tone *= wanted / max(np.sqrt(np.mean(tone**2)), 1e-9)
        return tone / max(1.0, np.abs(tone).max())

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {name: torch.from_numpy(value) for name, value in vars(self.averages).items()}
        save_tensors(folder / "averages.safetensors", tensors)
        config = {"pitches": self.pitches, "sample_rate": self.sample_rate, "samples": self.samples}
        write_config(folder, config)

    @classmethod
    def load(cls, folder: Path) -> Self:
        from safetensors.numpy import load_file

        config = read_config(folder)
        averages = Averages(**load_file(folder / "averages.safetensors"))
        return cls(averages, config["pitches"], config["sample_rate"], config["samples"])
