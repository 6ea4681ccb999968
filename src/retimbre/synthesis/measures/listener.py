"""A small network that hears the pitch and the instrument of a note, and embeds it."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import torch
from torch import Tensor, nn

from retimbre.audio.spectral import mel_filters, stft
from retimbre.nn.weights import read_config, save_model, with_weights

FRAME, HOP, BANDS = 4096, 2048, 256  # bands 13 Hz wide where fundamentals lie
FLOOR = 1e-3  # of a band, of notes levelled to an RMS of 1
SILENCE = 1e-4  # RMS under which a note is not levelled
EMBEDDING = 64
PART = 64  # notes that are heard together


@dataclass(frozen=True)
class ListenerConfig:
    """``pitches`` and ``instruments`` by output; of sets without instruments none."""

    pitches: tuple[int, ...]
    instruments: tuple[str, ...]
    sample_rate: int
    channels: int = 16


class Heard(NamedTuple):
    """Probabilities of pitches (n, P) and instruments (n, K), and embeddings (n, 64)."""

    pitch: np.ndarray
    instrument: np.ndarray
    embedding: np.ndarray


@torch.no_grad()
def bands(audio: Tensor, rate: int) -> Tensor:
    """Audio (B, N) to log-mel levels (B, 256, T) in nats, whatever the notes' own levels are."""
    level = audio.square().mean(1, keepdim=True).sqrt().clamp_min(SILENCE)
    mel = mel_filters(rate, FRAME, BANDS) @ stft(audio / level, FRAME, HOP).abs()
    return mel.clamp_min(FLOOR).log()


class Listener(nn.Module):
    """Log-mel levels (B, 256, T) to logits of pitches and of instruments.

    Three convolutions with poolings, which leave the place in frequency; time is averaged in two halves.
    """

    def __init__(self, config: ListenerConfig):
        super().__init__()
        self.config, c = config, config.channels
        layers: list[nn.Module] = []
        for before, after, frames in ((1, c, 2), (c, 3 * c // 2, 2), (3 * c // 2, 2 * c, 1)):
            convolution = nn.Conv2d(before, after, (5, 3), padding=(2, 1), bias=False)
            layers += [convolution, nn.BatchNorm2d(after), nn.ReLU(), nn.MaxPool2d((2, frames))]
        places = BANDS // 8
        self.body = nn.Sequential(
            *layers, nn.AdaptiveAvgPool2d((places, 2)), nn.Flatten(),
            nn.Linear(2 * c * places * 2, EMBEDDING), nn.ReLU(),
        )  # fmt: skip
        self.pitch = nn.Linear(EMBEDDING, len(config.pitches))
        self.instrument = nn.Linear(EMBEDDING, len(config.instruments))

    def forward(self, levels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        embedding = self.body(levels[:, None] / 3)
        return self.pitch(embedding), self.instrument(embedding), embedding

    @torch.no_grad()
    def hear(self, audio: np.ndarray) -> Heard:
        """Audio (n, N) of any levels."""
        parts = torch.from_numpy(np.asarray(audio, np.float32)).split(PART)
        found = [self(bands(part, self.config.sample_rate)) for part in parts]
        pitch, instrument, embedding = (torch.cat(one) for one in zip(*found, strict=True))
        return Heard(pitch.softmax(1).numpy(), instrument.softmax(1).numpy(), embedding.numpy())

    def save(self, folder: Path) -> None:
        save_model(folder / "listener.safetensors", self, asdict(self.config))

    @classmethod
    def load(cls, folder: Path) -> Self:
        config = read_config(folder)
        config |= {name: tuple(config[name]) for name in ("pitches", "instruments")}
        return with_weights(cls(ListenerConfig(**config)), folder / "listener.safetensors")
