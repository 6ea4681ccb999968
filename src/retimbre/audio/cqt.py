"""Constant-Q and variable-Q transform: a pyramid of half-rate signals and one matrix product per octave.

Conventions are those of ``librosa.cqt`` and ``librosa.vqt`` with their defaults (pad_mode="constant",
norm=1, scale=True):

- frame t is centred on sample t * hop_length; N samples give N // hop_length + 1 frames; silence around the
  audio;
- a bin's kernel is a periodic Hann window of L = Q * sample_rate / frequency samples times a complex
  exponential, its absolute values sum to 1, and the result is multiplied by sqrt(L). A sinusoid of amplitude
  a on a bin's frequency gives a / 2 * sqrt(L);
- Q = (r^2 + 1) / (r^2 - 1) with r = 2^(1 / bins_per_octave);
- a variable-Q transform widens every bin by ``gamma`` Hz: L = Q * sample_rate / (frequency + gamma * Q), so
  that low bins are shorter in time (Schoerkhuber et al., "A Matlab toolbox for efficient perfect
  reconstruction time-frequency transforms", 2014).

The octave o below the top is computed from the signal at sample_rate / 2^o, so every octave has the same
kernels up to rounding of their lengths (Schoerkhuber and Klapuri, "Constant-Q transform toolbox for music
processing", 2010). Decimation is a half-band filter written as a matrix product too: products run at full
float32 precision on GPUs, where convolutions may be rounded to TF32.
"""

import math

import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from retimbre.errors import RetimbreError

STOP_BAND_DB = 80.0  # attenuation of the half-band filter where an alias would fall into a main lobe
MAX_TAPS = 511  # of the half-band filter, when the top bin is close to half the sample rate
# Equivalent noise bandwidth of the Hann window, in DFT bins (librosa.filters.window_bandwidth).
HANN_BANDWIDTH = 1.5
BLOCK = 32  # samples that one row of the decimation product yields
# Cycles per sample: an octave that gamma makes wider than this is not taken to the next half-rate.
WIDEST_EDGE = 0.42
ERB_SLOPE, ERB_HZ = 0.108, 24.7  # bandwidth of hearing: 0.108 f + 24.7 Hz (Glasberg and Moore 1990)


def quality_factor(bins_per_octave: int) -> float:
    """Q, the ratio of a bin's frequency to its bandwidth (librosa's definition, exact for equal spacing)."""
    r = 2.0 ** (1.0 / bins_per_octave)
    return (r**2 + 1) / (r**2 - 1)


def cqt_frequencies(fmin_hz: float, n_bins: int, bins_per_octave: int) -> np.ndarray:
    """Centre frequencies in Hz, shape (F,)."""
    return fmin_hz * 2.0 ** (np.arange(n_bins) / bins_per_octave)


def kernel_lengths(frequencies_hz: np.ndarray, q: float, rate: float, gamma: float = 0.0) -> np.ndarray:
    """Lengths in samples at ``rate`` Hz, fractional, of the kernels of some bins: (F,)."""
    return q * rate / (frequencies_hz + gamma * q)


def octave_kernels(
    frequencies_hz: np.ndarray, q: float, rate: float, full_rate: float, gamma: float = 0.0
) -> np.ndarray:
    """Kernels of some bins at ``rate`` Hz: complex (n, F), n even; row n / 2 is the frame's centre.

    Lengths are fractional; as in librosa.filters.wavelet the window has floor(L / 2) + ceil(L / 2) samples,
    which puts its centre half a sample (of this rate) beside the frame's centre.
    """
    lengths = kernel_lengths(frequencies_hz, q, rate, gamma)
    half = math.ceil(lengths.max() / 2)
    time = np.arange(-half, half)
    kernels = np.zeros((2 * half, len(lengths)), dtype=np.complex128)
    for f, (frequency, length) in enumerate(zip(frequencies_hz, lengths, strict=True)):
        before, after = math.floor(length / 2), math.ceil(length / 2)
        size = before + after
        window = 0.5 - 0.5 * np.cos(2 * np.pi * (after - time) / size)
        window[(time <= -before) | (time >= after)] = 0.0
        kernels[:, f] = window / window.sum() * np.exp(-2j * np.pi * frequency / rate * time)
    return kernels * np.sqrt(kernel_lengths(frequencies_hz, q, full_rate, gamma))


def half_band(pass_edge: float) -> np.ndarray:
    """Taps (odd count) of a low-pass filter at a quarter of the rate: Kaiser-windowed sinc, gain 1 at 0 Hz.

    ``pass_edge`` is the highest frequency to keep free of aliases, in cycles per sample, below 0.25: the band
    from there to 0.5 - pass_edge may hold anything, so a low edge makes a short filter.
    """
    transition = max(0.5 - 2 * pass_edge, 1e-6) * 2 * math.pi
    reach = math.ceil((STOP_BAND_DB - 7.95) / (2.285 * transition) / 2)
    reach = min(reach, MAX_TAPS // 2)
    reach += 1 - reach % 2  # the outermost taps are odd ones: all even taps but the centre are zero
    time = np.arange(-reach, reach + 1)
    taps = 0.5 * np.sinc(time / 2) * np.kaiser(len(time), 0.1102 * (STOP_BAND_DB - 8.7))
    odd = time % 2 == 1
    taps[~odd] = 0.0
    taps[odd] *= 0.5 / taps[odd].sum()
    taps[reach] = 0.5
    return taps


def _decimation_matrix(taps: np.ndarray) -> np.ndarray:
    """(2 * BLOCK + len(taps) - 2, BLOCK): columns are the taps, each two rows below the one before."""
    matrix = np.zeros((2 * BLOCK + len(taps) - 2, BLOCK))
    for column in range(BLOCK):
        matrix[2 * column : 2 * column + len(taps), column] = taps
    return matrix


class ConstantQ(nn.Module):
    """Constant-Q (or variable-Q) transform of a batch of signals; differentiable, on any device.

    Args: sample_rate: Hz. hop_length: samples; a multiple of 2^(octaves - 1), octaves = ceil(n_bins /
        bins_per_octave). fmin_hz: frequency of the lowest bin. n_bins: F. bins_per_octave: bins per octave.
        dtype: of the kernels, float32 or float64; the input is converted to it. gamma: Hz that every bin is
        wider than a constant Q makes it; 0 is the constant-Q transform, None makes bandwidths proportional
        to those of hearing (24.7 / (0.108 Q), as in librosa.vqt).
        filter_scale: factor on every kernel's length (and so on Q): below 1 finer in time, coarser in pitch.

    Raises RetimbreError when the hop does not fit, or the top bin's filter passes half the sample rate.
    """

    def __init__(
        self,
        sample_rate: int,
        hop_length: int,
        fmin_hz: float,
        n_bins: int,
        bins_per_octave: int,
        dtype: torch.dtype = torch.float32,
        gamma: float | None = 0.0,
        filter_scale: float = 1.0,
    ):
        super().__init__()
        if min(sample_rate, hop_length, fmin_hz, n_bins, bins_per_octave, filter_scale) <= 0:
            raise RetimbreError(
                "The constant-Q transform's sample rate, hop, lowest frequency, numbers of bins and "
                "filter scale must be above 0."
            )
        self.sample_rate, self.hop_length, self.fmin_hz = sample_rate, hop_length, fmin_hz
        self.n_bins, self.bins_per_octave = n_bins, bins_per_octave
        if gamma is not None and not 0 <= gamma < math.inf:
            raise RetimbreError(f"gamma of the variable-Q transform must be at least 0 Hz, not {gamma}.")
        octaves = -(-n_bins // bins_per_octave)
        step = 2 ** (octaves - 1)
        if hop_length % step:
            near = sorted({hop_length // step * step, (hop_length // step + 1) * step} - {0})
            raise RetimbreError(
                f"hop_length {hop_length} is not a multiple of {step}, which {octaves} octaves at "
                f"half-rates need: use {' or '.join(map(str, near))}."
            )
        frequencies = cqt_frequencies(fmin_hz, n_bins, bins_per_octave)
        self.quality_factor = q = filter_scale * quality_factor(bins_per_octave)
        self.gamma = gamma = ERB_HZ / (ERB_SLOPE * q) if gamma is None else float(gamma)
        top = frequencies[-1] * (1 + 0.5 * HANN_BANDWIDTH / q) + 0.5 * gamma
        if top > sample_rate / 2:
            raise RetimbreError(
                f"The highest of {n_bins} constant-Q bins reaches {top:.0f} Hz, above half the sample rate "
                f"({sample_rate / 2:.0f} Hz): use fewer bins{' or a smaller gamma' if gamma else ''}."
            )

        # Low bins at a high rate: halve first, while the hop allows, but stay an octave above the need as
        # librosa does, because kernels of few samples are coarse (their lengths are rounded).
        spare = max(0, math.ceil(math.log2(sample_rate / 2 / top)) - 2)
        self.halvings_first = max(h for h in range(spare + 1) if hop_length % (step * 2**h) == 0)

        def edge(octave: int, level: int) -> float:
            """The main lobe's end of an octave's top bin, in cycles per sample at sample_rate / 2^level."""
            return (frequencies[-1] * (1 + 2 / q) / 2**octave + 2 * gamma) / sample_rate * 2**level

        # Octave o below the top is computed at sample_rate / 2^levels[o]. With a constant Q the edge is the
        # same in every octave; what gamma adds doubles from each to the next, and an octave that has become
        # too wide keeps the rate of the one above.
        self.levels = [self.halvings_first]
        for octave in range(1, octaves):
            widest = max(WIDEST_EDGE, edge(0, self.halvings_first))
            self.levels.append(self.levels[-1] + int(edge(octave, self.levels[-1] + 1) <= widest))
        # Before each halving, first ones included, the band used later ends at half of the widest edge.
        taps = half_band(max(edge(octave, level) for octave, level in enumerate(self.levels)) / 2)
        self.reach = len(taps) // 2
        decimation = torch.from_numpy(_decimation_matrix(taps)).to(dtype)
        self.register_buffer("decimation", decimation, persistent=False)

        self.octaves = octaves
        for octave in range(octaves):  # 0 is the top
            low, high = max(0, n_bins - (octave + 1) * bins_per_octave), n_bins - octave * bins_per_octave
            rate = sample_rate / 2 ** self.levels[octave]
            kernels = octave_kernels(frequencies[low:high], q, rate, sample_rate, gamma)  # (n, F of octave)
            # Columns re, im, re, im, ...
            pairs = np.stack([kernels.real, kernels.imag], axis=-1).reshape(len(kernels), -1)
            self.register_buffer(f"kernels_{octave}", torch.from_numpy(pairs).to(dtype), persistent=False)

    def extra_repr(self) -> str:
        wider = f", {self.gamma:g} Hz wider" if self.gamma else ""
        rate = f"hop {self.hop_length} at {self.sample_rate} Hz"
        return f"{self.n_bins} bins, {self.bins_per_octave} per octave{wider}, {rate}"

    def _halve(self, x: Tensor, lead: int) -> tuple[Tensor, int]:
        """Half-band filter and drop every other sample.

        ``x`` (B, N) begins ``lead`` samples before time 0. So does the result, whose new lead comes second:
        the filter's ringing before and after the audio is kept, or audio with a hard start or end would lose
        some of it in every octave.
        """
        after = x.shape[-1] - lead - 1 + self.reach  # time of the last sample that sounds after filtering
        new_lead = (lead + self.reach + 1) // 2
        samples = new_lead + after // 2 + 1
        blocks, width = (samples + BLOCK - 1) // BLOCK, self.decimation.shape[0]
        before = 2 * new_lead + self.reach - lead
        behind = (blocks - 1) * 2 * BLOCK + width - before - x.shape[-1]
        rows = functional.pad(x, (before, behind)).unfold(-1, width, 2 * BLOCK)  # (B, blocks, width)
        return (rows @ self.decimation).flatten(1)[:, :samples], new_lead

    def _octaves(self, x: Tensor) -> list[Tensor]:
        """Complex (B, T, F of the octave), from the lowest octave to the highest."""
        if x.ndim != 2 or x.shape[-1] == 0:
            raise ValueError(f"expected audio of shape (B, N) with N > 0, got {tuple(x.shape)}")
        x, lead, halved = x.to(self.decimation.dtype), 0, 0
        frames = x.shape[-1] // self.hop_length + 1
        result = []
        for octave, level in enumerate(self.levels):
            for _ in range(level - halved):
                x, lead = self._halve(x, lead)
            halved, hop = level, self.hop_length >> level
            kernels = getattr(self, f"kernels_{octave}")  # (n, 2 F)
            half = kernels.shape[0] // 2
            end = (frames - 1) * hop + half  # a negative pad drops samples
            padded = functional.pad(x, (half - lead, end - (x.shape[-1] - lead)))
            pairs = padded.unfold(-1, 2 * half, hop) @ kernels  # (B, T, n) -> (B, T, 2 F)
            result.append(torch.view_as_complex(pairs.unflatten(-1, (-1, 2))))
        return result[::-1]

    def forward(self, x: Tensor) -> Tensor:
        """Audio (B, N) -> complex (B, F, T), T = N // hop_length + 1."""
        with torch.autocast(x.device.type, enabled=False):
            return torch.cat(self._octaves(x), dim=-1).transpose(1, 2).contiguous()

    def magnitude(self, x: Tensor) -> Tensor:
        """Audio (B, N) -> magnitude (B, F, T). Its gradient is 0, not NaN, where the audio is silent."""
        with torch.autocast(x.device.type, enabled=False):
            magnitudes = torch.cat([octave.abs() for octave in self._octaves(x)], dim=-1)  # (B, T, F)
            return magnitudes.transpose(1, 2).contiguous()
