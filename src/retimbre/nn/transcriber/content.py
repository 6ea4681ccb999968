"""Content: what is played, whatever plays it, aligned to the frames of the features.

A frame holds what basic-pitch hears (contours, notes, onsets) and how loud the music is. A transcriber is
deaf to breath, bow and drums; levels of noise in octaves are no remedy, for they tell the instrument (tried:
docs/systems/resynthesis.md). Everything depends on nearby audio only, so that chunks join as if the recording
had been one piece.

The level must be the one at which systems hear, a root mean square of 0.1: nothing here looks at the peak
of a recording, which a chunk does not know.
"""

import itertools
import math
from collections.abc import Iterator

import numpy as np
import soxr
import torch
from torch import Tensor
from torch.nn import functional

from retimbre.audio.features import FeatureConfig
from retimbre.nn.transcriber.network import (
    CONTOURS,
    FLOOR,
    HOP,
    NOTES,
    REACH,
    SAMPLE_RATE,
    Transcriber,
    pretrained,
)

# Of audio of RMS 0.1. basic-pitch normalises peaks to 0.9; those of 29 renders (piano, guitar, violin,
# flute) have a mean of 0.6. Posteriors are nearest to basic-pitch's own with 1.6: mean difference 0.0021,
# against 0.0025 with half of it and 0.0028 with 2.5 times as much. basic-pitch differs by 0.0027 from
# itself when its windows start 0.8 s later, and is as near to the true notes (average precision 0.941,
# both).
GAIN = 1.6
FLOOR_DB = 10 * math.log10(FLOOR)
QUIETEST_TOP_DB = 10.0  # loud music has 16 to 23: what stays lower within a second is quiet, and heard so
TOP_REACH = 86  # frames, a second, to each side
CONTEXT = 192  # frames to each side that a frame depends on by more than 1e-5: measured 120
BLOCK = 1024  # frames, 12 s, that are heard at once: the fastest on a CPU (0.65 s per minute on one thread)

POSTERIORS = CONTOURS + 2 * NOTES
LOUDNESS_RANGE_DB = 60.0

CHANNELS = POSTERIORS + 1  # of a content frame
EDGES = (0, CONTOURS, CONTOURS + NOTES, POSTERIORS, CHANNELS)
CONTOUR, NOTE, ONSET, LOUDNESS = (slice(*edges) for edges in itertools.pairwise(EDGES))


def local_level(spectrum_db: Tensor) -> Tensor:
    """Constant-Q spectrum (B, 309, T) in dB brought to 0 ... 1 by its maximum within a second to each side.

    basic-pitch takes minimum and maximum of the two-second window that it happens to cut. Here every frame
    is the middle of its own window. The minimum is always the floor, which it is for audio at 16 kHz
    anyway: that is empty above 8 kHz, and the spectrum goes to 10. Quiet passages are raised as there;
    noise in rests is not.
    """
    highest = spectrum_db.amax(1, keepdim=True)  # (B, 1, T)
    # In one dimension there is no such operation for graphs that are exported.
    top = functional.max_pool2d(highest, (1, 2 * TOP_REACH + 1), 1, (0, TOP_REACH))
    return (spectrum_db - FLOOR_DB) / (top.clamp(min=QUIETEST_TOP_DB) - FLOOR_DB)


def _blocks(network: Transcriber, audio: np.ndarray) -> Iterator[np.ndarray]:
    """Posteriors (T, 440) of audio (N,) at 22,050 Hz, block after block, with silence around the whole."""
    frames, context, device = len(audio) // HOP + 1, CONTEXT * HOP, network.gain.device
    padded = np.pad(audio, context)
    for first in range(0, frames, BLOCK):
        count = min(BLOCK, frames - first)
        block = padded[first * HOP : (first + count - 1) * HOP + 2 * context + 1]
        spectrum = network.cqt(torch.from_numpy(block)[None].to(device))  # (1, 309, CONTEXT + T + CONTEXT)
        level = local_level(spectrum)[..., CONTEXT - REACH : CONTEXT + count + REACH]
        heard = torch.cat(network.hear(level), 1)[0, :, REACH:-REACH]  # (440, T)
        yield heard.T.cpu().numpy()


@torch.inference_mode()
def posteriors(
    network: Transcriber, audio: np.ndarray, sample_rate: int, frame_times_s: np.ndarray
) -> np.ndarray:
    """Contours, notes and onsets at given times, interpolated between basic-pitch's 86.13 frames per second.

    ``audio``: (N,) float of any length, RMS 0.1, at ``sample_rate`` Hz. ``frame_times_s``: (T,) seconds,
    those outside the audio get its first or last frame. Returns (T, 440) float32, 0 to 1. On silence it is
    what the network says of silence: below 0.25 everywhere.
    """
    audio = np.ascontiguousarray(audio, np.float32) * np.float32(GAIN)
    # VHQ computes in double precision: empty bins near the floor hear HQ's rounding, which differs from chunk
    # to chunk and moves posteriors by 0.0002.
    audio = soxr.resample(audio, sample_rate, SAMPLE_RATE, "VHQ")
    heard = np.concatenate(list(_blocks(network, audio)))
    at = np.clip(np.asarray(frame_times_s) * SAMPLE_RATE / HOP, 0, len(heard) - 1)
    before = np.minimum(at.astype(np.int64), max(len(heard) - 2, 0))
    share = (at - before)[:, None].astype(np.float32)
    return (1 - share) * heard[before] + share * heard[np.minimum(before + 1, len(heard) - 1)]


def loudness(audio: np.ndarray, hop: int) -> np.ndarray:
    """Level of the two hops around each frame's centre: (N,) to (N // hop + 1, 1) float32.

    -1 is 60 dB below full scale or less, 1 is full scale (RMS 1), linear in dB between them.
    """
    frames = len(audio) // hop + 1
    hops = np.pad(audio, (hop, frames * hop - len(audio))).reshape(frames + 1, hop)
    power = np.square(hops, dtype=np.float64).mean(1)
    level_db = 10 * np.log10((power[:-1] + power[1:]) / 2 + 1e-10)
    return np.clip(2 * level_db / LOUDNESS_RANGE_DB + 1, -1, 1).astype(np.float32)[:, None]


class Content:
    """Content of recordings at the frames of the features: frame t is centred on sample t * hop_length.

    ``CHANNELS`` C, in this order: contours 264 (3 per semitone), notes 88, onsets 88, loudness 1;
    :class:`.network.Posteriors` says which pitch is which. ``device``: where the network runs.
    """

    def __init__(self, config: FeatureConfig, device: str = "cpu"):
        self.config = config
        self.network = pretrained().to(device)

    @property
    def context(self) -> int:
        """Samples to each side of a chunk that its content depends on."""
        c = self.config
        return math.ceil((CONTEXT + 1) * HOP * c.sample_rate / SAMPLE_RATE)

    @property
    def grid(self) -> int:
        """Samples of the grid on which chunks must start, so that their frames are the whole's: the
        features' and the network's, between which audio is resampled. 5.12 s at 16 kHz and hops of 256
        samples.
        """
        c = self.config
        heard = c.sample_rate * HOP // math.gcd(c.sample_rate * HOP, SAMPLE_RATE)
        return math.lcm(c.hop_length, heard)

    def frames(self, audio: np.ndarray) -> np.ndarray:
        """Audio (N,) at the features' rate, RMS 0.1, to content (T, C) float32, T = N // hop_length + 1."""
        c = self.config
        times_s = np.arange(c.frames(len(audio))) * c.hop_length / c.sample_rate
        heard = posteriors(self.network, audio, c.sample_rate, times_s)
        return np.concatenate([heard, loudness(audio, c.hop_length)], 1)
