"""Integrated loudness and true peak of audio that arrives in blocks (ITU-R BS.1770-4, mono).

K-weighting by the filters of pyloudnorm; only one number per 100 ms is kept, so that an hour costs
36,000 numbers. Clips shorter than one gating block (400 ms) are measured as one block.
"""

from collections.abc import Iterable, Iterator

import numpy as np

from retimbre.audio.resampling import resample_blocks

ABSOLUTE_GATE_LUFS = -70.0
RELATIVE_GATE_LU = -10.0
OVERSAMPLING = 4


def true_peak(blocks: Iterable[np.ndarray]) -> float:
    """Largest magnitude of blocks (N,) or (N, channels) and between their samples (four times as many)."""
    peak = 0.0

    def seen() -> Iterator[np.ndarray]:
        nonlocal peak
        for block in blocks:
            peak = max(peak, float(np.abs(block).max(initial=0)))
            yield block

    for block in resample_blocks(seen(), 1, OVERSAMPLING):
        peak = max(peak, float(np.abs(block).max(initial=0)))
    return peak


class LoudnessMeter:
    """Feed mono blocks (N,) to ``update``; ``lufs`` is the loudness so far."""

    def __init__(self, sample_rate: int):
        import pyloudnorm  # this and scipy take half a second to import: after a bar is shown

        self.step = round(0.1 * sample_rate)  # samples; a gating block is 4 steps, and starts at every one
        filters = pyloudnorm.Meter(sample_rate)._filters.values()
        self.filters = [(f.b, f.a) for f in filters]
        self.states = [np.zeros(max(len(b), len(a)) - 1) for b, a in self.filters]
        self.energies: list[float] = []
        self.rest = np.zeros(0)

    def update(self, block: np.ndarray) -> None:
        from scipy.signal import lfilter

        y = np.asarray(block, np.float64)
        for i, (b, a) in enumerate(self.filters):
            y, self.states[i] = lfilter(b, a, y, zi=self.states[i])
        y = np.concatenate([self.rest, y])
        whole = len(y) // self.step * self.step
        self.energies.extend(np.square(y[:whole]).reshape(-1, self.step).sum(1))
        self.rest = y[whole:]

    def lufs(self, gain: float = 1.0) -> float:
        """Loudness in LUFS, of the audio times ``gain``; -inf for silence."""
        steps = gain**2 * np.asarray(self.energies)
        if len(steps) < 4:
            samples = len(steps) * self.step + len(self.rest)
            power = np.array([(steps.sum() + gain**2 * np.square(self.rest).sum()) / max(samples, 1)])
        else:
            power = (steps[:-3] + steps[1:-2] + steps[2:-1] + steps[3:]) / (4 * self.step)
        with np.errstate(divide="ignore"):
            loudness = -0.691 + 10 * np.log10(power)
            if len(steps) < 4:
                return float(loudness[0])
            kept = power[loudness >= ABSOLUTE_GATE_LUFS]
            if len(kept) == 0:
                return float("-inf")
            kept = kept[10 * np.log10(kept) >= 10 * np.log10(kept.mean()) + RELATIVE_GATE_LU]
            return float(-0.691 + 10 * np.log10(kept.mean()))
