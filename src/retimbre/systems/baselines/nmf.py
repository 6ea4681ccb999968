"""Audio mosaicing by non-negative matrix factorisation with fixed templates.

Driedger, Praetzlich and Mueller, "Let it Bee - towards NMF-inspired audio mosaicing", ISMIR 2015: the
magnitudes V (F, T) of the source are explained as W H, where the columns of W (F, K) are all frames of the
target's recordings and only the activations H (K, T) are learnt. Left alone, H would rebuild the source's
own spectrum from many templates at once; three restrictions, tightened from iteration to iteration, keep the
target's sound: a template is not repeated within r frames, at most p templates sound at once, and runs of
successive frames (diagonals of H) support each other over c frames. r = 3, p = 10 and c = 3 are the paper's.
The window, the number of iterations and the few rounds of Griffin-Lim are ours.
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from retimbre.audio.spectral import griffin_lim, istft
from retimbre.systems.baselines.base import Windowed

WINDOW = (2048, 16000)  # samples at Hz: 128 ms, which separates semitones from about 250 Hz up
LONGEST_S = 20.0  # longer sources are factorised in parts: activations are independent but for a few frames
TINY = 1e-9


def restrict_repetition(H: Tensor, frames: int, keep: float) -> Tensor:
    """Activations (K, T), times ``keep`` where a template is stronger within ``frames`` before or after."""
    strongest = functional.max_pool1d(H[None], 2 * frames + 1, stride=1, padding=frames)[0]
    return torch.where(H >= strongest, H, keep * H)


def restrict_polyphony(H: Tensor, templates: int, keep: float) -> Tensor:
    """Activations (K, T) times ``keep``, except for the ``templates`` strongest of every frame."""
    if templates >= len(H):
        return H
    least = H.topk(templates, dim=0).values[-1]
    return torch.where(H >= least, H, keep * H)


def support_continuity(H: Tensor, frames: int) -> Tensor:
    """Activations (K, T) summed along their diagonals over ``frames`` frames before and after."""
    K, T = H.shape
    result = H.clone()
    for i in range(1, min(frames, K - 1, T - 1) + 1):
        result[i:, i:] += H[:-i, :-i]
        result[:-i, :-i] += H[i:, i:]
    return result


def divergence(V: Tensor, Y: Tensor) -> float:
    """Generalised Kullback-Leibler divergence of Y (F, T) from V (F, T), both non-negative."""
    return float(torch.special.xlogy(V, V.clamp(min=TINY) / Y.clamp(min=TINY)).sum() - V.sum() + Y.sum())


def activations(
    V: Tensor,
    W: Tensor,
    iterations: int,
    repetition: int,
    polyphony: int,
    continuity: int,
    generator: torch.Generator,
) -> Tensor:
    """H (K, T) for magnitudes V (F, T) and templates W (F, K), from random ones: equations 3 to 7."""
    H = torch.rand(W.shape[1], V.shape[1], generator=generator) + TINY
    weight = W.sum(0)[:, None].clamp(min=TINY)
    for i in range(iterations):
        keep = 1 - (i + 1) / iterations  # 0 in the last iteration: the restrictions end up strict
        H = restrict_repetition(H, repetition, keep)
        H = restrict_polyphony(H, polyphony, keep)
        H = support_continuity(H, continuity)
        H = H * (W.T @ (V / (W @ H).clamp(min=TINY))) / weight
    return H


class Nmf(Windowed):
    """``transfer`` rebuilds a source's spectrum from frames of a domain's recordings."""

    name, slow, window = "nmf", False, WINDOW
    # Of one recording: templates can only play notes that they hold, so many pieces are needed.
    segment_s = 2.0

    def templates(self, domain: str) -> Tensor:
        """All frames of a domain's corpus, complex (F, K).

        Silence lies between recordings, so that no diagonal runs over from one to the next.
        """
        gap = torch.zeros(self.n_fft // 2 + 1, self.settings.continuity, dtype=torch.complex64)
        return torch.cat([part for x in self.corpora[domain] for part in (self.spectrum(x), gap)], dim=1)

    def convert(self, x: np.ndarray, domain: str, rng: np.random.Generator) -> np.ndarray:
        s, generator = self.settings, torch.Generator().manual_seed(int(rng.integers(2**62)))
        templates = self.templates(domain)
        W = templates.abs()
        V = self.spectrum(x).abs()
        parts = [
            activations(part, W, s.iterations, s.repetition, s.polyphony, s.continuity, generator)
            for part in V.split(int(LONGEST_S * self.sample_rate / self.hop), dim=1)
        ]
        H = torch.cat(parts, dim=1)
        Y = templates @ H.to(templates.dtype)  # the templates with their own phases
        size, rounds = (self.n_fft, self.hop, len(x)), s.griffin_lim_iterations
        if not rounds:
            return istft(Y[None], *size)[0].numpy()
        return griffin_lim((W @ H)[None], *size, rounds, initial_phase=Y.angle()[None])[0].numpy()
