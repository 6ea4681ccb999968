"""Audio from constant-Q coefficients by least squares, from magnitudes by fast Griffin-Lim.

The adjoint of :class:`retimbre.audio.cqt.ConstantQ` is its pyramid run backwards: one matrix product and one
overlap-add per octave, from the lowest octave up, with a doubling of the rate between octaves. Both
algorithms need one transform and one adjoint per iteration.

Coefficients are weighted so that transform and weighted adjoint together have a gain of at most about 1. A
bin's Hann window w has L samples and neighbouring bins lie one bandwidth of it apart, so the squared
responses of all bins sum to 1.5 at every frequency, and the gain at a bin and a time t is 2 * sum over
frames m of w(t - m * hop)^2. Its largest value over t is a bin's weight's reciprocal. Where gamma widens the
bins of a variable-Q transform they overlap the more, and the gain grows by as much. Bins whose windows are
shorter than the hop leave gaps between the frames: what lies in them cannot be had back, nor what lies
outside the band. There the result is silent (the solution of least energy).
"""

import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from retimbre.audio.cqt import BLOCK, ConstantQ, cqt_frequencies, kernel_lengths
from retimbre.audio.products import overlap_add
from retimbre.audio.spectral import random_phase


def bin_weights(lengths: np.ndarray, hop: int) -> np.ndarray:
    """Weights (F,) of bins whose windows have the given lengths (samples): 1 / the largest gain."""
    weights = np.empty(len(lengths))
    for f, length in enumerate(lengths):
        reach = int(length / 2 / hop) + 1
        # Largest with a frame's centre at t, or between two when windows are a little longer than two hops.
        frames = np.arange(-reach, reach + 1)
        gains = [np.sum(_hann((frames + shift) * hop / length) ** 2) for shift in (0.0, 0.5)]
        weights[f] = 1 / (2 * max(gains))
    return weights


def _hann(position: np.ndarray) -> np.ndarray:
    """Hann window at ``position``, in window lengths from its centre."""
    return np.where(np.abs(position) < 0.5, 0.5 + 0.5 * np.cos(2 * np.pi * position), 0.0)


class InverseConstantQ(nn.Module):
    """Inverse of a constant-Q transform; batched, on any device, in the transform's precision.

    Args:
        transform: the transform to invert; it is not copied.
    """

    def __init__(self, transform: ConstantQ):
        super().__init__()
        self.transform = transform
        kernels = [
            getattr(transform, f"kernels_{octave}").cpu() for octave in reversed(range(transform.octaves))
        ]
        # A kernel's absolute values sum to the square root of its window's length.
        roots = [torch.view_as_complex(k.unflatten(-1, (-1, 2)).contiguous()).abs().sum(0) for k in kernels]
        lengths = torch.cat(roots).double().numpy() ** 2
        weights = bin_weights(lengths, transform.hop_length)
        if transform.gamma:
            frequencies = cqt_frequencies(transform.fmin_hz, transform.n_bins, transform.bins_per_octave)
            weights *= lengths / kernel_lengths(frequencies, transform.quality_factor, transform.sample_rate)
        weights = torch.from_numpy(weights).to(transform.decimation)
        self.register_buffer("weights", weights[:, None], persistent=False)  # (F, 1)

    def _check_shape(self, C: Tensor, length: int) -> None:
        expected = (self.transform.n_bins, length // self.transform.hop_length + 1)
        if C.ndim != 3 or tuple(C.shape[1:]) != expected:
            raise ValueError(
                f"expected coefficients of shape (B, {expected[0]}, {expected[1]}) for {length} "
                f"samples, got {tuple(C.shape)}"
            )

    def _levels(self, length: int) -> list[tuple[int, int]]:
        """(samples before time 0, samples) of the signal at each rate, as the transform makes them."""
        reach, lead, levels = self.transform.reach, 0, [(0, length)]
        for _ in range(self.transform.levels[-1]):
            after = length - lead - 1 + reach
            lead = (lead + reach + 1) // 2
            length = lead + after // 2 + 1
            levels.append((lead, length))
        return levels

    def _double(self, x: Tensor, level: tuple[int, int], below: tuple[int, int]) -> Tensor:
        """Adjoint of the transform's halving: a signal of the level ``below`` -> one of ``level``."""
        (lead, length), (lead_below, samples) = level, below
        blocks = (samples + BLOCK - 1) // BLOCK
        rows = functional.pad(x, (0, blocks * BLOCK - samples)).unflatten(-1, (blocks, BLOCK))
        summed = overlap_add(rows, self.transform.decimation, 2 * BLOCK)
        before = 2 * lead_below + self.transform.reach - lead
        return functional.pad(summed, (-before, length + before - summed.shape[-1]))

    def adjoint(self, C: Tensor, length: int) -> Tensor:
        """Complex (B, F, T) -> (B, length): the sum over coefficients of the real part of C * kernel.

        The kernel is not conjugated. For all audio x:
        (x * adjoint(C)).sum() = (transform(x).conj() * C).sum().real.
        """
        transform = self.transform
        hop, frames = transform.hop_length, C.shape[-1]
        self._check_shape(C, length)
        levels = self._levels(length)
        pairs = torch.view_as_real(C.transpose(1, 2).contiguous())  # (B, T, F, 2)
        x, low, at = None, 0, transform.levels[-1]
        for octave in reversed(range(transform.octaves)):
            kernels = getattr(transform, f"kernels_{octave}")  # (n, 2 F of the octave)
            high, half, level = low + kernels.shape[1] // 2, kernels.shape[0] // 2, transform.levels[octave]
            lead, samples = levels[level]
            octave_hop = hop >> level
            summed = overlap_add(pairs[:, :, low:high].flatten(2).to(kernels), kernels, octave_hop)
            end = (frames - 1) * octave_hop + half
            summed = functional.pad(summed, (lead - half, samples - lead - end))
            while at > level:
                at -= 1
                x = self._double(x, levels[at], levels[at + 1])
            x = summed if x is None else x + summed
            low = high
        for level in reversed(range(transform.halvings_first)):
            x = self._double(x, levels[level], levels[level + 1])
        return x

    @torch.no_grad()
    def forward(self, C: Tensor, length: int, iterations: int = 60, tolerance: float = 1e-4) -> Tensor:
        """Complex (B, F, T) -> audio (B, length) of least energy whose transform is nearest to C.

        Nearest in weighted squares. Conjugate gradients on the normal equations, from silence; it stops when
        the residual of these has fallen to ``tolerance`` of its start for every signal of the batch, or after
        ``iterations``. Few iterations leave out what is hardest to tell from C.
        """
        self._check_shape(C, length)
        with torch.autocast(C.device.type, enabled=False):
            residual = self.adjoint(self.weights * C, length)
            x, direction = torch.zeros_like(residual), residual.clone()
            energy = residual.square().sum(-1, keepdim=True)
            enough = energy * tolerance**2
            tiny = torch.finfo(energy.dtype).tiny
            for _ in range(iterations):
                if bool((energy <= enough).all()):
                    break
                image = self.transform(direction)
                power = (self.weights * (image.real**2 + image.imag**2)).sum((1, 2))[:, None]
                step = energy / power.clamp(min=tiny)
                x += step * direction
                residual -= step * self.adjoint(self.weights * image, length)
                before, energy = energy, residual.square().sum(-1, keepdim=True)
                direction = residual + energy / before.clamp(min=tiny) * direction
            return x

    @torch.no_grad()
    def griffin_lim(
        self,
        magnitude: Tensor,
        length: int,
        iterations: int,
        momentum: float = 0.99,
        initial_phase: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Audio (B, length) of about the given magnitude (B, F, T), by the fast Griffin-Lim algorithm.

        Perraudin, Balazs and Sondergaard, "A fast Griffin-Lim algorithm", 2013. The inverse within an
        iteration is one gradient step from the iteration before instead of a full least-squares solution:
        the same where the weighted transform keeps energy, and never a step too far elsewhere. It starts
        from ``initial_phase`` (radians, (B, F, T)), or from uniform noise drawn from ``generator`` (on its
        device). Momentum 0 is Griffin and Lim's own algorithm.
        """
        self._check_shape(magnitude, length)
        with torch.autocast(magnitude.device.type, enabled=False):
            magnitude = magnitude.to(self.weights.dtype)
            if initial_phase is None:
                initial_phase = random_phase(magnitude, generator)
            target = self.weights * magnitude
            x = ahead = self.adjoint(torch.polar(target, initial_phase.to(magnitude)), length)
            tiny = torch.finfo(magnitude.dtype).tiny
            for _ in range(iterations):
                C = self.transform(ahead)
                ratio = target / C.abs().clamp(min=tiny) - self.weights
                before, x = x, ahead + self.adjoint(ratio * C, length)
                ahead = x + momentum * (x - before)
            return x
