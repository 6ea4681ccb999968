"""CycleGAN on log-magnitude spectra (TimbreTron's and Gupta & Naik's family).

``fit`` trains two generators and two discriminators on unpaired recordings; ``CycleGan.transfer``
turns levels of one domain into levels of the other. Audio comes from ``systems.vocoder``.
"""

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from retimbre.audio.features import FeatureConfig, denormalise, normalise
from retimbre.datasets.packed.crops import FeatureCrops
from retimbre.datasets.packed.format import PackedFeatures
from retimbre.errors import RetimbreError
from retimbre.nn.spectral.discriminators import Discriminator
from retimbre.nn.spectral.generators import Generator, GeneratorConfig
from retimbre.nn.weights import reading, save_weights
from retimbre.params import Model
from retimbre.systems.cyclegan.losses import CycleGanTrainer
from retimbre.systems.cyclegan.selection import Selection, Validation
from retimbre.systems.cyclegan.step import AdversarialTrainer, TrainingConfig
from retimbre.tracking import StageRun
from retimbre.training.checkpoint import Scratch
from retimbre.training.devices import compile_networks, make_fabric
from retimbre.training.fit import Loop
from retimbre.training.gan import PitchClassLevels
from retimbre.training.guards import Guards, measure
from retimbre.training.processes import check_batch

if TYPE_CHECKING:
    from lightning_fabric import Fabric  # seconds to import, which a transfer does without


class CycleGan:
    """A trained pair of generators with all that is needed to use it.

    Attributes: ``domains`` (A, B), ``features`` (FeatureConfig), ``representation``, ``top_db``.
    """

    def __init__(self, generators: nn.ModuleDict, config: dict[str, Any]):
        self.generators, self.config = generators.eval(), config
        self.domains: list[str] = config["domains"]
        self.features = FeatureConfig.from_dict(config["features"])
        self.representation: str = config["representation"]
        self.top_db: float = config["top_db"]
        self.device = next(generators.parameters()).device

    def generator_to(self, target: str) -> nn.Module:
        """The generator that ends in ``target``; RetimbreError if it was not trained for it."""
        if target not in self.domains:
            raise RetimbreError(f"{target!r} is not a domain of the trained model: choose {' or '.join(self.domains)}.")
        return self.generators["ab" if target == self.domains[1] else "ba"]

    @torch.no_grad()
    def transfer(self, level_db: np.ndarray, target: str) -> np.ndarray:
        """Levels in dB (F, T) of the other domain to levels (F, T) of ``target``."""
        z = normalise(torch.from_numpy(np.ascontiguousarray(level_db, np.float32)), self.top_db, self.features.range_db)
        y = self.generator_to(target)(z[None].to(self.device))[0].cpu()
        return denormalise(y, self.top_db, self.features.range_db).numpy()

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        save_weights(folder / "generators.safetensors", self.generators)
        (folder / "config.json").write_text(json.dumps(self.config, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: str | Path) -> "CycleGan":
        """Read what ``save`` wrote. Raises RetimbreError when it is not there."""
        folder = Path(folder)
        with reading(folder, "CycleGAN", "cyclegan"):
            config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
            generators = nn.ModuleDict({name: Generator(GeneratorConfig(**config["generator"])) for name in ("ab", "ba")})
            generators.load_state_dict(load_file(folder / "generators.safetensors"))
            return cls(generators, config)


def build(features: PackedFeatures, p: Model, seed: int, conditional: bool = False) -> tuple[nn.ModuleDict, nn.ModuleDict, dict[str, Any]]:
    """Generators ``ab`` and ``ba``, discriminators ``a`` and ``b`` (that see the source if ``conditional``), and the
    configuration that ``CycleGan`` keeps.
    """
    statistics, domains = features.statistics[p.representation], features.domains[:2]
    bins = features.config.bins(p.representation)
    torch.manual_seed(seed)
    shape = GeneratorConfig(bins, p.generator, p.generator_channels, p.generator_blocks, p.change_limit, p.upsampling, p.residual_output)
    generators = nn.ModuleDict({name: Generator(shape) for name in ("ab", "ba")})
    judge = (bins, p.discriminator, p.discriminator_channels, p.discriminator_scales, p.spectral_norm, conditional)
    discriminators = nn.ModuleDict({name: Discriminator(*judge) for name in ("a", "b")})
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
    """Let the generators begin as the equaliser between the domains: the mean difference of their levels, per bin."""
    mean_a, mean_b = (torch.tensor(config["mean_db"][d], dtype=torch.float32) for d in config["domains"])
    half_range_db = config["features"]["range_db"] / 2
    generators["ab"].offset.copy_((mean_b - mean_a) / half_range_db)
    generators["ba"].offset.copy_((mean_a - mean_b) / half_range_db)


def crops_of(features: PackedFeatures, p: Model, seed: int, fabric: "Fabric") -> list[FeatureCrops]:
    """Random crops of the two domains' training splits, this process's share of every batch."""
    check_batch(p.batch_size, fabric, "model.batch_size")
    part = (fabric.global_rank, fabric.world_size)
    return [
        FeatureCrops(features, p.representation, domain, "train", p.crop_frames, p.batch_size, seed, stream, part, "model.crop_frames")
        for stream, domain in enumerate(features.domains[:2])
    ]


def prepare(
    kind: type[AdversarialTrainer], features: PackedFeatures, p: Model, seed: int, fabric: "Fabric"
) -> tuple[AdversarialTrainer, CycleGan]:
    """The trainer of new networks, and the model whose generators are its average."""
    generators, discriminators, config = build(features, p, seed, kind.conditional)
    if p.start_at_eq:
        start_at_eq(generators, config)
    knobs = {name: getattr(p, name) for name in TrainingConfig.__annotations__}
    c = features.config
    content = PitchClassLevels(c.cqt_bins, c.cqt_bins_per_octave, c.range_db) if p.lambda_content else None
    trainer = kind(generators, discriminators, TrainingConfig(**knobs), fabric, seed, content)
    compile_networks(p.compile, [*generators.values(), *discriminators.values()])
    return trainer, CycleGan(trainer.ema.module, config)


def train(
    name: str,
    trainer: AdversarialTrainer,
    model: CycleGan,
    draw: Callable[[int], tuple[Tensor, Tensor]],
    features: PackedFeatures,
    p: Model,
    scratch: Scratch | None,
    run: StageRun | None,
) -> list[dict[str, float]]:
    """Run the training of ``model``, whose generators are the trainer's average; returns the history.

    ``draw(n)``: the n-th batch of each domain, levels (B, F, T) in dB; a step takes ``p.discriminator_steps`` of them.
    """
    validation = Validation(features, p.representation, model.domains)
    if validation.empty and p.select == "best" and trainer.fabric.is_global_zero:
        said = "model.select is best, but there are no validation pieces: the last step is kept"
        print(f"warning: {name}: {said}.", file=sys.stderr, flush=True)
    selection = Selection("last" if validation.empty else p.select, trainer.ema.module)
    guards = Guards(name, p.steps, p.log_every, p.guard_action, p.guard_balance)

    def validate() -> dict[str, float]:
        figures = validation.figures(model.transfer)
        selection.offer(loop.done, figures)
        return figures

    def state() -> dict[str, Any]:
        return {"trainer": trainer.state_dict(), "selection": selection.state_dict()}

    def restore(saved: dict[str, Any]) -> None:
        trainer.load_state_dict(saved["trainer"])
        selection.load_state_dict(saved["selection"])

    def crops(number: int) -> list[Tensor]:
        return [normalise(x, model.top_db, model.features.range_db) for x in draw(number)]

    def batches(step: int) -> list[list[Tensor]]:
        return [crops(number) for number in range(step * p.discriminator_steps, (step + 1) * p.discriminator_steps)]

    def watched(step: int, *pair: Tensor) -> Sequence[Tensor]:
        """What the guards measure: the step's crops, and another beside a single one, which has nothing to differ from."""
        if len(pair[0]) > 1:
            return pair
        others = crops(p.steps * p.discriminator_steps + step)  # of numbers that no step draws
        return [torch.cat([x, other.to(x.device)]) for x, other in zip(pair, others, strict=True)]

    check = None if validation.empty else validate
    loop = Loop(name, p.steps, scratch, run, state, restore, check, p.log_every, p.checkpoint_every, guards, trainer.fabric)
    batch = loop.ahead(batches)
    for step in loop:
        (a, b), *more = [[x.to(model.device) for x in pair] for pair in batch(step)]
        trainer.discriminator_rate = guards.discriminator_rate
        loop.add(trainer.step(a, b, step, more))
        if loop.logs(step):
            loop.add(measure(trainer.generators, trainer.discriminators, *watched(step, a, b), model.features.range_db))
    if loop.leads and (chosen := selection.apply()):
        loop.history.append({"step": p.steps, **chosen})
    return loop.curves()


def fit(
    features: PackedFeatures, p: Model, seed: int, scratch: Scratch | None, run: StageRun | None, fabric: "Fabric | None" = None
) -> tuple[CycleGan, list[dict[str, float]]]:
    """Train on the first two domains of ``features``; returns the model (moving average of the generators, of the step that
    ``p.select`` says) and the history. Continues from ``scratch`` if an interrupted training lies there.
    """
    fabric = fabric or make_fabric(p.accelerator, p.devices, p.precision, p.nodes)
    trainer, model = prepare(CycleGanTrainer, features, p, seed, fabric)
    crops = crops_of(features, p, seed, fabric)
    curves = train("cyclegan", trainer, model, lambda number: tuple(c.batch(number) for c in crops), features, p, scratch, run)
    return model, curves
