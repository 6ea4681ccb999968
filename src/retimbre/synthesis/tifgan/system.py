"""The trained generator of TiFGAN."""

from collections.abc import Sequence

import numpy as np
import torch
from scipy.special import ndtr, ndtri
from torch import Tensor

from retimbre.synthesis import gabor
from retimbre.synthesis.tifgan.network import decoded, levels
from retimbre.synthesis.unconditional import Unconditional

FARTHEST = 2.5  # of the latents that are used, for training has seen few beyond


class Synthesiser(Unconditional):
    """Noise to magnitudes, and heap integration's phases to those.

    Magnitudes are relative, so that all notes are given one peak: the mean of the training set's.
    """

    def latents(self, n: int, seed: int) -> Tensor:
        """Normal noise (n, Z) within 2.5; fewer of the same seed are the first of more."""
        ranks = np.random.default_rng(seed).uniform(
            ndtr(-FARTHEST), ndtr(FARTHEST), (n, self.network.config.latent)
        )
        return torch.from_numpy(ndtri(ranks)).float()

    def audio(self, x: Tensor) -> Tensor:
        return self.config["peak"] * decoded(x)

    def drawn(self, latents: Tensor, pitches: Sequence[int] | None = None) -> np.ndarray:
        """Magnitudes (n, 256, T) of latents (n, Z), relative to the loudest."""
        return self._made(lambda x: _relative(levels(x)), latents)

    def analysed(self, audio: np.ndarray) -> np.ndarray:
        """Magnitudes (n, 256, T) of audio (n, N), relative to the loudest."""
        return _relative(gabor.log_magnitude(torch.from_numpy(audio))).numpy()


def _relative(level: Tensor) -> Tensor:
    return (level - level.amax((1, 2), keepdim=True)).exp()
