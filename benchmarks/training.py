"""Cases: training steps at the sizes of params.yaml. Unit: steps per second.

The notes say what a step's time goes into. There is no peer that trains these networks.
"""

from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.timing import Case, Route
from retimbre import params
from retimbre.nn.spectral.discriminators import Discriminator
from retimbre.nn.spectral.generators import Generator, GeneratorConfig
from retimbre.nn.wavenet.network import WaveNet
from retimbre.nn.wavenet.options import WaveNetConfig
from retimbre.systems.cyclegan.step import CycleGanTrainer
from retimbre.training.devices import make_fabric
from retimbre.vocoders.wavenet.train import WaveNetTrainer

PARAMS = Path(__file__).parents[1] / "params.yaml"
PROFILED_STEPS = 5


def training_cases(quick: bool) -> Iterator[Case]:
    p = params.read(PARAMS)
    factors = {"default sizes": (1, 1), "batch x 2": (2, 1), "length x 2": (1, 2)}
    wavenet = ("WaveNet", p.vocoder.wavenet, _wavenet_step)
    for network, section, build in (("CycleGAN", p.model, _cyclegan_step), wavenet):
        for name, (batch, length) in list(factors.items())[: 1 if quick else None]:
            sizes = {"batch_size": section.batch_size * batch, "crop_frames": section.crop_frames * length}
            step = build(p, section.model_copy(update=sizes))
            note = f"time of a step: {_profile(step)}"
            routes = [Route("retimbre", step, 1)]
            yield Case("training step", f"{network}, {name}", "steps/s", routes, None, note=note)


def _cyclegan_step(p: Any, m: Any) -> Callable[[], object]:
    """A CycleGAN's step, of the whole params and the section ``model``."""
    bins = p.features.cqt_bins
    torch.manual_seed(0)
    shape = GeneratorConfig(bins, m.generator, m.generator_channels, m.generator_blocks, m.change_limit)
    generators = torch.nn.ModuleDict({name: Generator(shape) for name in ("ab", "ba")})
    kind = (m.discriminator, m.discriminator_channels)
    discriminators = torch.nn.ModuleDict({name: Discriminator(bins, *kind) for name in ("a", "b")})
    trainer = CycleGanTrainer(generators, discriminators, m, make_fabric("cpu"), 0)
    a, b = torch.rand(2, m.batch_size, bins, m.crop_frames) * 2 - 1

    @torch.enable_grad()
    def step():
        trainer.step(a, b, 0)

    return step


def _wavenet_step(p: Any, v: Any) -> Callable[[], object]:
    """A WaveNet's step, of the whole params and the section ``vocoder.wavenet``."""
    f = p.features
    torch.manual_seed(0)
    sizes = {field.name: getattr(v, field.name) for field in fields(WaveNetConfig) if hasattr(v, field.name)}
    config = WaveNetConfig(f.cqt_bins, f.hop_length, len(p.dataset.domains), **sizes)
    trainer = WaveNetTrainer(WaveNet(config), v, make_fabric("cpu"))
    codes = torch.randint(0, config.codes, (v.batch_size, v.crop_frames * f.hop_length))
    spectrum_db = torch.randn(v.batch_size, f.cqt_bins, v.crop_frames + 1)
    domain = torch.zeros(v.batch_size, dtype=torch.long)

    @torch.enable_grad()
    def step():
        trainer.step(codes, spectrum_db, domain, 0)

    return step


def _profile(step: Callable[[], object]) -> str:
    """Shares of a step's operator time on one thread, the largest first."""
    step()
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        for _ in range(PROFILED_STEPS):
            step()
    times = {event.key: event.self_cpu_time_total for event in profiler.key_averages()}
    total = sum(times.values())
    largest = sorted(times.items(), key=lambda item: -item[1])[:8]
    return ", ".join(f"{name.removeprefix('aten::')} {time / total:.0%}" for name, time in largest)
