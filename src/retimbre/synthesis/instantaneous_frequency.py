"""Log magnitude and instantaneous frequency of audio: the pictures that GANSynth learns, and back to audio.

Engel et al., "GANSynth: Adversarial neural audio synthesis", 2019. Frames overlap by three quarters; the
lowest bin is left out. A picture (2, T, F) holds log(magnitude + 1e-6) and, as a
share of half a turn, what the phase gains from a frame to the next (the first frame's phase as it is): it
stands still where a partial does, while its phase runs.

Kinds: ``if``; ``phase``, with the phases as they are; ``if_mel``, power and phase on as many mel bands.
"""

from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

Kind = Literal["if", "if_mel", "phase"]
_TINY = 1e-6  # added to magnitudes, and to power on mel bands
# Of the summed squares of windows: where only a frame's end reaches, what is made fades and does not grow.
_LEAST_WEIGHT = 1e-3


@dataclass(frozen=True)
class Pictures:
    """Pictures of audio of ``samples`` samples: frames of 2 * ``bins`` samples, bins / 2 apart.

    ``bins``: a power of two, 512 at 16 kHz as published ("normal"), 1024 for the "high" resolution.
    ``multiple``: the number of frames is a multiple of it. ``behind``: zeros behind the audio; all others are
    in front. Published are 0, with which the last samples of a note that still sounds are lost; ``hop`` of
    them keep it.
    """

    samples: int
    sample_rate: int
    bins: int
    kind: Kind = "if"
    multiple: int = 1
    behind: int = 0

    @property
    def frames(self) -> int:
        needed = -(-(self.samples + self.behind - 2 * self.bins) // self.hop) + 1
        return -(-max(needed, 1) // self.multiple) * self.multiple

    @property
    def hop(self) -> int:
        return self.bins // 2

    @property
    def padding(self) -> int:
        """Zeros in front of the audio."""
        return (self.frames - 1) * self.hop + 2 * self.bins - self.samples - self.behind

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def encode(self, audio: Tensor) -> Tensor:
        """Audio (B, N) -> pictures (B, 2, T, F)."""
        spectra = self._spectra(audio)
        angle = spectra.angle().double()
        if self.kind == "phase":
            return torch.stack([(spectra.abs() + _TINY).log(), (angle / torch.pi).float()], 1)
        gain = _gain(angle)
        if self.kind == "if":
            return torch.stack([(spectra.abs() + _TINY).log(), gain.float()], 1)
        to_mel = self._mel(gain)
        power = spectra.abs().double() ** 2 @ to_mel
        gain = _gain((torch.pi * gain.cumsum(1)) @ to_mel)
        return torch.stack([(power + _TINY).log(), gain], 1).float()

    def decode(self, pictures: Tensor) -> Tensor:
        """Audio (B, N) of pictures (B, 2, T, F): least squares of the frames, phases summed in float64."""
        level, turned = pictures[:, 0].double(), torch.pi * pictures[:, 1].double()
        phase = turned if self.kind == "phase" else turned.cumsum(1)
        if self.kind == "if_mel":
            to_mel = self._mel(level)
            back = to_mel.T / (to_mel @ to_mel.T).sum(0).clamp_min(1e-8)
            level = 0.5 * (level.exp() @ back + _TINY).log()
            phase = phase @ back
        frames = torch.fft.irfft(F.pad(torch.polar(level.exp(), phase), (1, 0)))
        return self._overlapped(frames).to(pictures)

    def magnitude(self, pictures: Tensor) -> Tensor:
        """Magnitudes (B, T, F) of pictures (B, 2, T, F), of mel bands where these have such."""
        level = pictures[:, 0]
        return (level / 2 if self.kind == "if_mel" else level).exp()

    def _spectra(self, audio: Tensor) -> Tensor:
        frames = F.pad(audio, (self.padding, self.behind)).unfold(1, 2 * self.bins, self.hop)
        return torch.fft.rfft(frames * _hann(2 * self.bins).to(audio))[..., 1:]

    def _overlapped(self, frames: Tensor) -> Tensor:
        window = _hann(2 * self.bins).to(frames)
        places = self.hop * torch.arange(self.frames)[:, None] + torch.arange(2 * self.bins)
        places = places.flatten().to(frames.device)
        total = frames.new_zeros(len(frames), self.padding + self.samples + self.behind)
        weight = total.new_zeros(total.shape[1]).index_add(0, places, (window**2).repeat(self.frames))
        audio = total.index_add(1, places, (frames * window).flatten(1)) / weight.clamp_min(_LEAST_WEIGHT)
        return audio[:, self.padding : self.padding + self.samples]

    def _mel(self, like: Tensor) -> Tensor:
        return torch.from_numpy(_mel_bands(self.bins, self.sample_rate)).to(like)


def _gain(angle: Tensor) -> Tensor:
    """Differences of angles (B, T, F) in time, from -pi to pi, behind the first angle; in shares of pi."""
    steps = torch.remainder(angle.diff(dim=1) + torch.pi, 2 * torch.pi) - torch.pi
    return torch.cat([angle[:, :1], steps], 1) / torch.pi


@lru_cache(maxsize=8)
def _hann(size: int) -> Tensor:
    with torch.inference_mode(False):
        return torch.hann_window(size, dtype=torch.float64)


@lru_cache(maxsize=8)
def _mel_bands(bins: int, sample_rate: int) -> np.ndarray:
    """Triangles on the mel scale (linear bin, mel band), as many bands as bins, none narrower than 1.5 bins.

    The published matrix lets the bins it is given start at 0 Hz, one lower than they are, and gives the first
    no band; both directions use it, so that pitch is not moved.
    """

    def mel(hz: np.ndarray) -> np.ndarray:
        return 1127 * np.log(1 + hz / 700)

    top = sample_rate / 2
    hz = np.linspace(0, top, bins)
    edges = np.linspace(0, mel(top), bins + 2)
    lower, centre, upper = edges[:-2], edges[1:-1], edges[2:]
    centre_hz, lower_hz, upper_hz = (700 * (np.exp(m / 1127) - 1) for m in (centre, lower, upper))
    least = 1.5 * top / bins
    half = 1127 * np.arcsinh(0.5 * least / (centre_hz + 700))  # in mels, of a band of the least width
    narrow = upper_hz - lower_hz < least
    lower_hz = np.where(narrow, 700 * (np.exp((centre - half) / 1127) - 1), lower_hz)
    upper_hz = np.where(narrow, 700 * (np.exp((centre + half) / 1127) - 1), upper_hz)
    rising = (hz[:, None] - lower_hz) / (centre_hz - lower_hz)
    falling = (upper_hz - hz[:, None]) / (upper_hz - centre_hz)
    bands = np.maximum(0, np.minimum(rising, falling))
    bands[0] = 0
    return bands
