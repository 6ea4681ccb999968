"""Dense autoencoders of spectra, frame by frame, with a context of frames before.

B batch, F frequency bins, T frames, K frames of a window, Z numbers of a code. Spectra are in -1..1
(``audio.features.normalise``), -1 is the floor.
"""

from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class AutoencoderConfig:
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

    def __init__(self, config: AutoencoderConfig):
        super().__init__()
        c = config
        self.window = c.context_frames + 1
        self.lstm = nn.LSTM(c.widths[-1], c.code, batch_first=True) if c.memory == "lstm" else None
        self.dense = dense(c.bins * (1 if self.lstm else self.window), *c.widths)
        self.out = None if self.lstm else nn.Linear(c.widths[-1], c.code)

    def forward(self, x: Tensor) -> Tensor:
        """(B, F, T) -> (B, T, Z)."""
        B, _, T = x.shape
        x = functional.pad(x, (self.window - 1, 0), value=-1.0)
        if not self.lstm:
            windows = x.unfold(2, self.window, 1).transpose(1, 2)  # B, T, F, K
            return self.out(self.dense(windows.flatten(2)))
        h = self.dense(x.transpose(1, 2))  # B, T + K - 1, H
        windows = h.unfold(1, self.window, 1).transpose(2, 3).flatten(0, 1)  # B T, K, H
        return self.lstm(windows)[1][0].view(B, T, -1)


class Autoencoders(nn.Module):
    """One decoder for each instrument, and one encoder for each or for all."""

    def __init__(self, config: AutoencoderConfig):
        super().__init__()
        self.config = c = config
        encoders = c.instruments if c.encoder == "own" else 1
        widths = (c.code, *reversed(c.widths))
        self.encoders = nn.ModuleList(Encoder(c) for _ in range(encoders))
        self.decoders = nn.ModuleList(
            nn.Sequential(*dense(*widths), nn.Linear(widths[-1], c.bins)) for _ in range(c.instruments)
        )

    @property
    def context(self) -> int:
        """Frames before an output frame that it depends on."""
        return self.config.context_frames

    def forward(self, x: Tensor, instrument: int) -> Tensor:
        """Spectra (B, F, T) to those that the instrument's decoder makes of their codes, (B, F, T)."""
        encoder = self.encoders[instrument if self.config.encoder == "own" else 0]
        return self.decoders[instrument](encoder(x)).transpose(1, 2)
