"""Levels of mono audio: root mean square, scaling, silence at the ends, loudness. numpy only."""

import numpy as np

MIN_LOUDNESS_LUFS = -70.0  # the absolute gate of ITU-R BS.1770: what is quieter counts as silence
LOUDNESS_BLOCK_S = 0.4  # BS.1770's block: shorter audio has no gated loudness


def rms(x: np.ndarray) -> float:
    """Root mean square of all samples, full scale 1; 0 for no samples."""
    x = np.asarray(x)
    return float(np.sqrt(np.mean(np.square(x, dtype=np.float64)))) if x.size else 0.0


def scale_to_rms(x: np.ndarray, rms: float, peak: float = 0.99) -> tuple[np.ndarray, float]:
    """Scale audio (N,) to a root mean square, but never above ``peak``.

    Returns the scaled audio (float32) and the gain in dB. Silence comes back as it is, with 0 dB.
    """
    x = np.asarray(x, dtype=np.float32)
    level = float(np.sqrt(np.mean(np.square(x, dtype=np.float64)))) if x.size else 0.0
    if level == 0.0:
        return x.copy(), 0.0
    gain = min(rms / level, peak / float(np.abs(x).max()))
    return np.clip(x * np.float32(gain), -peak, peak), 20.0 * float(
        np.log10(gain)
    )  # the clip takes off rounding only


def trim_bounds(x: np.ndarray, sample_rate: int, trim_db: float) -> tuple[int, int]:
    """Bounds (start, stop) in samples of what is left when quiet ends are cut.

    Quiet is below the peak by more than ``trim_db`` dB. The bounds lie on blocks of 10 ms, and one block more
    is kept on each side, so that attacks stay whole. Silence throughout gives (0, 0).
    """
    x = np.abs(np.asarray(x))
    peak = float(x.max()) if x.size else 0.0
    if peak == 0.0:
        return 0, 0
    loud = np.flatnonzero(x >= peak * 10.0 ** (-abs(trim_db) / 20.0))
    block = max(1, round(0.01 * sample_rate))
    start = max(0, loud[0] // block - 1) * block
    stop = min(len(x), (loud[-1] // block + 2) * block)
    return int(start), int(stop)


def loudness_lufs(x: np.ndarray, sample_rate: int) -> float:
    """Integrated loudness (ITU-R BS.1770-4, pyloudnorm) of mono audio (N,) in LUFS, never below -70.

    Audio under 0.4 s has no gated block: its level is taken from the root mean square without K-weighting.
    """
    x = np.asarray(x, dtype=np.float64)
    if len(x) >= LOUDNESS_BLOCK_S * sample_rate:
        import pyloudnorm

        with np.errstate(divide="ignore"):  # silence: the logarithm of 0 is handled below
            loudness = float(pyloudnorm.Meter(sample_rate).integrated_loudness(x))
    else:
        level = rms(x)
        loudness = -0.691 + 20.0 * float(np.log10(level)) if level > 0 else MIN_LOUDNESS_LUFS
    return max(loudness, MIN_LOUDNESS_LUFS) if np.isfinite(loudness) else MIN_LOUDNESS_LUFS
