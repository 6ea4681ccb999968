"""Training of spectral generators against discriminators: networks, crops, guards, choice of the step."""

import sys
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from retimbre.audio.features import normalise
from retimbre.datasets.packed.crops import FeatureCrops
from retimbre.datasets.packed.data import Data
from retimbre.datasets.packed.format import PackedFeatures
from retimbre.nn.spectral.discriminators import Discriminator
from retimbre.nn.spectral.generators import Generator, GeneratorConfig
from retimbre.systems.cyclegan.params import Adversarial, Params
from retimbre.systems.cyclegan.selection import Selection, Validation
from retimbre.systems.cyclegan.step import AdversarialTrainer, CycleGanTrainer
from retimbre.systems.cyclegan.system import Change
from retimbre.training import fit as loop
from retimbre.training.gan import PitchClassLevels
from retimbre.training.guards import Guards, measure
from retimbre.training.processes import average, check_batch

WATCH_EVERY = 20  # steps between two looks of the guards


def fit(data: Data, p: Params, run: loop.Run) -> tuple[Change, loop.History]:
    """Train on the first two domains; returns the change (the moving average of the generators, of the step
    that ``p.select`` says) and the history. Continues from ``run.scratch`` if an interrupted training lies
    there.
    """
    return fit_unpaired("cyclegan", CycleGanTrainer, data, p, run)


def fit_unpaired(
    name: str, kind: type[AdversarialTrainer], data: Data, p: Adversarial, run: loop.Run
) -> tuple[Change, loop.History]:
    """Train by any trainer on crops that are drawn from each domain for itself; else as ``fit``."""
    features = data.features
    trainer, change = prepare(kind, features, p, run)
    check_batch(p.batch_size, run.fabric, f"{p.section}.batch_size")
    part = (run.fabric.global_rank, run.fabric.world_size)
    size, last = (p.crop_frames, p.batch_size, run.seed), (part, f"{p.section}.crop_frames")
    crops = [
        FeatureCrops(features, p.representation, domain, "train", *size, stream, *last)
        for stream, domain in enumerate(features.domains[:2])
    ]

    def draw(number: int) -> list[Tensor]:
        return [c.batch(number) for c in crops]

    return change, train(name, trainer, change, draw, features, p, run)


def build(
    features: PackedFeatures, p: Adversarial, seed: int, conditional: bool = False
) -> tuple[nn.ModuleDict, nn.ModuleDict, dict[str, Any]]:
    """Generators ``ab`` and ``ba``, discriminators ``a`` and ``b`` (that see the source if ``conditional``),
    and the configuration that ``Change`` keeps.
    """
    statistics, domains = features.statistics[p.representation], features.domains[:2]
    bins = features.config.bins(p.representation)
    torch.manual_seed(seed)
    body = (p.generator, p.generator_channels, p.generator_blocks)
    shape = GeneratorConfig(bins, *body, p.change_limit, p.upsampling, p.residual_output)
    generators = nn.ModuleDict({name: Generator(shape) for name in ("ab", "ba")})
    size = (p.discriminator_channels, p.discriminator_scales, p.spectral_norm)
    discriminators = nn.ModuleDict(
        {name: Discriminator(bins, p.discriminator, *size, conditional) for name in ("a", "b")}
    )
    config = {
        "domains": domains,
        "representation": p.representation,
        "generator": shape.to_dict(),
        "features": features.config.to_dict(),
        "top_db": statistics["top_db"],
        "mean_db": {d: statistics["mean_db"][d] for d in domains},
    }
    return generators, discriminators, config


@torch.no_grad()
def start_at_eq(generators: nn.ModuleDict, config: dict[str, Any]) -> None:
    """Let the generators begin as the equaliser between the domains: their mean spectra's difference."""
    mean_a, mean_b = (torch.tensor(config["mean_db"][d], dtype=torch.float32) for d in config["domains"])
    half_range_db = config["features"]["range_db"] / 2
    generators["ab"].offset.copy_((mean_b - mean_a) / half_range_db)
    generators["ba"].offset.copy_((mean_a - mean_b) / half_range_db)


def prepare(
    kind: type[AdversarialTrainer], features: PackedFeatures, p: Adversarial, run: loop.Run
) -> tuple[AdversarialTrainer, Change]:
    """The trainer of new networks, and the change whose generators are its average."""
    generators, discriminators, config = build(features, p, run.seed, kind.conditional)
    if p.start_at_eq:
        start_at_eq(generators, config)
    c = features.config
    content = PitchClassLevels(c.frequencies_hz("cqt"), c.range_db) if p.lambda_content else None
    trainer = kind(generators, discriminators, p, run.fabric, run.seed, content)
    return trainer, Change(trainer.ema.module, config)


def train(
    name: str,
    trainer: AdversarialTrainer,
    change: Change,
    draw: Callable[[int], Sequence[Tensor]],
    features: PackedFeatures,
    p: Adversarial,
    run: loop.Run,
) -> loop.History:
    """Run the training of ``change``, whose generators are the trainer's average; returns the history.

    ``draw(n)``: the n-th batch of each domain, spectra (B, F, T) in dB; a step takes
    ``p.discriminator_steps`` of them.
    """
    validation = Validation(features, p.representation, change.targets)
    if validation.empty and p.select == "best" and run.leads:
        said = f"{p.section}.select is best, but there are no validation pieces: the last step is kept"
        print(f"warning: {name}: {said}.", file=sys.stderr, flush=True)
    selection = Selection("last" if validation.empty else p.select, trainer.ema.module, f"{p.section}.select")
    guards = Guards(name, p.section, p.steps, WATCH_EVERY, p.guard_action, p.guard_balance, speaks=run.leads)

    def crops(number: int) -> list[Tensor]:
        return [normalise(x, change.top_db, change.features.range_db) for x in draw(number)]

    def batches(step: int) -> list[list[Tensor]]:
        first = step * p.discriminator_steps
        return [crops(number) for number in range(first, first + p.discriminator_steps)]

    def take(batch: list[list[Tensor]], step: int) -> dict[str, Tensor]:
        (a, b), *more = [[x.to(change.device) for x in pair] for pair in batch]
        trainer.discriminator_rate = guards.discriminator_rate
        return trainer.step(a, b, step, more)

    def watch(batch: list[list[Tensor]], step: int) -> dict[str, Tensor]:
        """Figures of the guards on the step's crops; a single one is given another to differ from."""
        if (step + 1) % WATCH_EVERY and step + 1 < p.steps:
            return {}
        pair = batch[0]
        if len(pair[0]) < 2:
            others = crops(p.steps * p.discriminator_steps + step)  # of numbers that no step draws
            pair = [torch.cat([x, other]) for x, other in zip(pair, others, strict=True)]
        a, b = (x.to(change.device) for x in pair)
        seen = measure(trainer.generators, trainer.discriminators, a, b, change.features.range_db)
        seen = average(run.fabric, seen)
        with run.together():
            guards.watch(step + 1, {name: float(value) for name, value in seen.items()})
        return seen

    def validate(done: int) -> dict[str, float]:
        figures = validation.figures(change.transfer)
        selection.offer(done, figures)
        return figures

    options = {"validate": None if validation.empty else validate, "hold": lambda: guards.suspicious}
    also = {"selection": selection, "guards": guards}
    history = loop.fit(name, p.steps, trainer, batches, run, step=take, watch=watch, also=also, **options)
    if run.leads and (chosen := selection.apply()):
        history.append({"step": p.steps, **chosen})
    return history
