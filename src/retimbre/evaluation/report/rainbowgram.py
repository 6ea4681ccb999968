"""Rainbowgrams: constant-Q level as brightness, instantaneous frequency as hue (Engel et al. 2017, NSynth).

The phase of every bin is unwrapped along time and differentiated: a steady partial keeps one hue, vibrato and
beating change it, noise and badly reconstructed phase are confetti. The advance per frame, divided by pi,
lies in [-1, 1] and is an angle, so the hues form a circle; all are equally light (OKLCH), so that brightness
is level alone. Hues say nothing about which frequency it is: compare how steady they are.

Conventions: hop 256 samples and 40 bins per octave over six octaves from C2 (65.4 Hz), less where the sample
rate does not reach; 70 dB. Kernels have the full length of :class:`retimbre.audio.cqt.ConstantQ`; the
original's are a fifth shorter.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch

from retimbre.audio.cqt import ConstantQ, quality_factor
from retimbre.evaluation.report.media import palette_png

HOP, BINS_PER_OCTAVE, OCTAVES, LOWEST_HZ, RANGE_DB = 256, 40, 6, 65.4064, 70.0
HUES, STEPS = 28, 9  # of the palette: 1 + 28 * 9 = 253 colours
LIGHTNESS, CHROMA = 0.80, 0.125  # of all hues, OKLCH
COLUMNS = 260  # at most, of a picture
OKLAB_TO_CONES = np.array(
    [[0.3963377774, 0.2158037573], [-0.1055613458, -0.0638541728], [-0.0894841775, -1.2914855480]]
)
CONES_TO_RGB = np.array(
    [
        [4.0767416621, -3.3077115913, 0.2309699292],
        [-1.2684380046, 2.6097574011, -0.3413193965],
        [-0.0041960863, -0.7034186147, 1.7076147010],
    ]
)


@dataclass(frozen=True)
class Rainbowgram:
    """``level_db`` (F, T), and ``advance`` (F, T): the phase's change in a frame, in units of pi, -1 to 1."""

    level_db: np.ndarray
    advance: np.ndarray


@lru_cache(maxsize=4)
def transform(sample_rate: int) -> ConstantQ:
    """The constant-Q transform of a rainbowgram at this rate."""
    highest = sample_rate / 2 / (1 + 0.75 / quality_factor(BINS_PER_OCTAVE))
    bins = min(OCTAVES * BINS_PER_OCTAVE, math.floor(BINS_PER_OCTAVE * math.log2(highest / LOWEST_HZ)))
    return ConstantQ(sample_rate, HOP, LOWEST_HZ, bins, BINS_PER_OCTAVE)


@torch.no_grad()
def rainbowgram(audio: np.ndarray, sample_rate: int) -> Rainbowgram:
    """Mono audio (N,) with N > 0 -> its rainbowgram."""
    x = torch.from_numpy(np.ascontiguousarray(audio, np.float32))
    spectrum = transform(sample_rate)(x[None])[0].numpy()
    phase = np.unwrap(np.angle(spectrum), axis=-1)
    advance = np.diff(phase, axis=-1, prepend=phase[:, :1]) / np.pi
    return Rainbowgram(20 * np.log10(np.maximum(np.abs(spectrum), 1e-6)), advance.clip(-1, 1))


def hue_circle(count: int) -> np.ndarray:
    """(count, 3) colours in 0..1 around the hue circle at one lightness (OKLCH, Ottosson 2020)."""
    angle = 2 * np.pi * np.arange(count) / count
    a, b = CHROMA * np.cos(angle), CHROMA * np.sin(angle)
    cone = LIGHTNESS + OKLAB_TO_CONES @ np.stack([a, b])
    linear = np.clip(CONES_TO_RGB @ cone**3, 0, 1).T
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def colours(picture: Rainbowgram, top_db: float) -> np.ndarray:
    """(F, T, 3) colours in 0..1; black is :data:`RANGE_DB` below ``top_db`` and under."""
    level = ((picture.level_db - top_db) / RANGE_DB + 1).clip(0, 1)
    return hue_circle(256)[_turn(picture.advance, 256)] * level[..., None]


def rainbow_png(picture: Rainbowgram, top_db: float) -> bytes:
    """A small PNG of F rows and at most 260 columns; of neighbouring frames the loudest is shown."""
    width = max(1, -(-picture.level_db.shape[1] // COLUMNS))
    pad = ((0, 0), (0, -picture.level_db.shape[1] % width))
    padded = (np.pad(x, pad, mode="edge") for x in (picture.level_db, picture.advance))
    level, advance = (x.reshape(len(x), -1, width) for x in padded)
    loudest = level.argmax(axis=2)[..., None]
    level, advance = (np.take_along_axis(x, loudest, axis=2)[..., 0] for x in (level, advance))
    step = (((level - top_db) / RANGE_DB + 1).clip(0, 1) * STEPS).round().astype(int)
    hue = _turn(advance, HUES)
    palette = np.concatenate([np.zeros((1, 3)), *(hue_circle(HUES) * s / STEPS for s in range(1, STEPS + 1))])
    return palette_png(np.where(step == 0, 0, 1 + (step - 1) * HUES + hue), (255 * palette).round())


def _turn(advance: np.ndarray, hues: int) -> np.ndarray:
    """The number of the hue, 0 to hues - 1, of an advance in [-1, 1]; both ends are the same hue."""
    return (np.round((advance + 1) / 2 * hues) % hues).astype(int)
