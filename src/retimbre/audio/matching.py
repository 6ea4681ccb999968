"""Sounds at one loudness, so that level does not decide which is liked."""

from collections.abc import Mapping

import numpy as np

from retimbre.audio.levels import MIN_LOUDNESS_LUFS, loudness_lufs


def equally_loud(
    sounds: Mapping[str, np.ndarray], sample_rate: int, lufs: float, peak: float
) -> dict[str, np.ndarray]:
    """Sounds, (N,) or (N, C), scaled to a loudness in LUFS (ITU-R BS.1770), float64; silence stays silent.

    Where one of them would pass ``peak`` (of its samples, full scale 1), all are made quieter together.
    """
    scaled = {}
    for name, x in sounds.items():
        found = loudness_lufs(x, sample_rate)
        scaled[name] = x * 10 ** ((lufs - found) / 20) if found > MIN_LOUDNESS_LUFS else x
    highest = max(float(np.abs(x).max(initial=0)) for x in scaled.values())
    return {name: x * peak / max(highest, peak) for name, x in scaled.items()}
