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
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch

from retimbre.audio.cqt import ConstantQ, quality_factor
from retimbre.evaluation.report.media import COLUMNS, Medium, webp

HOP, BINS_PER_OCTAVE, OCTAVES, LOWEST_HZ, RANGE_DB = 256, 40, 6, 65.4064, 70.0
HUES = 256
LIGHTNESS, CHROMA = 0.80, 0.125  # of all hues, OKLCH
NEIGHBOURS = 2  # bins that are one row of a picture
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


def octave_ticks(first: float, octaves: float) -> list[tuple[float, str]]:
    """Every C on an axis of so many octaves that starts in octave ``first`` (4.0 is C4)."""
    shown = range(math.ceil(first - 1e-6), math.ceil(first + octaves - 1e-6))
    return [((o - first) / octaves, f"C{o}") for o in shown]


def ticks(sample_rate: int) -> list[tuple[float, str]]:
    """Every C on the axis of a rainbowgram at this rate: share of the height, and label."""
    return octave_ticks(2, transform(sample_rate).n_bins / BINS_PER_OCTAVE)


def shared_top_db(pictures: Iterable[Rainbowgram]) -> float:
    """Top of one scale for several pictures.

    A few bins of one loud onset must not darken everything: what is above the top is as bright as it.
    """
    return max(float(np.percentile(picture.level_db, 99.7)) for picture in pictures)


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
    hue = np.round((picture.advance + 1) / 2 * HUES).astype(int) % HUES  # both ends are one hue
    return hue_circle(HUES)[hue] * level[..., None]


def rainbow_picture(picture: Rainbowgram, top_db: float, most: int = COLUMNS) -> Medium:
    """A small picture: of neighbouring bins and frames the loudest is shown, in at most ``most`` columns."""
    level, advance = picture.level_db, picture.advance
    rows, columns = NEIGHBOURS, max(1, -(-level.shape[1] // most))
    pad = ((0, -len(level) % rows), (0, -level.shape[1] % columns))

    def blocks(x: np.ndarray) -> np.ndarray:
        """(F, T) -> (F / rows, T / columns, rows x columns)."""
        x = np.pad(x, pad, mode="edge")
        x = x.reshape(len(x) // rows, rows, -1, columns).swapaxes(1, 2)
        return x.reshape(*x.shape[:2], -1)

    level, advance = blocks(level), blocks(advance)
    loudest = level.argmax(axis=2)[..., None]
    level, advance = (np.take_along_axis(x, loudest, axis=2)[..., 0] for x in (level, advance))
    return webp((255 * colours(Rainbowgram(level, advance), top_db)).round().astype(np.uint8))
