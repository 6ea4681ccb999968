"""Cases: training steps at the default sizes of params.yaml. Unit: steps per second; the notes say what a step's time goes into.

There is no peer that trains these networks; the ratios compare what the steps do with the same without it.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.timing import Case, Route
from retimbre import params
from retimbre.nn.spectral.discriminators import Discriminator
from retimbre.nn.spectral.generators import Generator, GeneratorConfig
from retimbre.nn.wavenet.network import WaveNet, WaveNetConfig
from retimbre.systems.cyclegan.losses import CycleGanTrainer
from retimbre.systems.cyclegan.step import TrainingConfig
from retimbre.training.devices import make_fabric
from retimbre.vocoders.steps import WaveNetTrainer

PARAMS = Path(__file__).parents[1] / "params.yaml"
PROFILED_STEPS = 5


def training_cases(quick: bool) -> Iterator[Case]:
    p = params.read(PARAMS)
    shapes = {"default sizes": {}} if quick else {"default sizes": {}, "batch x 2": {"batch": 2}, "length x 2": {"length": 2}}
    for name, factor in shapes.items():
        yield _case("CycleGAN", name, _cyclegan_step(p, **factor), quick)
    for name, factor in shapes.items():
        yield _case("WaveNet", name, _wavenet_step(p, **factor), quick)


def _case(network: str, name: str, step: Callable[[], object], quick: bool) -> Case:
    note = f"time of a step: {_profile(step)}"
    return Case("training step", f"{network}, {name}", "steps/s", [Route("retimbre", step, 1)], None, note=note)


def _cyclegan_step(p: params.Params, batch: int = 1, length: int = 1) -> Callable[[], object]:
    m, bins = p.model, p.features.cqt_bins
    torch.manual_seed(0)
    shape = GeneratorConfig(bins, m.generator, m.generator_channels, m.generator_blocks, m.change_limit)
    generators = torch.nn.ModuleDict({name: Generator(shape) for name in ("ab", "ba")})
    discriminators = torch.nn.ModuleDict({name: Discriminator(bins, m.discriminator, m.discriminator_channels) for name in ("a", "b")})
    config = TrainingConfig(**{name: getattr(m, name) for name in TrainingConfig.__annotations__})
    trainer = CycleGanTrainer(generators, discriminators, config, make_fabric("cpu"), 0)
    a, b = torch.rand(2, m.batch_size * batch, bins, m.crop_frames * length) * 2 - 1

    @torch.enable_grad()
    def step():
        trainer.step(a, b, 0)

    return step


def _wavenet_step(p: params.Params, batch: int = 1, length: int = 1) -> Callable[[], object]:
    v, f = p.vocoder, p.features
    torch.manual_seed(0)
    config = WaveNetConfig(
        f.cqt_bins, f.hop_length, len(p.dataset.domains), v.wavenet_layers, v.wavenet_layers_per_stack, v.wavenet_kernel,
        v.wavenet_residual_channels, v.wavenet_skip_channels, v.wavenet_conditioning_channels,
    )  # fmt: skip
    trainer = WaveNetTrainer(WaveNet(config), 1000, v.wavenet_learning_rate, make_fabric("cpu"))
    B, T = v.wavenet_batch_size * batch, v.wavenet_crop_frames * length
    codes, level_db = torch.randint(0, 256, (B, T * f.hop_length)), torch.randn(B, f.cqt_bins, T + 1)
    domain = torch.zeros(B, dtype=torch.long)

    @torch.enable_grad()
    def step():
        trainer.step(codes, level_db, domain, 0)

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
