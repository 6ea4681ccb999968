"""CycleGAN on log-magnitude spectra (TimbreTron's and Gupta & Naik's family).

``fit`` trains two generators and two discriminators on unpaired recordings; ``CycleGan.transfer``
turns levels of one domain into levels of the other. Audio comes from ``systems.vocoder``.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn

from retimbre.audio.features import FeatureConfig, denormalise, normalise
from retimbre.datasets.crops import FeatureCrops
from retimbre.datasets.packed import PackedFeatures
from retimbre.errors import RetimbreError
from retimbre.models.cyclegan import Discriminator, Generator, GeneratorConfig
from retimbre.models.storage import reading, save_weights
from retimbre.params import Model
from retimbre.tracking import StageRun
from retimbre.training.checkpoint import Scratch
from retimbre.training.cyclegan import CycleGanTrainer, TrainingConfig
from retimbre.training.devices import make_fabric
from retimbre.training.loop import Loop


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


def paired_pieces(features: PackedFeatures, representation: str, domains: list[str], split: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """Levels (F, T) of every piece of ``split`` that both domains play, sample-aligned."""
    pairs = []
    second = {(e.piece, e.performance): e for e in features.excerpts(domain=domains[1], split=split, performance="1")}
    for first in features.excerpts(domain=domains[0], split=split, performance="1"):
        if other := second.get((first.piece, first.performance)):
            pairs.append(tuple(np.asarray(features.read(e, representation=representation), np.float32).T for e in (first, other)))
    return pairs


def validation_figures(model: CycleGan, pairs: list[tuple[np.ndarray, np.ndarray]]) -> dict[str, float]:
    """Mean log-spectral distance in dB of the transferred validation pieces to the true target."""
    floor = model.top_db - model.features.range_db
    figures = {}
    for name, source, target in (("ab", 0, 1), ("ba", 1, 0)):
        distances = []
        for pair in pairs:
            out = model.transfer(pair[source], model.domains[target])
            true = np.clip(pair[target], floor, model.top_db)
            distances.append(np.sqrt(((out - true) ** 2).mean(0)).mean())
        figures[f"validation/feature_lsd_{name}"] = float(np.mean(distances))
    return figures


def fit(features: PackedFeatures, p: Model, seed: int, scratch: Scratch, run: StageRun) -> tuple[CycleGan, list[dict[str, float]]]:
    """Train on the first two domains of ``features``; returns the model (moving average of the
    generators) and the history. Continues from ``scratch`` if an interrupted training lies there.
    """
    fabric = make_fabric(p.accelerator, 1, p.precision)
    config: FeatureConfig = features.config
    statistics = features.statistics[p.representation]
    domains = features.domains[:2]
    bins, top_db = config.bins(p.representation), statistics["top_db"]
    torch.manual_seed(seed)
    shape = GeneratorConfig(bins, p.generator, p.generator_channels, p.generator_blocks, p.change_limit)
    generators = nn.ModuleDict({name: Generator(shape) for name in ("ab", "ba")})
    discriminators = nn.ModuleDict({name: Discriminator(bins, p.discriminator, p.discriminator_channels) for name in ("a", "b")})
    if p.start_at_eq:
        mean_a, mean_b = (torch.tensor(statistics["mean_db"][d], dtype=torch.float32) for d in domains)
        with torch.no_grad():
            generators["ab"].offset.copy_((mean_b - mean_a) * 2 / config.range_db)
            generators["ba"].offset.copy_((mean_a - mean_b) * 2 / config.range_db)

    trainer = CycleGanTrainer(
        generators, discriminators, TrainingConfig(**{k: getattr(p, k) for k in TrainingConfig.__annotations__}), fabric, seed
    )
    model = CycleGan(
        trainer.ema.module,
        {
            "domains": domains,
            "representation": p.representation,
            "generator": shape.to_dict(),
            "features": config.to_dict(),
            "top_db": top_db,
            "mean_db": {d: statistics["mean_db"][d] for d in domains},
        },
    )
    pairs = paired_pieces(features, p.representation, domains, "validation")
    crops = [
        FeatureCrops(features, p.representation, d, "train", p.crop_frames, p.batch_size, seed, stream) for stream, d in enumerate(domains)
    ]
    loop = Loop(
        "cyclegan",
        p.steps,
        scratch,
        run,
        trainer.state_dict,
        trainer.load_state_dict,
        (lambda: validation_figures(model, pairs)) if pairs else None,
        p.log_every,
        p.checkpoint_every,
    )
    batch = loop.ahead(lambda step: [normalise(c.batch(step), top_db, config.range_db) for c in crops])
    for step in loop:
        a, b = (x.to(fabric.device) for x in batch(step))
        loop.add(trainer.step(a, b, step))
    return model, loop.curves()
