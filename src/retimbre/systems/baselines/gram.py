"""Optimisation of an STFT until its Gram matrix is the style's.

Foote, Yang and Rohaninejad's baseline of 2016 (report and code): the unknowns are magnitude and phase,
started from the content's STFT; the loss is 10 times the squared error of the magnitude to the content plus
10 times the squared error of the Gram matrix S S^T of the magnitudes (F, T) to the style's, both as half
means over elements. The loss does not see the phase, so it stays the source's; ``phase: griffin_lim``
finds one for the new magnitudes instead. They took 50,000 steps of Adam; here it is L-BFGS, which gets lower
on the same loss in a hundred.
"""

from collections.abc import Callable

import numpy as np
import scipy.optimize
import torch
from torch import Tensor

from retimbre.audio.spectral import griffin_lim, istft
from retimbre.systems.baselines.base import Windowed, looped

WINDOW = (2048, 16000)  # samples at Hz, a quarter as hop (librosa's defaults)
LONGEST_S = 20.0  # longer sources are optimised in parts
GRIFFIN_LIM_ROUNDS = 60


def minimise(
    loss: Callable[[Tensor], Tensor], start: Tensor, iterations: int, lowest: float | None = None
) -> Tensor:
    """Best point of L-BFGS (SciPy's, ten corrections) for a float32 tensor, from ``lowest`` up."""

    def evaluate(values: np.ndarray) -> tuple[float, np.ndarray]:
        with torch.enable_grad():
            x = torch.from_numpy(values.astype(np.float32)).reshape(start.shape).requires_grad_()
            value = loss(x)
            (gradient,) = torch.autograd.grad(value, x)
        return float(value.detach()), gradient.numpy().astype(np.float64).ravel()

    bounds = None if lowest is None else scipy.optimize.Bounds(lowest, np.inf)
    options = {"maxiter": iterations, "maxfun": 2 * iterations, "maxcor": 10, "ftol": 0.0, "gtol": 0.0}
    first, how = start.numpy().astype(np.float64).ravel(), {"jac": True, "method": "L-BFGS-B"}
    found = scipy.optimize.minimize(evaluate, first, **how, bounds=bounds, options=options)
    return torch.from_numpy(found.x.astype(np.float32)).reshape(start.shape)


def gram(S: Tensor) -> Tensor:
    """S S^T of (F, T): (F, F)."""
    return S @ S.T


def losses(S: Tensor, content: Tensor, style_gram: Tensor) -> tuple[Tensor, Tensor]:
    """Content and style loss of magnitudes S (F, T): half mean squared errors."""
    return 0.5 * (S - content).square().mean(), 0.5 * (gram(S) - style_gram).square().mean()


class GramOptimisation(Windowed):
    """``transfer`` moves a source's magnitudes towards the Gram matrix of a clip of the domain.

    The clip is drawn by the seed.
    """

    name, slow, window = "gram", True, WINDOW

    def optimise(self, content: Tensor, style: Tensor) -> Tensor:
        """Magnitudes (F, T) of the least weighted loss for a content (F, T) and a style clip (F, T')."""
        s, style_gram = self.settings, gram(style) * (content.shape[1] / style.shape[1])

        def loss(S: Tensor) -> Tensor:
            content_loss, style_loss = losses(S, content, style_gram)
            return s.content * content_loss + s.style * style_loss

        return minimise(loss, content, s.iterations, lowest=0.0)

    def convert(self, x: np.ndarray, domain: str, rng: np.random.Generator) -> np.ndarray:
        clip = looped(self.corpora[domain], min(len(x), int(LONGEST_S * self.sample_rate)), rng)
        style, X = self.spectrum(clip).abs(), self.spectrum(x)
        frames = int(LONGEST_S * self.sample_rate / self.hop)
        S = torch.cat([self.optimise(part, style) for part in X.abs().split(frames, dim=1)], dim=1)
        size, phase = (self.n_fft, self.hop, len(x)), X.angle()
        if self.settings.phase == "source":
            return istft(torch.polar(S, phase)[None], *size)[0].numpy()
        return griffin_lim(S[None], *size, GRIFFIN_LIM_ROUNDS, initial_phase=phase[None])[0].numpy()
