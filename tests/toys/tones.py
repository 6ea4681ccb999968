"""Harmonic notes."""

import numpy as np

from retimbre.audio.features import FeatureConfig

RATE = 8000  # Hz, of what must be quick
CONFIG = FeatureConfig(RATE, 128, "retimbre", 65.4, 60, 12, 512, 40, 60.0)


def tone(hz: float, seconds: float, slope: float, decay: float = 0.0) -> np.ndarray:
    """(N,) float32 at ``RATE``: the n-th partial has amplitude n^-slope, all fall by exp(-decay t)."""
    t = np.arange(int(seconds * RATE)) / RATE
    wave = sum(n**-slope * np.sin(2 * np.pi * n * hz * t + n) for n in range(1, int(0.45 * RATE / hz) + 1))
    return (0.3 * wave / np.abs(wave).max() * np.exp(-decay * t)).astype(np.float32)
