"""Optimisation of an STFT until its Gram matrix is the style's.

Foote, Yang and Rohaninejad's baseline of 2016 (report and code): the unknowns are magnitude and phase,
started from the content's STFT; the loss is 10 times the squared error of the magnitude to the content plus
10 times the squared error of the Gram matrix S S^T of the magnitudes (F, T) to the style's, both as half
means over elements. The loss does not see the phase, so it stays the source's; ``phase: griffin_lim``
finds one for the new magnitudes instead. They took 50,000 steps of Adam; here it is L-BFGS, which gets lower
on the same loss in a hundred.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.optimize
import torch
from torch import Tensor

from retimbre.audio.features import FeatureConfig
from retimbre.audio.spectral import griffin_lim, istft, stft
from retimbre.systems.baselines.base import Corpus, TrainingFree, looped, window_samples

WINDOW, PUBLISHED_RATE = 2048, 16000  # samples at Hz, a quarter as hop (librosa's defaults)
LONGEST_S = 20.0  # longer sources are optimised in parts
GRIFFIN_LIM_ROUNDS = 60


def minimise(
    loss: Callable[[Tensor], Tensor], start: Tensor, iterations: int, lowest: float | None = None
) -> Tensor:
    """L-BFGS (SciPy's, ten corrections) on a function of one float32 tensor; never below ``lowest``. Returns
    the best point.
    """

    def evaluate(values: np.ndarray) -> tuple[float, np.ndarray]:
        with torch.enable_grad():
            x = torch.from_numpy(values.astype(np.float32)).reshape(start.shape).requires_grad_()
            value = loss(x)
            (gradient,) = torch.autograd.grad(value, x)
        return float(value.detach()), gradient.numpy().astype(np.float64).ravel()

    bounds = None if lowest is None else scipy.optimize.Bounds(lowest, np.inf)
    options = {"maxiter": iterations, "maxfun": 2 * iterations, "maxcor": 10, "ftol": 0.0, "gtol": 0.0}
    found = scipy.optimize.minimize(
        evaluate,
        start.numpy().astype(np.float64).ravel(),
        jac=True,
        method="L-BFGS-B",
        bounds=bounds,
        options=options,
    )
    return torch.from_numpy(found.x.astype(np.float32)).reshape(start.shape)


def gram(S: Tensor) -> Tensor:
    """S S^T of (F, T): (F, F)."""
    return S @ S.T


def losses(S: Tensor, content: Tensor, style_gram: Tensor) -> tuple[Tensor, Tensor]:
    """Content and style loss of magnitudes S (F, T): half mean squared errors."""
    return 0.5 * (S - content).square().mean(), 0.5 * (gram(S) - style_gram).square().mean()


class GramOptimisation(TrainingFree):
    """``transfer`` moves a source's magnitudes towards the Gram matrix of a clip of the domain (drawn by the
    seed).
    """

    name, slow = "gram", True

    def __init__(self, corpora: dict[str, Corpus], config: FeatureConfig, settings: Any):
        super().__init__(corpora, config, settings)
        self.n_fft = window_samples(config.sample_rate, WINDOW, PUBLISHED_RATE)
        self.hop = self.n_fft // 4

    def spectrum(self, x: np.ndarray) -> Tensor:
        """Complex STFT (F, T) of audio (N,)."""
        return stft(torch.from_numpy(x)[None], self.n_fft, self.hop)[0]

    def optimise(self, content: Tensor, style: Tensor) -> Tensor:
        """Magnitudes (F, T) of the least weighted loss for a content (F, T) and a style clip (F, T')."""
        s, style_gram = self.settings, gram(style) * (content.shape[1] / style.shape[1])

        def loss(S: Tensor) -> Tensor:
            content_loss, style_loss = losses(S, content, style_gram)
            return s.content * content_loss + s.style * style_loss

        return minimise(loss, content, s.iterations, lowest=0.0)

    def convert(self, x: np.ndarray, domain: str, rng: np.random.Generator) -> np.ndarray:
        style = self.spectrum(
            looped(self.corpora[domain], min(len(x), int(LONGEST_S * self.sample_rate)), rng)
        ).abs()
        X = self.spectrum(x)
        frames = int(LONGEST_S * self.sample_rate / self.hop)
        S = torch.cat([self.optimise(part, style) for part in X.abs().split(frames, dim=1)], dim=1)
        if self.settings.phase == "source":
            return istft(torch.polar(S, X.angle())[None], self.n_fft, self.hop, len(x))[0].numpy()
        return griffin_lim(
            S[None], self.n_fft, self.hop, len(x), GRIFFIN_LIM_ROUNDS, initial_phase=X.angle()[None]
        )[0].numpy()
