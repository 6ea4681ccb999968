"""Audio and levels as the WaveNet sees them: pre-emphasised codes, perhaps with time running backwards.

Reverse generation (TimbreTron, Huang et al. 2019): a percussive onset is hard to predict from levels, but
backwards it is a sound that grows to its end. Frame t is centred on sample t * hop_length; backwards sample
n is the audio's T * hop_length - n, and frame t its T - t, T being the number of frames, so levels and
samples stay aligned to the sample.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from retimbre.audio.companding import decode_audio, encode_audio


def backwards(x: np.ndarray) -> np.ndarray:
    """A crop of audio (..., N) from a frame's centre up to the sample before another's, backwards.

    Its sample n is the crop's N - n, so that reversed frames are centred on multiples of the hop again.
    Sample 0 would be the first after the crop; the crop's last one stands for it.
    """
    return np.concatenate([x[..., -1:], x[..., :0:-1]], -1)


def backwards_levels(level_db: Tensor) -> Tensor:
    """Levels (..., F, T) of a whole signal, backwards: (..., F, T + 1).

    The first frame, centred behind the audio's end, holds the last one's levels. Backwards the audio lies at
    samples T * hop - N + 1 to T * hop, both included.
    """
    return torch.cat([level_db[..., -1:], level_db.flip(-1)], -1)


def forwards(y: np.ndarray, length: int) -> np.ndarray:
    """Samples 0 to T * hop of the reversed signal (..., T * hop + 1) back to audio (..., length)."""
    return y[..., ::-1][..., :length]


@dataclass(frozen=True)
class Codec:
    """``pcm``: 16-bit codes instead of 8-bit mu-law; ``reverse``: the network's time runs backwards."""

    preemphasis: float
    gain: float
    pcm: bool = False
    reverse: bool = False

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> "Codec":
        """From a vocoder's stored configuration."""
        pcm = config["wavenet"]["output"] == "mol"
        return cls(config["preemphasis"], config["gain"], pcm, config["reverse"])

    def encode(self, x: np.ndarray) -> np.ndarray:
        """Audio (..., N) in the network's direction to codes, int64."""
        return encode_audio(x, self.preemphasis, self.gain, self.pcm)

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Codes to audio in the network's direction."""
        return decode_audio(codes, self.preemphasis, self.gain, self.pcm)

    def example(self, x: np.ndarray, level_db: Tensor) -> tuple[Tensor, Tensor]:
        """Audio (..., frames * hop), levels (..., F, frames + 1) to codes and levels in its direction."""
        if self.reverse:
            x, level_db = backwards(x), level_db.flip(-1)
        return torch.from_numpy(self.encode(x).astype(np.int64)), level_db
