"""Packed audio of a few short tunes, and WaveNet autoencoders that train on it in a moment."""

from pathlib import Path

import numpy as np

from retimbre.datasets.packed.data import Data
from retimbre.datasets.packed.format import AudioWriter
from retimbre.nn.wavenet_autoencoder.params import Sizes
from tests.toys.project import smoke

RATE, SECONDS = 8000, 1.0
PARTIALS = {"reed": (1, 3, 5), "bell": (1, 2.76), "pipe": (1,), "horn": (1, 2, 3, 4)}
SMALL = {
    "sample_rate": 4000,
    "pool": 16,
    "crop_codes": 6,
    "encoder_layers": 2,
    "layers": 3,
    "residual_channels": 4,
    "skip_channels": 8,
    "steps": 8,
}


def tune(domain: str, number: int) -> np.ndarray:
    """(N,) float32 of RMS 0.1: notes of a quarter of a second."""
    rng, t = np.random.default_rng(number), np.arange(int(RATE * SECONDS)) / RATE
    hz = np.repeat(220 * 2 ** (rng.integers(0, 12, 4) / 12), len(t) // 4)
    x = sum(np.sin(2 * np.pi * np.cumsum(hz) * k / RATE) for k in PARTIALS[domain])
    return (0.1 * x / np.sqrt(np.mean(x**2))).astype(np.float32)


def write_audio(folder: Path, *domains: str, repeats: int = 1) -> Data:
    """Three training and two validation tunes of every domain, each ``repeats`` seconds long."""
    with AudioWriter(folder, RATE, 0.1, 100) as writer:
        for domain in domains:
            for split, pieces in (("train", range(3)), ("validation", range(3, 5))):
                for piece in pieces:
                    x = (
                        np.tile(np.rint(32767 * tune(domain, piece)), repeats)
                        .clip(-32768, 32767)
                        .astype(np.int16)
                    )
                    writer.add(x, domain, split, f"piece{piece}")
    return Data(folder)


def params_of(kind: type[Sizes], **changes: object) -> Sizes:
    """The smoke profile's section of a system, smaller still, with ``changes``."""
    return kind.model_validate(smoke()[kind.section] | SMALL | changes)
