"""Vocoders on two made-up instruments: their data, trainings of a few steps, in one process or several."""

import importlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor

from retimbre.datasets.packed.data import Data
from retimbre.datasets.packed.format import AudioWriter
from retimbre.datasets.preparation.caching import cache_features
from retimbre.datasets.preparation.params import Features
from retimbre.nn.wavenet.network import WaveNet, WaveNetConfig
from retimbre.section import Machine
from retimbre.training.devices import make_fabric
from retimbre.training.fit import Run
from retimbre.vocoders.base import Renderer
from retimbre.vocoders.inverter.network import InverterConfig, SpectralInverter
from retimbre.vocoders.inverter.train import InverterTrainer
from retimbre.vocoders.kinds import STARTS_FROM, below
from retimbre.vocoders.params import Vocoder
from retimbre.vocoders.wavenet.train import WaveNetTrainer
from tests.toys.project import smoke

RATE, SECONDS, DOMAINS = 16000, 3.0, ["reed", "bell"]
SHORT = {
    "inverter": {"steps": 3},
    "istft": {"steps": 2},
    "wavenet": {"steps": 2, "layers": 3, "layers_per_stack": 3},
    "excited": {"steps": 2, "layers": 3, "layers_per_stack": 3},
}


def tune(domain: str, number: int) -> np.ndarray:
    """(N,) float32: decaying notes with odd harmonics (reed) or few (bell)."""
    rng = np.random.default_rng(number)
    t, x = np.arange(round(SECONDS * RATE)) / RATE, 0
    harmonics = (1, 3, 5, 7) if domain == "reed" else (1, 2)
    for i, pitch in enumerate(rng.integers(50, 75, 6)):
        f, on = 440 * 2 ** ((pitch - 69) / 12), t >= i * 0.45
        note = sum(np.sin(2 * np.pi * f * h * t) / h for h in harmonics if f * h < 7000)
        x = x + on * np.exp(-4 * np.maximum(t - i * 0.45, 0)) * note
    return (0.1 * x / np.sqrt(np.mean(x**2))).astype(np.float32)


def write_data(folder: Path) -> Data:
    """Tunes, packed with their features: a training and a paired validation split."""
    with AudioWriter(folder / "resampled", RATE, 0.1, 100) as writer:
        for split, performance, pieces in (("train", "", range(3)), ("validation", "1", range(3, 5))):
            for domain in DOMAINS:
                for piece in pieces:
                    name = f"{'bach' if piece % 2 else 'ryansMammoth'}-{piece}"
                    x = np.rint(32768 * tune(domain, piece)).clip(-32768, 32767).astype(np.int16)
                    writer.add(x, domain, split, name, performance)
    p, machine = Features(**smoke()["features"]), Machine(jobs=1, joblib_backend="threading")
    cache_features(folder / "resampled", folder / "features", p, 100, machine)
    return Data(folder / "resampled", folder / "features")


def vocoder_params(**changes: Mapping[str, Any]) -> Vocoder:
    """The smoke profile's ``vocoder`` with fewer steps and ``changes`` of its networks' sections."""
    values = smoke(vocoder=SHORT)["vocoder"]
    changed = {name: values[name] | dict(of_network) for name, of_network in changes.items()}
    return Vocoder.model_validate(values | changed)


def train_networks(
    data: Data,
    names: Iterable[str] = tuple(STARTS_FROM),
    representation: str = "cqt",
    **changes: Mapping[str, Any],
) -> dict[str, Renderer]:
    """Networks by name, each trained for a moment as its stage does."""
    p, run, made = vocoder_params(**changes), Run(1, make_fabric("cpu")), {}
    for name in names:
        lower = {start: made[start]} if (start := below(name)) else {}
        train = importlib.import_module(f"retimbre.vocoders.{name}.train")
        made[name], _ = train.fit(data, getattr(p, name), representation, run, lower)
    return made


BATCH, BINS, FFT, HOP, FRAMES = 4, 8, 32, 16, 9


def train_on_noise(fabric: Fabric, steps: int = 10) -> dict[str, Tensor]:
    """The weights of an inverter and of a WaveNet after so many steps on the same batches."""
    changes = {"steps": max(1, steps), "learning_rate": 2e-2}
    p = vocoder_params(inverter=changes, wavenet=changes)
    torch.manual_seed(5)
    inverter = SpectralInverter(InverterConfig(BINS, FFT, channels=8, blocks=1))
    wavenet = WaveNet(WaveNetConfig(BINS, HOP, 2, layers=3, layers_per_stack=3, residual_channels=8))
    first = InverterTrainer(inverter, p.inverter, fabric, 0.0, 60.0, 5, torch.rand(4, FFT // 2 + 1))
    second = WaveNetTrainer(wavenet, p.wavenet, fabric)
    for step in range(steps):
        g = torch.Generator().manual_seed(step)
        spectrum_db = -40 * torch.rand(BATCH, BINS, FRAMES, generator=g)
        first.step(spectrum_db, -40 * torch.rand(BATCH, FFT // 2 + 1, FRAMES, generator=g), step)
        codes = torch.randint(256, (BATCH, (FRAMES - 1) * HOP), generator=g)
        second.step(codes, spectrum_db, torch.arange(BATCH) % 2, step)
    weights = {f"inverter.{name}": value for name, value in inverter.state_dict().items()}
    return weights | {f"wavenet.{name}": value for name, value in wavenet.state_dict().items()}
