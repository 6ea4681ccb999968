"""Scattering of the constant-Q scalogram: wavelets along time, along log-frequency, and across octaves.

Three orders of what is looked at together (Andén, Lostanlen and Mallat, 2014 and 2015): the course of every
bin in time; its course jointly with that along log-frequency; both and the one from octave to octave, the
spiral. Moduli are averaged over the window's time, so the result does not depend on where in it things are.

Filters are Gaussians on a logarithmic axis, divided so that their squared spectra and the low-pass's sum to 1
at every frequency: no energy is lost (a tight frame).
"""

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from retimbre.classifiers.bench.windows import OCTAVES, PER_OCTAVE, scalogram

TIME_RATES = 5  # wavelets along time, an octave apart, down from a quarter of the frame rate
BIN_RATES = 3  # along log-frequency, in both directions
OCTAVE_RATES = 1  # across octaves, in both directions
WIDTH = 0.75  # standard deviation in octaves
LOG_EPS = 1e-3  # of a window's mean coefficient: what is far below it counts as equal


@lru_cache(maxsize=16)
def bank(size: int, rates: int) -> Tensor:
    """Spectra of filters of ``size`` points: (1 + 2 * rates, size), real.

    Row 0 is the low-pass; then ``rates`` wavelets of positive frequencies, the fastest at a quarter of the
    sampling rate and the others each an octave below, then their mirror images. At every frequency the
    squares of all rows sum to 1.
    """
    f = np.fft.fftfreq(size)
    distance = np.log2(np.maximum(np.abs(f), 0.25 / size) / 0.25)
    rows = np.stack([np.exp(-0.5 * ((distance + n) / WIDTH) ** 2) for n in range(rates)])
    rows[0] = np.where(np.abs(f) >= 0.25, 1.0, rows[0])  # the fastest takes all that is above
    low = np.exp(-0.5 * np.square(f / (0.25 * 2.0 ** (-rates))))[None]
    rows[:, f == 0] = 0.0
    ahead, behind = rows * (f > 0), rows * (f < 0)
    edge = np.abs(f) == 0.5  # of an even size: its own mirror image
    ahead[:, edge] = behind[:, edge] = rows[:, edge] / np.sqrt(2)
    every = np.concatenate([low, ahead, behind])
    return torch.from_numpy(every / np.sqrt(np.square(every).sum(0))).float()


def time_scattering(x: Tensor) -> tuple[Tensor, Tensor]:
    """First and second order of positive (B, F, T): means over time (B, F) and (B, F, TIME_RATES)."""
    return x.mean(2), _moduli(x).mean(3).transpose(1, 2)


def _moduli(x: Tensor) -> Tensor:
    """Moduli of the wavelets along time: (B, ..., T) -> (B, TIME_RATES, ..., T)."""
    return _along_time(x).abs()


def _along_time(x: Tensor) -> Tensor:
    """Complex wavelets of positive frequencies along time; x is real, so the negative ones are the same."""
    size = x.shape[-1]
    filters = bank(size, TIME_RATES)[1 : 1 + TIME_RATES]
    shape = (1, TIME_RATES, *[1] * (x.ndim - 2), size)
    return torch.fft.ifft(torch.fft.fft(x)[:, None] * filters.reshape(shape))


def _along(x: Tensor, axis: int, rates: int) -> Tensor:
    """All filters along an axis of complex (B, ...), stacked: (B, 1 + 2 * rates, ...)."""
    axis = axis % x.ndim
    filters = bank(x.shape[axis], rates)
    shape = [1] * x.ndim
    shape[axis] = x.shape[axis]
    spectrum = torch.fft.fft(x, dim=axis)
    return torch.stack([torch.fft.ifft(spectrum * f.reshape(shape), dim=axis) for f in filters], dim=1)


def joint_scattering(x: Tensor) -> Tensor:
    """Joint time and log-frequency scattering of (B, F, T): (B, TIME_RATES, 1 + 2 * BIN_RATES, F), means over
    time."""
    return _along(_along_time(x), -2, BIN_RATES).abs().mean(-1).transpose(1, 2)


def spiral_scattering(x: Tensor) -> Tensor:
    """Spiral scattering of (B, F, T), F = octaves * 12: wavelets along time, along log-frequency and, at the
    same pitch class, from octave to octave: (B, 1 + 2 * OCTAVE_RATES, 1 + 2 * BIN_RATES, TIME_RATES, F).
    """
    y = _along(_along_time(x), -2, BIN_RATES)
    y = y.unflatten(-2, (-1, PER_OCTAVE))  # (B, bins' rates, time's, octaves, classes, T)
    return _along(y, -3, OCTAVE_RATES).abs().mean(-1).flatten(-2)


def mirrored(audio: np.ndarray) -> Tensor:
    """The scalogram and its mirror image in time, at half the frame rate: no jump where the ends meet."""
    x = torch.from_numpy(scalogram(audio))
    x = x.unflatten(2, (-1, 2)).mean(3)
    return torch.cat([x, x.flip(2)], dim=2)


def _by_octave(x: Tensor) -> Tensor:
    """Means over each octave's bins: (B, ..., F) -> (B, ..., octaves)."""
    return x.unflatten(-1, (OCTAVES, PER_OCTAVE)).mean(-1)


def _levels(*parts: Tensor) -> np.ndarray:
    """Log of the coefficients, side by side: (B, n)."""
    flat = torch.cat([part.flatten(1) for part in parts], dim=1)
    return torch.log(flat + LOG_EPS * flat.mean(dim=1, keepdim=True)).numpy()


@torch.no_grad()
def in_time(audio: np.ndarray) -> np.ndarray:
    """1-d scattering: first and second order of every bin."""
    first, second = time_scattering(mirrored(audio))
    return _levels(first, second)


@torch.no_grad()
def in_time_and_frequency(audio: np.ndarray) -> np.ndarray:
    """2-d scattering: the first order, and the joint one by octave."""
    x = mirrored(audio)
    return _levels(x.mean(2), _by_octave(joint_scattering(x)))


@torch.no_grad()
def on_the_spiral(audio: np.ndarray) -> np.ndarray:
    """Spiral scattering: the first order, and that along all three axes by octave."""
    parts = [mirrored(audio[i : i + 8]) for i in range(0, len(audio), 8)]  # eight take 0.2 GB
    return np.concatenate([_levels(x.mean(2), _by_octave(spiral_scattering(x))) for x in parts])
