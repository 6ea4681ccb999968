"""Gabor transform with a Gaussian window, and phase from its magnitude by heap integration (PGHI).

The window is exp(-pi t^2 / (hop * channels)), as long around every frame as around every channel; it reaches
over 4 * channels samples. The hop divides the number of channels. Time is a circle: N samples, a multiple of
the hop, have N / hop frames, frame t centred on sample t * hop. Phases count from the frame's centre. Audio
is real, so that channels / 2 + 1 channels say all.

With this window log magnitude and phase are parts of one analytic function: either one's derivatives are the
other's (Cauchy and Riemann). In the units below, channels and hops, and with log magnitude s:

- instantaneous frequency minus the channel's: channels / (2 pi hop) ds/dchannel, in channels;
- group delay minus the frame's time: channels / (2 pi hop) ds/dframe, in hops.

Prusa, Balazs and Sondergaard, "A noniterative method for reconstruction of phase from STFT magnitude", 2017;
Marafioti et al., "Adversarial generation of time-frequency features" (TiFGAN), 2019, whose lattice is the
default.
"""

import heapq
from functools import lru_cache

import numpy as np
import torch
from numba import njit
from torch import Tensor

from retimbre.audio.spectral import random_phase

HOP, CHANNELS = 128, 512
FLOOR = -10.0  # nats below a clip's largest magnitude
TOLERANCE = 10.0  # nats below the largest magnitude, where phase is not integrated but random
_WINDOW, _DUAL = 4, 8  # widths in channels: of the window, and of the dual, that falls more slowly
_TINY = 1e-30


def analyse(audio: Tensor, hop: int = HOP, channels: int = CHANNELS) -> Tensor:
    """Audio (B, N) -> complex (B, channels / 2 + 1, N / hop). N: at least 4 * channels.

    Raises ValueError for other lengths.
    """
    return _products(audio, _window(hop, channels), hop, channels)


def synthesise(coefficients: Tensor, hop: int = HOP, channels: int = CHANNELS) -> Tensor:
    """Audio (B, N) of complex (B, channels / 2 + 1, N / hop): with the dual window, exact for a transform
    of such audio, and the least-squares inverse of others.
    """
    frames = channels * torch.fft.irfft(coefficients.transpose(1, 2), channels)  # (B, T, M)
    window = torch.from_numpy(_dual(hop, channels)).to(frames)
    frames = frames.repeat(1, 1, _DUAL) * window
    length = coefficients.shape[-1] * hop
    starts = hop * torch.arange(coefficients.shape[-1], device=frames.device)
    offsets = torch.arange(len(window), device=frames.device) - len(window) // 2
    places = (starts[:, None] + offsets) % length
    return frames.new_zeros(len(frames), length).index_add(1, places.flatten(), frames.flatten(1))


def log_magnitude(audio: Tensor, hop: int = HOP, channels: int = CHANNELS) -> Tensor:
    """Audio (B, N) -> log magnitude (B, channels / 2, N / hop) in nats below the clip's largest, from -10 to
    0. The highest channel is left out. Silence is at the floor.
    """
    magnitude = analyse(audio, hop, channels)[:, :-1].abs()
    level = magnitude.clamp_min(_TINY).log() - magnitude.amax((1, 2), keepdim=True).clamp_min(_TINY).log()
    return level.clamp_min(FLOOR).masked_fill(magnitude == 0, FLOOR)


def derivatives(audio: Tensor, hop: int = HOP, channels: int = CHANNELS) -> Tensor:
    """Derivatives of the phase (B, 2, channels / 2, N / hop), from audio (B, N) and not from its magnitude.

    The first is the instantaneous frequency minus the channel's, in channels; the second the group delay
    minus the frame's time, in hops. TiFGAN clips both at 2 (64 periods in 16,384 samples; 256 samples).
    """
    plain = analyse(audio, hop, channels)[:, :-1]
    weighted = _products(audio, _window(hop, channels, times_t=True), hop, channels)[:, :-1]
    ratio = weighted * plain.conj() / (plain.abs() ** 2).clamp_min(_TINY) / hop
    return torch.stack([ratio.imag, ratio.real], 1)


def derivatives_of(level: Tensor, hop: int = HOP, channels: int = CHANNELS) -> Tensor:
    """Derivatives of the phase as ``derivatives`` has them, of log magnitude (B, F, T) by central
    differences; channels go on as they end, frames go round.
    """
    by_channel = torch.cat([level[:, :1], level, level[:, -1:]], 1)
    by_channel = (by_channel[:, 2:] - by_channel[:, :-2]) / 2
    by_frame = (level.roll(-1, 2) - level.roll(1, 2)) / 2
    return torch.stack([by_channel, by_frame], 1) * channels / (2 * torch.pi * hop)


def pghi(
    level: Tensor,
    slopes: Tensor,
    start: Tensor,
    hop: int = HOP,
    channels: int = CHANNELS,
    tolerance: float = TOLERANCE,
) -> Tensor:
    """Phase (B, F, T) in radians of log magnitude (B, F, T), by integration of the derivatives ``slopes``
    (B, 2, F, T) from the largest values on; ``start`` (B, F, T) where the magnitude lies ``tolerance`` and
    more below its largest.
    """
    step = 2 * torch.pi * hop / channels
    by_frame = step * (slopes[:, 0] + torch.arange(level.shape[1], device=level.device)[:, None])
    by_channel = -step * slopes[:, 1]
    phases = start.detach().cpu().double().numpy().copy()
    parts = (x.detach().cpu().double().numpy() for x in (level, by_frame, by_channel))
    for s, frame_slope, channel_slope, phase in zip(*parts, phases, strict=True):
        _integrate(s, frame_slope, channel_slope, phase, s.max() - tolerance)
    return torch.from_numpy(phases).to(level)


def phase_of(
    level: Tensor,
    slopes: Tensor | None = None,
    generator: torch.Generator | None = None,
    hop: int = HOP,
    channels: int = CHANNELS,
) -> Tensor:
    """Phase (B, F, T) by ``pghi``, uniform noise below the tolerance. ``slopes``: as ``derivatives`` returns
    them; default: those of the magnitude.
    """
    slopes = derivatives_of(level, hop, channels) if slopes is None else slopes
    return pghi(level, slopes, random_phase(level, generator), hop, channels)


def invert(
    level: Tensor,
    slopes: Tensor | None = None,
    generator: torch.Generator | None = None,
    hop: int = HOP,
    channels: int = CHANNELS,
) -> Tensor:
    """Audio (B, N) of log magnitude (B, channels / 2, N / hop), with a phase from ``phase_of``; the peak
    of each clip is 1, since its magnitude was relative.
    """
    audio = _audio(level, phase_of(level, slopes, generator, hop, channels), hop, channels)
    return audio / audio.abs().amax(1, keepdim=True).clamp_min(_TINY)


def consistency(level: Tensor, hop: int = HOP, channels: int = CHANNELS) -> Tensor:
    """Correlation (B,) of the bends of log magnitude (B, F, T) in time and in frequency: TiFGAN's measure.

    With the window's constant added to each, pi * hop / channels, the two second derivatives of a transform
    of audio cancel, so that their sizes agree. Differences between neighbours are only near to derivatives:
    white noise has 0.76 on the default lattice and more on a finer one. Higher is more consistent.
    """
    inner = level[:, 1:-1, 1:-1]
    by_frame = level[:, 1:-1, 2:] + level[:, 1:-1, :-2] - 2 * inner
    by_channel = level[:, 2:, 1:-1] + level[:, :-2, 1:-1] - 2 * inner
    bends = [(x + torch.pi * hop / channels).abs().flatten(1) for x in (by_frame, by_channel)]
    a, b = (x - x.mean(1, keepdim=True) for x in bends)
    return (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1)).clamp_min(_TINY)


def _audio(level: Tensor, phase: Tensor, hop: int, channels: int) -> Tensor:
    coefficients = torch.nn.functional.pad(torch.polar(level.exp(), phase), (0, 0, 0, 1))
    return synthesise(coefficients, hop, channels)


def _products(audio: Tensor, window: np.ndarray, hop: int, channels: int) -> Tensor:
    if audio.shape[-1] % hop or audio.shape[-1] < len(window):
        needed = f"a multiple of {hop} samples, {len(window)} and more"
        raise ValueError(f"the Gabor transform needs {needed}, not {audio.shape[-1]}")
    half = len(window) // 2
    around = torch.cat([audio[:, -half:], audio, audio[:, :half]], 1)
    frames = around.unfold(1, len(window), hop)[:, : audio.shape[-1] // hop]
    frames = frames * torch.from_numpy(window).to(audio)
    # Samples that are `channels` apart meet the same phases of all channels.
    folded = frames.reshape(*frames.shape[:2], -1, channels).sum(2)
    return torch.fft.rfft(folded).transpose(1, 2)


@lru_cache(maxsize=8)
def _window(hop: int, channels: int, times_t: bool = False) -> np.ndarray:
    t = np.arange(_WINDOW * channels) - _WINDOW * channels // 2
    window = np.exp(-np.pi * t**2 / (hop * channels))
    return window * t if times_t else window


@lru_cache(maxsize=8)
def _dual(hop: int, channels: int) -> np.ndarray:
    """Canonical dual window, on a circle long enough for it to fall below float32's precision.

    The frame operator ties samples that are ``channels`` apart: one small system for each of ``channels``.
    """
    size = _DUAL * channels
    window = np.zeros(size)
    window[: _WINDOW * channels] = _window(hop, channels)
    window = np.roll(window, -_WINDOW * channels // 2)  # centred on sample 0
    shifted = np.stack([np.roll(window, hop * n) for n in range(size // hop)])
    shifted = shifted.reshape(len(shifted), _DUAL, channels).transpose(2, 1, 0)  # (M, 8, T)
    operator = channels * shifted @ shifted.transpose(0, 2, 1)
    dual = np.linalg.solve(operator, window.reshape(_DUAL, channels).T[..., None])[..., 0].T
    return np.roll(dual.reshape(-1), size // 2)


@njit(cache=True)
def _integrate(
    level: np.ndarray, by_frame: np.ndarray, by_channel: np.ndarray, phase: np.ndarray, least: float
) -> None:
    """Fill ``phase`` (F, T) where ``level`` is above ``least``: by the trapezoid rule between neighbours,
    always from the largest value whose neighbours are not all known. What is not connected to it starts
    anew, with phase 0.
    """
    rows, columns = level.shape
    known = level <= least
    for place in np.argsort(-level.ravel()):
        if known[place // columns, place % columns]:
            continue
        heap = [(-level[place // columns, place % columns], place // columns, place % columns)]
        known[place // columns, place % columns] = True
        phase[place // columns, place % columns] = 0.0
        while heap:
            _, row, column = heapq.heappop(heap)
            for side in range(4):
                r = row + (side == 0) - (side == 1)
                c = (column + (side == 2) - (side == 3)) % columns
                if r < 0 or r >= rows or known[r, c]:
                    continue
                if side < 2:
                    step = (r - row) * (by_channel[row, column] + by_channel[r, c]) / 2
                else:
                    step = (1 if side == 2 else -1) * (by_frame[row, column] + by_frame[r, c]) / 2
                phase[r, c] = phase[row, column] + step
                known[r, c] = True
                heapq.heappush(heap, (-level[r, c], r, c))
