"""Dense autoencoders of spectra, frame by frame, with a context of frames before.

Each is a linear autoencoder and a network beside it. The linear one starts at the principal components of
what it is trained on, the network at nothing: alone, a short training of it hardly learns to copy.

B batch, F frequency bins, T frames, K frames of a window, Z numbers of a code. Spectra are in -1..1
(``audio.features.normalise``), -1 is the floor.
"""

from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class FramesConfig:
    """Shape of :class:`Autoencoders`.

    ``encoder``: own (one for each instrument) | shared; ``memory``: none (a window is one long vector) | lstm
    (over the window's frames); ``context_frames`` before each frame; ``widths`` of the encoder's dense
    layers, which the decoder has the other way round.
    """

    bins: int
    instruments: int
    encoder: str
    memory: str
    context_frames: int
    widths: tuple[int, ...]
    code: int

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def dense(*widths: int) -> nn.Sequential:
    """Dense layers of these widths, tanh after each."""
    return nn.Sequential(*(m for i, o in pairwise(widths) for m in (nn.Linear(i, o), nn.Tanh())))


class Encoder(nn.Module):
    """Every frame and its context to a code."""

    def __init__(self, config: FramesConfig):
        super().__init__()
        c = config
        self.window = c.context_frames + 1
        self.linear = nn.Linear(c.bins, c.code)
        self.lstm = nn.LSTM(c.widths[-1], c.code, batch_first=True) if c.memory == "lstm" else None
        self.dense = dense(c.bins * (1 if self.lstm else self.window), *c.widths)
        self.out = None if self.lstm else nn.Linear(c.widths[-1], c.code)
        self.gain = nn.Parameter(torch.zeros(c.code))

    def forward(self, x: Tensor) -> Tensor:
        """(B, F, T) -> (B, T, Z)."""
        B, _, T = x.shape
        frames = functional.pad(x, (self.window - 1, 0), value=-1.0)
        if not self.lstm:
            windows = frames.unfold(2, self.window, 1).transpose(1, 2)  # B, T, F, K
            h = self.out(self.dense(windows.flatten(2)))  # B, T, Z
        else:
            h = self.dense(frames.transpose(1, 2))  # B, T + K - 1, H
            windows = h.unfold(1, self.window, 1).transpose(2, 3).flatten(0, 1)  # B T, K, H
            h = self.lstm(windows)[1][0].view(B, T, -1)
        return self.linear(x.transpose(1, 2)) + self.gain * h


class Decoder(nn.Module):
    """Codes (B, T, Z) to spectra (B, F, T)."""

    def __init__(self, config: FramesConfig):
        super().__init__()
        widths = (config.code, *reversed(config.widths))
        self.linear = nn.Linear(config.code, config.bins)
        self.dense = nn.Sequential(*dense(*widths), nn.Linear(widths[-1], config.bins))
        for weights in self.dense[-1].parameters():
            nn.init.zeros_(weights)

    def forward(self, code: Tensor) -> Tensor:
        return (self.linear(code) + self.dense(code)).transpose(1, 2)


class Autoencoders(nn.Module):
    """One decoder for each instrument, and one encoder for each or for all."""

    def __init__(self, config: FramesConfig):
        super().__init__()
        self.config = config
        encoders = config.instruments if config.encoder == "own" else 1
        self.encoders = nn.ModuleList(Encoder(config) for _ in range(encoders))
        self.decoders = nn.ModuleList(Decoder(config) for _ in range(config.instruments))

    @property
    def context(self) -> int:
        """Frames before an output frame that it depends on."""
        return self.config.context_frames

    def encoder(self, instrument: int) -> Encoder:
        """The encoder of what is to be decoded by the instrument's decoder."""
        return self.encoders[instrument if self.config.encoder == "own" else 0]

    def forward(self, x: Tensor, instrument: int) -> Tensor:
        """Spectra (B, F, T) to those that the instrument's decoder makes of their codes, (B, F, T)."""
        return self.decoders[instrument](self.encoder(instrument)(x))

    @torch.no_grad()
    def start_at(self, frames: list[Tensor]) -> None:
        """Begin at the principal components of each instrument's frames (frames, F), or of all together.

        Codes have variance 1 then.
        """
        of_encoders = frames if self.config.encoder == "own" else [torch.cat(frames)]
        found = [principal_components(x, self.config.code) for x in of_encoders]
        for place, decoder in enumerate(self.decoders):
            mean, components = found[place if self.config.encoder == "own" else 0]
            analysis = self.encoder(place).linear
            analysis.weight.copy_(components / components.square().sum(1, keepdim=True))
            analysis.bias.copy_(-analysis.weight @ mean)
            decoder.linear.weight.copy_(components.T)
            decoder.linear.bias.copy_(mean)


def principal_components(x: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Mean (F,) of frames (frames, F), and ``count`` components (count, F), as long as they deviate."""
    mean = x.mean(0)
    variances, vectors = torch.linalg.eigh((x - mean).T.double() @ (x - mean).double() / len(x))
    long = variances[-count:].clamp(min=1e-6).sqrt()
    return mean, (vectors[:, -count:] * long).T.flip(0).float()
