"""A few steps of the vocoders' trainers on noise, in one process or several."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from retimbre.nn.wavenet.network import WaveNet
from retimbre.nn.wavenet.options import WaveNetConfig
from retimbre.vocoders.inverter.network import InverterConfig, SpectralInverter
from retimbre.vocoders.steps import InverterTrainer, WaveNetTrainer

if TYPE_CHECKING:
    from lightning_fabric import Fabric

BATCH, BINS, FFT, HOP, FRAMES = 4, 8, 32, 16, 9


def train(fabric: "Fabric", steps: int = 10) -> dict[str, Tensor]:
    """The weights of an inverter and of a WaveNet after so many steps on the same batches."""
    torch.manual_seed(5)
    inverter = SpectralInverter(InverterConfig(BINS, FFT, channels=8, blocks=1))
    wavenet = WaveNet(WaveNetConfig(BINS, HOP, 2, layers=3, layers_per_stack=3, residual_channels=8))
    bands = torch.rand(4, FFT // 2 + 1)
    first = InverterTrainer(inverter, steps, 2e-2, fabric, 0.0, 60.0, 5, bands, 0.3)
    second = WaveNetTrainer(wavenet, steps, 2e-2, fabric)
    for step in range(steps):
        g = torch.Generator().manual_seed(step)
        level_db = -40 * torch.rand(BATCH, BINS, FRAMES, generator=g)
        first.step(level_db, -40 * torch.rand(BATCH, FFT // 2 + 1, FRAMES, generator=g), step)
        codes = torch.randint(256, (BATCH, (FRAMES - 1) * HOP), generator=g)
        second.step(codes, level_db, torch.arange(BATCH) % 2, step)
    weights = {f"inverter.{name}": value for name, value in inverter.state_dict().items()}
    return weights | {f"wavenet.{name}": value for name, value in wavenet.state_dict().items()}
