"""Levels of audio: root mean square, of what sounds or of a band, scaling, silent ends, loudness."""

import numpy as np

MIN_LOUDNESS_LUFS = -70.0  # the absolute gate of ITU-R BS.1770: what is quieter counts as silence
LOUDNESS_BLOCK_S = 0.4  # BS.1770's block: shorter audio has no gated loudness
GATE_BLOCK_S = 0.1
GATE_DB = -30.0  # below the mean: blocks that are quieter do not sound
PEAK = 0.99  # full scale 1
PAUSES_DB = 0.5  # by which pauses may lower a level before they are left out of it


def rms(x: np.ndarray) -> float:
    """Root mean square of all samples, full scale 1; 0 for no samples."""
    x = np.asarray(x)
    return float(np.sqrt(np.mean(np.square(x, dtype=np.float64)))) if x.size else 0.0


class SoundingLevel:
    """Level of what sounds in mono audio that arrives in blocks (N,): feed ``update``, read ``rms``.

    It is the root mean square, without the blocks of 0.1 s that lie 30 dB below it where these, pauses,
    would lower it by more than 0.5 dB: ordinary rests leave it exactly what the plain root mean square is.
    """

    def __init__(self, sample_rate: int):
        self.step = max(1, round(GATE_BLOCK_S * sample_rate))
        self.square, self.samples = 0.0, 0
        self.energies: list[float] = []
        self.rest = np.zeros(0, np.float32)

    def update(self, block: np.ndarray) -> None:
        self.square += float(np.square(block, dtype=np.float64).sum())
        self.samples += len(block)
        x = np.concatenate([self.rest, block])
        whole = len(x) // self.step * self.step
        self.energies += np.square(x[:whole], dtype=np.float64).reshape(-1, self.step).sum(1).tolist()
        self.rest = x[whole:]

    @property
    def rms(self) -> float:
        plain = self.square / max(self.samples, 1)
        powers = np.asarray(self.energies) / self.step
        sounding = powers[powers >= plain * 10 ** (GATE_DB / 10)]
        gated = float(sounding.mean()) if len(sounding) else 0.0
        return float(np.sqrt(gated if gated > plain * 10 ** (PAUSES_DB / 10) else plain))


class BandPower:
    """Mean square, full scale 1, of what mono audio has between two frequencies: feed blocks (N,) to
    ``update``, read ``power``.
    """

    def __init__(self, sample_rate: int, lowest_hz: float, highest_hz: float):
        self.sample_rate, self.lowest_hz, self.highest_hz = sample_rate, lowest_hz, highest_hz
        self.square, self.samples = 0.0, 0

    def update(self, block: np.ndarray) -> None:
        if not len(block):
            return
        frequencies = np.fft.rfftfreq(len(block), 1 / self.sample_rate)
        inside = (frequencies >= self.lowest_hz) & (frequencies <= self.highest_hz)
        X = np.fft.rfft(np.asarray(block, np.float64))[inside]
        self.square += 2 * float(np.sum(X.real**2 + X.imag**2)) / len(block)
        self.samples += len(block)

    @property
    def power(self) -> float:
        return self.square / max(self.samples, 1)


def scale_to_rms(x: np.ndarray, rms: float, sample_rate: int) -> tuple[np.ndarray, float]:
    """Scale audio (N,) so that what sounds in it has a root mean square, but never above ``PEAK``.

    Returns the scaled audio (float32) and the gain in dB. Silence comes back as it is, with 0 dB.
    """
    x = np.asarray(x, dtype=np.float32)
    level = SoundingLevel(sample_rate)
    level.update(x)
    if level.rms == 0.0:
        return x.copy(), 0.0
    gain = min(rms / level.rms, PEAK / float(np.abs(x).max()))
    gain_db = 20.0 * float(np.log10(gain))
    return np.clip(x * np.float32(gain), -PEAK, PEAK), gain_db  # the clip takes off rounding only


def trim_bounds(x: np.ndarray, sample_rate: int, trim_db: float) -> tuple[int, int]:
    """Bounds (start, stop) in samples of what is left when quiet ends are cut.

    Quiet is below the peak by more than ``trim_db`` dB. The bounds lie on blocks of 10 ms, and one block
    more is kept on each side, so that attacks stay whole. Silence throughout gives (0, 0).
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
    """Integrated loudness (ITU-R BS.1770-4, pyloudnorm) in LUFS, never below -70, of audio (N,) or (N, C).

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
