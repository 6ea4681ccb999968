"""The low notes of log-CQT levels as a signal of their own.

Below some hundred Hz the windows of a constant-Q transform are longer than those of a short-time Fourier
transform: it tells the notes of a chord apart where the latter shows them as one blur. So these bins are
inverted by themselves: every spectral peak is followed as a sinusoid (single-pass spectrogram inversion,
here on constant-Q peaks), which starts the constant-Q transform's own fast Griffin-Lim. Where windows are
shorter than about 2.5 hops frames hardly overlap and the other transform is the better judge, hence
``hops``.
"""

import math

import numpy as np
import torch
from numba import njit
from torch import Tensor, nn

from retimbre.audio.cqt import ConstantQ, kernel_lengths, quality_factor
from retimbre.audio.cqt_inverse import InverseConstantQ
from retimbre.audio.features import FLOOR, FeatureConfig, magnitude
from retimbre.audio.spectral import valley

BEYOND_OCTAVES = 1 / 3  # bins above the crossover that are inverted too, so that none is missing at it
FADE_HZ = 60.0  # width of the change from one transform to the other
# Exponent of the low signal's magnitude in the geometric mean with the other transform's, below the
# crossover. 1 is best where levels are exact; levels from a generator have errors, which two estimates share
# less of.
LOW_WEIGHT = 0.5
TINY = 1e-4  # -80 dB: what a magnitude is at least taken for in that mean


@njit(cache=True)
def _peak_phase(
    level: np.ndarray,
    fmin_hz: float,
    bins_per_octave: int,
    hop_s: float,
    known: np.ndarray,
    counts: np.ndarray,
) -> np.ndarray:
    bins, frames = level.shape
    phase = np.zeros((bins, frames), dtype=np.float32)
    current = np.zeros(bins)  # radians, float64: it grows over the whole piece
    peaks = np.empty(bins, dtype=np.int64)
    for t in range(frames):
        m = level[:, t]
        count = 0
        for k in range(bins):
            if (k == 0 or m[k] > m[k - 1]) and (k == bins - 1 or m[k] >= m[k + 1]):
                peaks[count] = k
                count += 1
        low = 0
        for i in range(count):
            p = peaks[i]
            high = valley(m, p, peaks[i + 1]) if i + 1 < count else bins  # first bin of the next region
            offset, end = 0.0, p + 1
            while end < bins and m[end] == m[p]:
                end += 1
            if end - p > 1:  # a peak that was clipped
                offset = 0.5 * (end - 1 - p)
            elif 0 < p < bins - 1:
                curvature = m[p - 1] - 2 * m[p] + m[p + 1]
                if curvature < 0:
                    offset = 0.5 * (m[p - 1] - m[p + 1]) / curvature
            at_peak = (current[p] + 2 * np.pi * hop_s * fmin_hz * 2.0 ** ((p + offset) / bins_per_octave)) % (
                2 * np.pi
            )
            for k in range(low, high):
                current[k] = at_peak
            low = high
        for k in range(bins):
            if t < counts[k]:
                current[k] = known[k, t]
        phase[:, t] = current
    return phase


def peak_phase(
    level_db: np.ndarray,
    fmin_hz: float,
    bins_per_octave: int,
    hop_s: float,
    known: np.ndarray | None = None,
    counts: np.ndarray | None = None,
) -> np.ndarray:
    """Phase in radians, float32 (F, T), for constant-Q levels in dB (F, T), frames ``hop_s`` seconds apart.

    Every peak advances by the frequency of the parabola through it and its two neighbours, and the bins up
    to the valleys have its phase, as they do around a sinusoid: a frame's phase is that at its centre
    (Beauregard, Harish and Wyse, "Single pass spectrogram inversion", 2015, carried over from the short-time
    Fourier transform).

    ``known`` (F, M): phases that are kept as they are and continued, of bin k in its first ``counts[k]``
    frames (all M without ``counts``).
    """
    level = np.ascontiguousarray(level_db, dtype=np.float32)
    if level.ndim != 2:
        raise ValueError(f"expected levels of shape (F, T), got {level.shape}")
    known = np.zeros((len(level), 0)) if known is None else known[:, : level.shape[1]]
    known = np.ascontiguousarray(known, np.float32)
    counts = np.full(len(level), known.shape[1]) if counts is None else np.minimum(counts, known.shape[1])
    return _peak_phase(level, fmin_hz, bins_per_octave, hop_s, known, np.ascontiguousarray(counts, np.int64))


class LowBand(nn.Module):
    """Log-CQT levels to the signal of their low bins.

    Args:
        config: of the levels; every backend of the constant-Q transform is read by the same one.
        hops: bins whose windows have at least so many hops are low.

    Attributes:
        crossover_hz: where the signal should give way to another one; 0 when no bin is low.
        bins: how many bins are inverted, some above the crossover included.
    """

    def __init__(self, config: FeatureConfig, hops: float):
        super().__init__()
        self.config = config
        frequencies, q = config.frequencies_hz("cqt"), quality_factor(config.cqt_bins_per_octave)
        self.lengths = kernel_lengths(frequencies, q, config.sample_rate)
        count = int((self.lengths >= hops * config.hop_length).sum())
        self.crossover_hz = float(frequencies[count - 1]) if count else 0.0
        beyond = math.ceil(BEYOND_OCTAVES * config.cqt_bins_per_octave) if count else 0
        self.bins = min(len(frequencies), count + beyond)
        self.inverse = None
        if self.bins:
            at = (config.sample_rate, config.hop_length, config.cqt_fmin_hz)
            self.inverse = InverseConstantQ(ConstantQ(*at, self.bins, config.cqt_bins_per_octave))

    def _known(self, before: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Phases (F, M) of audio (N,), and by bin (F,) how many frames lie within it with whole windows."""
        x = torch.from_numpy(np.ascontiguousarray(before, np.float32))[None].to(self.inverse.weights.device)
        counts = (len(before) - self.lengths[: self.bins] / 2) // self.config.hop_length + 1
        return torch.angle(self.inverse.transform(x))[0].cpu().numpy(), np.maximum(counts, 0).astype(np.int64)

    @torch.no_grad()
    def forward(
        self,
        level_db: np.ndarray,
        floor_db: float,
        length: int,
        iterations: int,
        before: np.ndarray | None = None,
    ) -> Tensor:
        """Levels (F, T) of all bins to audio (1, N) of ``length`` samples, T = N // hop + 1.

        ``floor_db``: what lies at or below it is silent. ``iterations`` of Griffin-Lim; with none every peak
        is simply followed. ``before`` (M,): the first M samples as they were made already, whose phases are
        continued.
        """
        c = self.config
        level = np.asarray(level_db, np.float32)[: self.bins]
        # Levels end at the floor: taken as they are, all empty bins together would hum.
        above = np.maximum(magnitude(level) - magnitude(floor_db), FLOOR).astype(np.float32)
        known, counts = self._known(before) if before is not None and len(before) else (None, None)
        hop_s = c.hop_length / c.sample_rate
        phase = peak_phase(20 * np.log10(above), c.cqt_fmin_hz, c.cqt_bins_per_octave, hop_s, known, counts)
        target, start = (torch.from_numpy(x)[None].to(self.inverse.weights.device) for x in (above, phase))
        return self.inverse.griffin_lim(target, length, iterations, initial_phase=start)


def splice(
    spectrum: Tensor,
    phase: Tensor,
    low: Tensor,
    crossover_hz: float,
    spacing_hz: float,
    weight: float = LOW_WEIGHT,
) -> tuple[Tensor, Tensor]:
    """Put a low signal's spectrum below the crossover: magnitude and phase, (B, K, T) each.

    ``spectrum``, ``phase`` and the complex ``low`` (B, K, T) are of the same short-time Fourier transform,
    whose bins are ``spacing_hz`` apart. Below, phases are the low signal's, and magnitudes the geometric
    mean of both with this ``weight`` of the low signal's (1: it alone). They change over within ``FADE_HZ``
    around the crossover.
    """
    frequencies = torch.arange(spectrum.shape[1], device=spectrum.device) * spacing_hz
    share = ((crossover_hz + FADE_HZ / 2 - frequencies) / FADE_HZ).clamp(0, 1)[:, None]
    mean = low.abs()
    if weight != 1:
        mean = mean.clamp(min=TINY) ** weight * spectrum.clamp(min=TINY) ** (1 - weight)
    return share * mean + (1 - share) * spectrum, torch.where(share > 0, torch.angle(low), phase)
