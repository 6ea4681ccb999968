"""Phases that follow spectral peaks, for all frames at once.

The same as :func:`.spectral.spsi_phase` and :func:`.low_band.peak_phase`, which go from frame to frame, in
operations of tensors that exported graphs have. A frame's phase at a bin is the phase of the frame before at
the bin's peak, plus a step. So a frame says for each bin where to look in the frame before and what to add;
two frames in a row say the same for the one before both, and 16 doublings join 65,536 frames.

B batch, F frequency bins, T frames.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

DOUBLINGS = 16


def _latest(places: Tensor) -> Tensor:
    """Largest value so far along the last axis, (B, T, F)."""
    span = 1
    while span < places.shape[-1]:
        places = torch.maximum(places, functional.pad(places, (span, -span), value=-1))
        span *= 2
    return places


def _next(mask: Tensor) -> Tensor:
    """First bin from each one up where ``mask`` (B, T, F) holds; F without any."""
    bins = mask.shape[-1]
    backwards = torch.arange(bins - 1, -1, -1)
    return bins - 1 - _latest(torch.where(mask, backwards, -1).flip(-1)).flip(-1)


def _peaks(level: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Peak (B, T, F) whose region each bin of ``level`` is in, of those in ``mask``, and the last bin before
    the level changes. A region ends at the lowest bin, the first of equals, before the next peak: from there
    levels only rise. Without peaks every bin is its own.
    """
    bins = level.shape[-1]
    before = _latest(torch.where(mask, torch.arange(bins), -1))
    after = _next(mask)
    slope = functional.pad(level.diff(dim=-1), (0, 1))  # (B, T, F)
    change = _next(slope != 0).clamp(max=bins - 1)
    rises = (slope.gather(-1, change) > 0) & ~mask
    upper = (after < bins) & (rises | (before < 0))
    own = torch.where(before < 0, torch.arange(bins), before)
    return torch.where(upper, after, own), change


def _followed(origin: Tensor, step: Tensor) -> Tensor:
    """Phases (B, T, F) in 0 ... 2 pi, float32: the one before at ``origin``, plus ``step``; first ones 0."""
    frames = torch.arange(step.shape[1])
    for doubling in range(DOUBLINGS):
        at = frames - 2**doubling
        known, at = (at >= 0)[:, None], at.clamp(min=0)
        step = step + torch.where(known, step[:, at].gather(-1, origin), 0.0)
        origin = torch.where(known, origin[:, at].gather(-1, origin), origin)
    return (step - 2 * math.pi * torch.floor(step / (2 * math.pi))).float()


def _is_peak(level: Tensor) -> Tensor:
    """Bins (B, T, F) above the one below and not below the one above; ends of the spectrum count as such."""
    padded = functional.pad(level, (1, 1), value=-math.inf)
    return (level > padded[..., :-2]) & (level >= padded[..., 2:])


def spsi_phase(magnitude: Tensor, n_fft: int, hop: int) -> Tensor:
    """Phase in radians (B, F, T) for an STFT magnitude (B, F, T): :func:`.spectral.spsi_phase` of each."""
    level = magnitude.mT  # (B, T, F)
    places = torch.arange(level.shape[-1])
    mask = _is_peak(level) & (places > 0) & (places < level.shape[-1] - 1)
    peak, _ = _peaks(level, mask)
    logs = torch.log(level.double() + 1e-9)
    below, above = functional.pad(logs, (1, -1)), functional.pad(logs, (-1, 1))
    curvature = below - 2 * logs + above
    offset = torch.where(curvature < 0, 0.5 * (below - above) / curvature, 0.0)
    advance = 2 * math.pi * hop * (places + offset) / n_fft
    step = advance.gather(-1, peak) + math.pi * ((places - peak) % 2)
    return _followed(peak, torch.where(mask.any(-1, keepdim=True), step, 0.0)).mT


def constant_q_phase(level_db: Tensor, fmin_hz: float, bins_per_octave: int, hop_s: float) -> Tensor:
    """Phase in radians (B, F, T) for constant-Q levels in dB (B, F, T): :func:`.low_band.peak_phase`."""
    level = level_db.mT  # (B, T, F)
    places = torch.arange(level.shape[-1])
    peak, change = _peaks(level, _is_peak(level))
    exact = level.double()
    below, above = functional.pad(exact, (1, -1)), functional.pad(exact, (-1, 1))
    curvature = below - 2 * exact + above
    inside = (places > 0) & (places < level.shape[-1] - 1) & (curvature < 0)
    offset = torch.where(inside, 0.5 * (below - above) / curvature, 0.0)
    clipped = (change - places).double()  # bins above that are as loud
    offset = torch.where(clipped > 0, 0.5 * clipped, offset)
    advance = 2 * math.pi * hop_s * fmin_hz * 2.0 ** ((places + offset) / bins_per_octave)
    return _followed(peak, advance.gather(-1, peak)).mT
