"""Phase gradient heap integration (PGHI): phase from the magnitude of an STFT, in one pass.

Prusa, Balazs and Sondergaard, "A noniterative method for reconstruction of phase from STFT magnitude",
2017. For a Gaussian window exp(-pi n^2 / gamma) the phase's derivatives follow from those of the
log-magnitude s (n: samples, t: frames, k: bins):

- along time, per frame: 2 pi hop k / n_fft + hop n_fft / gamma * ds/dk;
- along frequency, per bin: -gamma / (hop n_fft) * ds/dt + pi, where pi is there because a frame's transform
  is taken from its first sample (:func:`retimbre.audio.spectral.stft`, torch and librosa) and not from its
  centre.

They are integrated from the loudest bin outwards, always from the loudest bin that has its phase already,
by the trapezoidal rule. Bins far below the maximum hold no usable derivative: they get random phases, which
sounds better than zeros. Other windows are treated as the Gaussian that is most like them. The result is a
good start for :func:`retimbre.audio.spectral.griffin_lim`.
"""

import numpy as np
from numba import njit

HANN_GAMMA = 0.25645  # of a Hann window, in squared window lengths (the paper's table 2)
FLOOR = 1e-10  # of the maximum: magnitudes below it are taken as it before the logarithm


def gaussian_window(n_fft: int, gamma: float | None = None) -> np.ndarray:
    """exp(-pi n^2 / gamma), n = -n_fft / 2 .. n_fft / 2 - 1, float32 (n_fft,); gamma: else Hann's."""
    n = np.arange(n_fft) - n_fft // 2
    gamma = hann_gamma(n_fft) if gamma is None else gamma
    return np.exp(-np.pi * n**2 / gamma).astype(np.float32)


def hann_gamma(n_fft: int) -> float:
    """gamma (squared samples) of the Gaussian that is most like a Hann window of ``n_fft`` samples."""
    return HANN_GAMMA * n_fft**2


def phase_gradients(
    magnitude: np.ndarray, n_fft: int, hop: int, gamma: float | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Phase derivatives along time (radians per frame) and frequency (per bin) of a magnitude, (F, T) each.

    Central differences of the log-magnitude, one-sided at the edges.
    """
    magnitude = _checked(magnitude, n_fft)
    gamma = hann_gamma(n_fft) if gamma is None else gamma
    floor = max(float(magnitude.max(initial=0.0)) * FLOOR, np.finfo(np.float32).tiny)
    level = np.log(np.maximum(magnitude, floor))
    along_bins = np.gradient(level, axis=0)
    along_frames = np.gradient(level, axis=1) if level.shape[1] > 1 else np.zeros_like(level)
    carrier = (2 * np.pi * hop / n_fft) * np.arange(len(level), dtype=np.float32)[:, None]
    in_time = carrier + np.float32(hop * n_fft / gamma) * along_bins
    return in_time, np.float32(np.pi) - np.float32(gamma / (hop * n_fft)) * along_frames


def _checked(magnitude: np.ndarray, n_fft: int) -> np.ndarray:
    magnitude = np.ascontiguousarray(magnitude, dtype=np.float32)
    if magnitude.ndim != 2 or magnitude.shape[0] != n_fft // 2 + 1:
        raise ValueError(f"expected a magnitude of shape ({n_fft // 2 + 1}, T), got {magnitude.shape}")
    return magnitude


@njit(cache=True)
def _push(heap: np.ndarray, size: int, magnitude: np.ndarray, cell: int) -> int:
    """Add a cell to a heap of ``size`` cells, loudest first; the new size."""
    i = size
    while i > 0:
        parent = (i - 1) // 2
        if magnitude[heap[parent]] >= magnitude[cell]:
            break
        heap[i] = heap[parent]
        i = parent
    heap[i] = cell
    return size + 1


@njit(cache=True)
def _pop(heap: np.ndarray, size: int, magnitude: np.ndarray) -> int:
    """Take the loudest cell out of a heap of ``size`` cells."""
    loudest, cell = heap[0], heap[size - 1]
    i, size = 0, size - 1
    while 2 * i + 1 < size:
        child = 2 * i + 1
        if child + 1 < size and magnitude[heap[child + 1]] > magnitude[heap[child]]:
            child += 1
        if magnitude[cell] >= magnitude[heap[child]]:
            break
        heap[i] = heap[child]
        i = child
    heap[i] = cell
    return loudest


@njit(cache=True)
def _integrate(
    magnitude: np.ndarray,
    along_time: np.ndarray,
    along_frequency: np.ndarray,
    frames: int,
    order: np.ndarray,
    todo: np.ndarray,
    phase: np.ndarray,
) -> None:
    """Fill ``phase`` where ``todo``. Arrays are flat, cell = bin * frames + frame.

    ``order``: the cells to do, loudest first.
    """
    cells = len(magnitude)
    heap = np.empty(cells, dtype=np.int64)
    size = 0
    following = 0
    while True:
        if size == 0:  # the loudest bin that nothing louder leads to starts an island of its own
            while following < len(order) and not todo[order[following]]:
                following += 1
            if following == len(order):
                return
            start = order[following]
            phase[start], todo[start] = 0.0, False
            size = _push(heap, size, magnitude, start)
        cell = _pop(heap, size, magnitude)
        size -= 1
        frame = cell % frames
        for direction in range(4):
            if direction < 2:
                other, gradient, sign = cell + 1 - 2 * direction, along_time, 1.0 - 2.0 * direction
                inside = frame + sign >= 0 and frame + sign < frames
            else:
                sign = 5.0 - 2.0 * direction
                other, gradient = cell + int(sign) * frames, along_frequency
                inside = other >= 0 and other < cells
            if inside and todo[other]:
                # Wrapped as it grows, so that float64 keeps its digits in long pieces.
                phase[other] = (phase[cell] + sign * 0.5 * (gradient[cell] + gradient[other])) % (2 * np.pi)
                todo[other] = False
                size = _push(heap, size, magnitude, other)


def pghi_phase(
    magnitude: np.ndarray,
    n_fft: int,
    hop: int,
    gamma: float | None = None,
    tolerance: float = 1e-6,
    seed: int = 0,
) -> np.ndarray:
    """Phase in radians from 0 to 2 pi, float32 (F, T), for a magnitude (F, T).

    Args:
        magnitude: of an STFT with ``n_fft`` bands and ``hop`` samples between frames.
        gamma: squared samples, of the Gaussian window exp(-pi n^2 / gamma); else that of a Hann window.
        tolerance: bins below this share of the maximum get uniformly random phases drawn from ``seed``.
    """
    magnitude = _checked(magnitude, n_fft)
    frames = magnitude.shape[1]
    phase = np.random.default_rng(seed).uniform(0, 2 * np.pi, magnitude.shape)
    todo = magnitude > tolerance * magnitude.max(initial=0.0)
    along_time, along_frequency = phase_gradients(magnitude, n_fft, hop, gamma)
    flat, todo, values = magnitude.ravel(), todo.ravel(), phase.ravel()
    cells = np.flatnonzero(todo)
    order = cells[np.argsort(-flat[cells], kind="stable")]
    _integrate(flat, along_time.ravel(), along_frequency.ravel(), frames, order, todo, values)
    return values.reshape(phase.shape).astype(np.float32)
