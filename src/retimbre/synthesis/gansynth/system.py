"""A trained generator of pictures as a ``Synthesiser``: notes of the pitches that it has learned."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from retimbre.nn.weights import read_config, save_model, size, with_weights
from retimbre.synthesis.base import check_pitches, hertz
from retimbre.synthesis.gansynth.network import Generator, Shape
from retimbre.synthesis.instantaneous_frequency import Pictures

CHUNK = 16  # notes at once
TONE_RMS = 0.1


class Scale:
    """Pictures (B, 2, T, F) between their own units and the -1..1 of the networks.

    ``values``: factor and offset of log magnitude, factor of the second channel. ``PUBLISHED``: for NSynth,
    whose magnitudes it lays within about 0.8; what is beyond 1 is cut.
    """

    PUBLISHED = (0.0661371661726, 0.113718730221, 0.8)

    def __init__(self, values: Sequence[float] = PUBLISHED):
        self.values = tuple(values)

    @classmethod
    def fitted(cls, lowest: float, highest: float) -> "Scale":
        """The scale that lays log magnitudes within 0.8."""
        factor = 1.6 / max(highest - lowest, 1e-6)
        return cls((factor, -0.8 - factor * lowest, cls.PUBLISHED[2]))

    def _parts(self, like: Tensor) -> tuple[Tensor, Tensor]:
        level, offset, second = self.values
        factors, offsets = like.new_tensor([level, second]), like.new_tensor([offset, 0.0])
        return factors[:, None, None], offsets[:, None, None]

    def down(self, pictures: Tensor) -> Tensor:
        factors, offsets = self._parts(pictures)
        return (factors * pictures + offsets).clamp(-1, 1)

    def up(self, pictures: Tensor) -> Tensor:
        factors, offsets = self._parts(pictures)
        return (pictures - offsets) / factors


def tones(pictures: Pictures, scale: Scale, pitches: Sequence[int]) -> Tensor:
    """Pictures (P, 2, T, F), scaled, of tones whose n-th partial has 1/n of the first one's amplitude."""
    t = np.arange(pictures.samples) / pictures.sample_rate
    made = []
    for pitch in pitches:
        f = hertz(pitch)
        n = np.arange(1, int(pictures.sample_rate / 2 / f) + 1)
        tone = (1 / n) @ np.cos(2 * np.pi * f * n[:, None] * t)
        made.append(TONE_RMS * tone / np.sqrt(np.mean(tone**2)))
    return scale.down(pictures.encode(torch.from_numpy(np.array(made, np.float32))))


class Synthesiser:
    """The averaged generator, the pictures that it makes, their scale, and the pitches of its one-hot."""

    def __init__(self, network: Generator, pictures: Pictures, scale: Scale, pitches: Sequence[int]):
        self.network, self.pictures, self.scale = network.eval(), pictures, scale
        self.pitches = tuple(int(pitch) for pitch in pitches)
        self.sample_rate, self.samples = pictures.sample_rate, pictures.samples

    @property
    def parameters(self) -> int:
        return size(self.network)

    def latents(self, n: int, seed: int) -> Tensor:
        """Normal noise (n, Z); fewer of the same seed are the first of more."""
        noise = np.random.default_rng(seed).standard_normal((n, self.network.shape.latent))
        return torch.from_numpy(noise).float()

    def decode(self, latents: Tensor, pitches: Sequence[int] | None = None) -> np.ndarray:
        """Audio (n, N) in -1..1 of latents (n, Z), each of its pitch.

        Raises RetimbreError without pitches, and for one that was not learned.
        """
        return self._made(lambda x: self.pictures.decode(x).clamp(-1, 1), latents, pitches)

    def drawn(self, latents: Tensor, pitches: Sequence[int] | None = None) -> np.ndarray:
        """Magnitudes (n, T, F) of latents (n, Z), with the errors of :meth:`decode`."""
        return self._made(self.pictures.magnitude, latents, pitches)

    def analysed(self, audio: np.ndarray) -> np.ndarray:
        """Magnitudes (n, T, F) of audio (n, N)."""
        return self.pictures.magnitude(self.pictures.encode(torch.from_numpy(audio))).numpy()

    @torch.no_grad()
    def _made(
        self, of: Callable[[Tensor], Tensor], latents: Tensor, pitches: Sequence[int] | None
    ) -> np.ndarray:
        """Network's pictures (B, 2, T, F) as ``of`` turns them into something, some notes at a time."""
        check_pitches(pitches, self.pitches)
        places = torch.tensor([self.pitches.index(int(pitch)) for pitch in pitches])
        one_hot = F.one_hot(places, len(self.pitches)).float()
        progress = self.network.shape.resolutions - 1.0
        parts = zip(latents.split(CHUNK), one_hot.split(CHUNK), strict=True)
        return torch.cat([of(self.scale.up(self.network(z, p, progress))) for z, p in parts]).numpy()

    def save(self, folder: Path) -> None:
        config = {
            "network": self.network.shape.to_dict(),
            "pictures": self.pictures.to_dict(),
            "scale": self.scale.values,
            "pitches": self.pitches,
        }
        save_model(folder / "generator.safetensors", self.network, config)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what ``save`` wrote."""
        config = read_config(folder)
        pictures, scale = Pictures(**config["pictures"]), Scale(config["scale"])
        shape = Shape.from_dict(config["network"])
        seen = tones(pictures, scale, config["pitches"]) if shape.tones else None
        network = with_weights(Generator(shape, seen), folder / "generator.safetensors")
        return cls(network, pictures, scale, config["pitches"])
