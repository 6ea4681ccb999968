"""One channel that can be heard, out of a recording's: nothing vanishes, and what lies below hearing goes.

An offset or rumble would otherwise set the gain and pass for sound at the ends; channels in opposite phase
would cancel in their mean. Audio that has neither comes out as it is, sample by sample.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

CUT_HZ, WIDTH_HZ, STOP_DB = 17.0, 12.0, 100.0  # what lies below 11 Hz is cut, what lies above 23 Hz stays
EDGE_S = 0.02  # that the level at an end is taken from
LOW_HZ, ORDER = 12.0, 8  # what is measured lies below: notes from A0 (27.5 Hz) up leak into it by -58 dB
LOW_DB = -42.0  # below the audible part: what is quieter moves no gain and stays under audio.trim_db
MEASURING_HZ = 4000  # rate, about, that audio is averaged down to before what lies below hearing is measured
CANCEL_DB = 1.0  # below the mean of channels that have nothing in common (of two: 3 dB below them)


@dataclass(frozen=True)
class Mixdown:
    """The way from blocks (n, C) at ``sample_rate`` to mono; ``weights`` (C,), or None for the mean.

    ``quieter_db``: by how much the mix is quieter than the channels are to a listener (two loudspeakers,
    each with the mix, against all channels); ``level_db`` and ``low_db``: levels of what can be heard in the
    mix and of what lies below, full scale 1.
    """

    sample_rate: int
    count: int  # of channels
    weights: np.ndarray | None
    cut_low: bool
    quieter_db: float
    level_db: float
    low_db: float

    @property
    def shares(self) -> np.ndarray:
        """Weights (C,) of the channels in the mix."""
        return np.full(self.count, 1 / self.count) if self.weights is None else self.weights

    def mono(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Mono float32 blocks (n,) of blocks (n, C)."""
        return self.channels(self._mix(block) for block in blocks)

    def channels(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Float32 blocks (n, C) of blocks (n, C), not mixed."""
        for block in _without_low(blocks, self.sample_rate) if self.cut_low else blocks:
            yield np.ascontiguousarray(block, np.float32)

    def _mix(self, block: np.ndarray) -> np.ndarray:
        if self.weights is not None:
            return block @ self.weights
        return block[:, 0] if block.shape[1] == 1 else block.mean(1, dtype=np.float64)


def _without_low(blocks: Iterable[np.ndarray], sample_rate: int) -> Iterator[np.ndarray]:
    """Blocks (n, ...) without what lies below hearing, in phase (linear-phase filter, delay compensated)."""
    from scipy.signal import fftconvolve, firwin, kaiserord

    taps, beta = kaiserord(STOP_DB, WIDTH_HZ / (sample_rate / 2))
    half = taps // 2
    kernel = -firwin(2 * half + 1, CUT_HZ, window=("kaiser", beta), fs=sample_rate)
    kernel[half] += 1
    held, started = None, False
    for block in blocks:
        held = np.concatenate([*([] if held is None else [held]), block], dtype=np.float64)
        kernel = kernel.reshape(-1, *[1] * (held.ndim - 1))
        if len(held) > 16 * half:  # longer convolutions cost less per sample
            held = held if started else np.concatenate([_before(held, half, sample_rate), held])
            yield fftconvolve(held, kernel, "valid", axes=0)
            held, started = held[-2 * half :], True
    if held is not None and len(held):
        held = held if started else np.concatenate([_before(held, half, sample_rate), held])
        after = _before(held[::-1], half, sample_rate)[::-1]
        yield fftconvolve(np.concatenate([held, after]), kernel, "valid", axes=0)


def _before(x: np.ndarray, count: int, sample_rate: int) -> np.ndarray:
    """``count`` samples that may have come before: what follows, mirrored in time and at its first level.

    So neither an offset nor a slope breaks off.
    """
    level = x[: max(1, round(EDGE_S * sample_rate))].mean(0)
    mirrored = 2 * level - x[:count][::-1]
    return np.pad(mirrored, ((count - len(mirrored), 0), *[(0, 0)] * (x.ndim - 1)), "edge")


class Channels:
    """Feed blocks (n, C) to ``update``; ``mixdown`` says how they become one channel.

    The principal component is taken where the channels cancel in their mean, as in opposite phase: where it
    is quieter than they would be if they had nothing in common, of which a component would drop all but one.
    It is scaled like a mean, so that equal channels come out as one of them.
    """

    def __init__(self, sample_rate: int, channels: int):
        from scipy.signal import butter  # half a second to import, after a bar is shown

        self.sample_rate, self.frames = sample_rate, 0
        self.step = max(1, sample_rate // MEASURING_HZ)
        self.low_pass = butter(ORDER, LOW_HZ, fs=sample_rate / self.step, output="sos")
        self.state: np.ndarray | None = None
        self.rest = np.zeros((0, channels), np.float32)
        self.moments, self.low_moments = np.zeros((2, channels, channels))  # E[x xᵀ], and of what lies low
        self.low_frames = 0

    def update(self, block: np.ndarray) -> None:
        x = np.asarray(block, np.float64)
        if not len(x):
            return
        self.frames += len(x)
        self.moments += x.T @ x
        x = np.concatenate([self.rest, x])
        whole = len(x) // self.step * self.step
        self.rest = x[whole:]
        slow = x[:whole].reshape(-1, self.step, x.shape[1]).mean(1)
        if len(slow):
            from scipy.signal import sosfilt, sosfilt_zi

            if self.state is None:
                self.state = sosfilt_zi(self.low_pass)[:, :, None] * slow.mean(0)
            low, self.state = sosfilt(self.low_pass, slow, axis=0, zi=self.state)
            self.low_moments += low.T @ low
            self.low_frames += len(low)

    def mixdown(self) -> Mixdown:
        channels = len(self.moments)
        low = self.low_moments / max(self.low_frames, 1)
        heard = self.moments / max(self.frames, 1) - low
        mean = np.full(channels, 1 / channels)
        # What a loudspeaker of a pair must play to be as loud as all channels are together.
        loud = max(np.trace(heard), 0.0) / min(channels, 2)
        weights = None
        if mean @ heard @ mean < 10 ** (-CANCEL_DB / 10) * np.trace(heard) / channels**2:
            main = np.linalg.eigh(heard)[1][:, -1]
            weights = main * np.sign(main[np.abs(main).argmax()]) / np.sqrt(channels)
        w = mean if weights is None else weights
        power, low_power = max(float(w @ heard @ w), 1e-20), max(float(w @ low @ w), 1e-20)
        return Mixdown(
            self.sample_rate,
            channels,
            weights,
            bool(low_power > 10 ** (LOW_DB / 10) * power),
            round(10 * float(np.log10(max(loud, 1e-20) / power)), 6) if channels > 1 else 0.0,
            10 * float(np.log10(power)),
            10 * float(np.log10(low_power)),
        )
