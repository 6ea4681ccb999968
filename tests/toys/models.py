"""Models as ``dvc repro`` writes them, with weights as they start, and audio to put through them."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from retimbre.audio.features import FeatureConfig
from retimbre.nn.spectral.generators import Generator, GeneratorConfig
from retimbre.nn.transcriber.content import CHANNELS
from retimbre.nn.wavenet.network import WaveNet, WaveNetConfig
from retimbre.systems import catalogue
from retimbre.systems.cyclegan.system import Change
from retimbre.systems.resynthesis import system as resynthesis
from retimbre.systems.resynthesis.network import Experts, NetworkConfig
from retimbre.vocoders.inverter.network import InverterConfig, SpectralInverter
from retimbre.vocoders.inverter.vocoder import Inverter
from retimbre.vocoders.istft.network import IstftConfig, IstftNet
from retimbre.vocoders.istft.vocoder import IstftVocoder
from retimbre.vocoders.wavenet.vocoder import WaveNetVocoder

RATE = 16000
FEATURES = FeatureConfig(RATE, 256, "retimbre", 32.7031956626, 84, 12, 1024, 80, 60.0)
CONFIG = {
    "domains": ["piano", "guitar"],
    "features": FEATURES.to_dict(),
    "representation": "cqt",
    "top_db": 7.0,
    "rms": 0.1,
}


def write_cyclegan(
    folder: Path, spread: float = 0.05, config: dict[str, Any] | None = None, **shape: Any
) -> Path:
    """``folder/cyclegan``; ``spread``: standard deviation of the output layers' weights."""
    config = config or CONFIG
    bins = FeatureConfig.from_dict(config["features"]).bins(config["representation"])
    chosen = GeneratorConfig(bins, **{"channels": 16, "blocks": 2} | shape)
    generators = nn.ModuleDict({name: Generator(chosen) for name in ("ab", "ba")})
    for generator in generators.values():
        nn.init.normal_(generator.body.out.weight, 0, spread)
    catalogue.store(
        "cyclegan", None, Change(generators, config | {"generator": chosen.to_dict()}), folder / "cyclegan"
    )
    return folder


def resynthesis_change(share: float = 0.3, ranges: dict[str, list[int]] | None = None) -> resynthesis.Change:
    """Untrained networks that tell the instruments and the frames apart, ``share`` of them the second."""
    torch.manual_seed(1)
    bins, size = FEATURES.cqt_bins, (FEATURES.cqt_bins, len(CONFIG["domains"]), 16, 3, 4)
    networks = Experts(NetworkConfig(CHANNELS, *size), NetworkConfig(bins, *size, residual=True), share)
    nn.init.normal_(networks.content.offset.weight, 0, 0.1)
    nn.init.normal_(networks.spectrum.out.weight, 0, 0.05)
    ranges = ranges or {"piano": [0, 87], "guitar": [19, 62]}
    return resynthesis.Change(networks.requires_grad_(False), CONFIG | {"ranges": ranges})


def write_resynthesis(folder: Path) -> Path:
    """``folder/resynthesis``, untrained."""
    catalogue.store("resynthesis", None, resynthesis_change(), folder / "resynthesis")
    return folder


def write_models(folder: Path, **wavenet: Any) -> Path:
    """A CycleGAN and three vocoders; ``wavenet``: options in the WaveNet's configuration."""
    torch.manual_seed(0)
    write_cyclegan(folder)
    inverter = SpectralInverter(InverterConfig(84, 1024, 16, 1))
    sizes = {"layers": 3, "layers_per_stack": 3, "residual_channels": 8, "skip_channels": 8}
    samples = WaveNet(WaveNetConfig(84, 256, 2, **sizes))
    istft = IstftNet(IstftConfig(84, 256, 1024, 16, 1))
    istft.start_at(inverter)
    options = {"preemphasis": 0.85, "gain": 1.6, "reverse": False} | wavenet
    for made, network, more in (
        (Inverter, inverter, {}),
        (IstftVocoder, istft, {}),
        (WaveNetVocoder, samples, options),
    ):
        config = CONFIG | {made.name: network.config.to_dict()} | more
        made(network, config, {}).save(folder / "vocoder" / made.name)
    return folder


def melody(seconds: float, rate: int = RATE) -> np.ndarray:
    """(N,) float32: a decaying note of three partials every quarter of a second."""
    rng = np.random.default_rng(0)
    t = np.arange(round(seconds * rate)) / rate
    x = np.zeros(len(t))
    for onset in np.arange(0, seconds, 0.25):
        f = 220 * 2 ** (rng.integers(0, 24) / 12)
        partials = sum(np.sin(2 * np.pi * f * h * t) / h for h in (1, 2, 3) if f * h < rate / 2)
        x += np.where(t >= onset, np.exp(-6 * (t - onset)), 0) * partials
    return (0.2 * x / np.abs(x).max()).astype(np.float32)
