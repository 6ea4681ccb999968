"""Short-time Fourier transform, mel filters, and phase from magnitude.

Conventions: periodic Hann window of n_fft samples, frame t centred on sample t * hop, silence (zeros) around
the audio like the constant-Q transform, so N samples give T = N // hop + 1 frames and F = n_fft // 2 + 1
bins. No scaling: a sinusoid of amplitude a on a bin gives a * n_fft / 4. n_fft should be at least 4 hops for
:func:`griffin_lim`; 2 hops are the least. It may be odd (511 samples: 256 bins); hops need not divide it,
since the inverse divides by the squared windows as they really overlap.
"""

from functools import lru_cache

import numpy as np
import torch
from numba import njit
from torch import Tensor

from retimbre.audio import products


@lru_cache(maxsize=16)
def _hann(n_fft: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    with torch.inference_mode(False):  # the cached window must stay usable in training
        return torch.hann_window(n_fft, dtype=dtype, device=device)


def stft(x: Tensor, n_fft: int, hop: int) -> Tensor:
    """Audio (B, N) -> complex (B, F, T). In an exported graph it is a product of matrices."""
    if torch.compiler.is_exporting():
        return products.stft(x, n_fft, hop)
    window = _hann(n_fft, x.dtype, x.device)
    if n_fft % 2:
        # torch pads by n_fft // 2 on both sides, one sample too little behind the last centre.
        x = torch.nn.functional.pad(x, (0, 1))
    return torch.stft(x, n_fft, hop, window=window, center=True, pad_mode="constant", return_complex=True)


def istft(X: Tensor, n_fft: int, hop: int, length: int) -> Tensor:
    """Complex (B, F, T) -> audio (B, length): the least-squares inverse, exact for an STFT of such audio."""
    _check_frames(X, hop, length)
    if torch.compiler.is_exporting():
        return products.istft(X, n_fft, hop, length)
    window = _hann(n_fft, X.real.dtype, X.device)
    return torch.istft(X, n_fft, hop, window=window, center=True, length=length)


def _check_frames(X: Tensor, hop: int, length: int) -> None:
    if X.shape[-1] != length // hop + 1:
        raise ValueError(f"{length} samples have {length // hop + 1} frames at hop {hop}, not {X.shape[-1]}")


@lru_cache(maxsize=16)
def _mel_filters(sample_rate: int, n_fft: int, n_mels: int) -> np.ndarray:
    import librosa

    return librosa.filters.mel(sr=sample_rate, n_fft=n_fft, n_mels=n_mels)


def mel_filters(sample_rate: int, n_fft: int, n_mels: int) -> Tensor:
    """Slaney's mel bands up to half the sample rate, each of area 1 (librosa.filters.mel): (M, F) float32.

    They are meant for magnitudes: mel = mel_filters(...) @ stft(...).abs().
    """
    return torch.from_numpy(_mel_filters(sample_rate, n_fft, n_mels).copy())


def random_phase(magnitude: Tensor, generator: torch.Generator | None) -> Tensor:
    """Uniform noise in radians, of a magnitude's shape and on its device, drawn on the generator's."""
    device = generator.device if generator is not None else magnitude.device
    noise = torch.rand(magnitude.shape, dtype=magnitude.dtype, device=device, generator=generator)
    return 2 * torch.pi * noise.to(magnitude.device)


def griffin_lim(
    magnitude: Tensor,
    n_fft: int,
    hop: int,
    length: int,
    iterations: int,
    momentum: float = 0.99,
    initial_phase: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Audio (B, length) of about the given STFT magnitude (B, F, T), by the fast Griffin-Lim algorithm.

    Perraudin, Balazs and Sondergaard, "A fast Griffin-Lim algorithm", 2013, with the momentum as in
    librosa.griffinlim; momentum 0 is Griffin and Lim's own. It starts from ``initial_phase`` (radians, (B,
    F, T)), or from uniform noise drawn from ``generator`` (on its device); with no iterations the initial
    phase is used as it is.
    """
    _check_frames(magnitude, hop, length)
    if initial_phase is None:
        initial_phase = random_phase(magnitude, generator)
    X = torch.polar(magnitude, initial_phase.to(magnitude))
    keep = momentum / (1 + momentum)
    tiny = torch.finfo(magnitude.dtype).tiny
    before = None
    for _ in range(iterations):
        rebuilt = stft(istft(X, n_fft, hop, length), n_fft, hop)
        step = rebuilt if before is None else rebuilt - keep * before
        X = step * (magnitude / step.abs().clamp(min=tiny))
        before = rebuilt
    return istft(X, n_fft, hop, length)


@njit(cache=True)
def valley(level: np.ndarray, below: int, above: int) -> int:
    """The lowest bin between two peaks, the first of equals: where the region of the second one begins."""
    lowest = below + 1
    for k in range(below + 1, above):
        if level[k] < level[lowest]:
            lowest = k
    return lowest


@njit(cache=True)
def _spsi(magnitude: np.ndarray, n_fft: int, hop: int, known: np.ndarray) -> np.ndarray:
    bins, frames = magnitude.shape
    phase = np.zeros((bins, frames), dtype=np.float32)
    current = np.zeros(bins)  # radians, kept in float64: it grows over the whole piece
    peaks = np.empty(bins, dtype=np.int64)
    for t in range(frames):
        if t < known.shape[1]:
            current[:] = known[:, t]
            phase[:, t] = current
            continue
        m = magnitude[:, t]
        count = 0
        for k in range(1, bins - 1):
            if m[k] > m[k - 1] and m[k] >= m[k + 1]:
                peaks[count] = k
                count += 1
        low = 0
        for i in range(count):
            p = peaks[i]
            high = valley(m, p, peaks[i + 1]) if i + 1 < count else bins  # first bin of the next region
            a, b, c = np.log(m[p - 1] + 1e-9), np.log(m[p] + 1e-9), np.log(m[p + 1] + 1e-9)
            curvature = a - 2 * b + c
            offset = 0.5 * (a - c) / curvature if curvature < 0 else 0.0
            at_peak = (current[p] + 2 * np.pi * hop * (p + offset) / n_fft) % (2 * np.pi)
            for k in range(low, high):
                current[k] = at_peak + np.pi * ((k - p) % 2)
            low = high
        phase[:, t] = current
    return phase


def spsi_phase(magnitude: np.ndarray, n_fft: int, hop: int, known: np.ndarray | None = None) -> np.ndarray:
    """Phase in radians, float32 (F, T), for a magnitude (F, T): single-pass spectrogram inversion.

    ``known`` (F, M): phases of the first M frames, kept as they are and continued (a long piece made in
    chunks).

    Every spectral peak advances by the frequency of the parabola through it (in log magnitude) and its
    neighbours, up to the valleys, follow it; the sign alternates between bins, as it does within the main
    lobe of a window that starts at the frame's start (Beauregard, Harish and Wyse, "Single pass spectrogram
    inversion", 2015).
    """
    magnitude = np.asarray(magnitude, dtype=np.float32)
    if magnitude.ndim != 2 or magnitude.shape[0] != n_fft // 2 + 1:
        raise ValueError(f"expected a magnitude of shape ({n_fft // 2 + 1}, T), got {magnitude.shape}")
    known = np.zeros((len(magnitude), 0)) if known is None else known
    return _spsi(magnitude, n_fft, hop, np.asarray(known, np.float32)[:, : magnitude.shape[1]])
