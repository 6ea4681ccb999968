"""Windows of audio, and the representations that the classifiers hear of them.

A window is 3.072 s at 16 kHz: 128 frames of the constant-Q transform. Lostanlen and Cella (ISMIR 2016) have
131,072 samples at 44.1 kHz, 96 bins from A1 and as many frames; at 16 kHz the 84 bins up to 6.6 kHz fit.
"""

from collections.abc import Callable

import numpy as np
import torch

from retimbre.audio.cqt import ConstantQ, cqt_frequencies

RATE = 16000  # Hz
HOP, FRAMES = 384, 128  # samples, frames of a window
SAMPLES = HOP * FRAMES
SHORTEST = SAMPLES * 2 // 3
LOWEST_HZ, PER_OCTAVE = 55.0, 12  # A1
OCTAVES = 7
BINS = PER_OCTAVE * OCTAVES
COMPRESSION = 1000.0
WEIGHT_FLOOR_DB = -80.0
PART = 64  # windows that are transformed together

Front = Callable[[np.ndarray], np.ndarray]  # audio (B, SAMPLES) to what a classifier hears (B, ...)


class Windows:
    """Audio (B, SAMPLES) float32 at 16 kHz; what is heard of it is computed once."""

    def __init__(self, audio: np.ndarray):
        if audio.ndim != 2 or audio.shape[1] != SAMPLES:
            raise ValueError(f"windows are (B, {SAMPLES}), not {audio.shape}")
        self.audio, self._heard = np.asarray(audio, np.float32), {}

    def __len__(self) -> int:
        return len(self.audio)

    def __getitem__(self, index: np.ndarray | slice) -> "Windows":
        part = Windows(self.audio[index])
        part._heard = {front: x[index] for front, x in self._heard.items()}
        return part

    def heard(self, front: Front) -> np.ndarray:
        """Features of the windows by ``front``: (B, ...), float32."""
        if front not in self._heard:
            parts = [front(self.audio[i : i + PART]) for i in range(0, max(1, len(self)), PART)]
            self._heard[front] = np.concatenate(parts).astype(np.float32)
        return self._heard[front]


def cut(audio: np.ndarray, hop: int = SAMPLES // 2) -> np.ndarray:
    """Windows (B, SAMPLES) of a recording (N,), half-overlapping by default.

    A recording that is a little shorter than a window, as the clips of published sets are, ends in silence;
    one under two thirds of it has none.
    """
    if SHORTEST <= len(audio) < SAMPLES:
        audio = np.pad(audio, (0, SAMPLES - len(audio)))
    parts = [audio[s : s + SAMPLES] for s in range(0, len(audio) - SAMPLES + 1, hop)]
    return np.stack(parts) if parts else np.zeros((0, SAMPLES), np.float32)


def a_weighting_db(frequencies_hz: np.ndarray) -> np.ndarray:
    """Gain of the A-weighting in dB (IEC 61672), 0 at 1 kHz."""
    f = np.square(np.asarray(frequencies_hz, np.float64))
    low = (f + 20.598997**2) * np.sqrt((f + 107.65265**2) * (f + 737.86223**2))
    return 20 * np.log10(12194.217**2 * f**2 / (low * (f + 12194.217**2))) + 2.0


_transforms: list[ConstantQ] = []  # one per process: building it takes longer than using it


@torch.no_grad()
def scalogram(audio: np.ndarray) -> np.ndarray:
    """Constant-Q magnitudes (B, BINS, FRAMES)."""
    if not _transforms:
        _transforms.append(ConstantQ(RATE, HOP, LOWEST_HZ, BINS, PER_OCTAVE))
    return _transforms[0].magnitude(torch.from_numpy(audio))[..., :FRAMES].numpy()


def compressed(audio: np.ndarray) -> np.ndarray:
    """Levels (B, BINS, FRAMES), as published: log(1 + 1000 w |CQT|), w the A-weighting, a ratio of powers."""
    db = a_weighting_db(cqt_frequencies(LOWEST_HZ, BINS, PER_OCTAVE))
    weight = 10 ** (np.maximum(db, WEIGHT_FLOOR_DB) / 10)
    return np.log1p(COMPRESSION * weight[:, None] * scalogram(audio)).astype(np.float32)
