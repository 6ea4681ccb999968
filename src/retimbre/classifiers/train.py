"""Training of the instrument classifiers, and of those that evaluation asks what an output sounds like."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from retimbre.classifiers.batches import DECODED_FROM, Augmentation, Batches, BeyondEqBatches, DomainBatches
from retimbre.classifiers.network import ClassifierConfig, LevelMap, SpectrumClassifier
from retimbre.classifiers.panel import REPRESENTATION, Classifiers
from retimbre.classifiers.params import Classifier
from retimbre.datasets.packed.crops import FeatureCrops
from retimbre.datasets.packed.data import Data
from retimbre.datasets.packed.format import PackedFeatures
from retimbre.training.fit import History, Run
from retimbre.training.fit import fit as fit_network
from retimbre.training.timing import part
from retimbre.training.trainer import OneNetwork, linear_rate

# The hard classifiers' question is the hardest: they learn twice as long. The style classifier is soon sure.
STEPS = {"instrument": 1.0, "style": 0.5, "hard": 2.0}  # x classifier.steps
LEVEL_MAP_RATE = 2e-3


class AdamTrainer(OneNetwork):
    """A network and Adam, whose rate falls linearly to zero over the last half of the steps."""

    def __init__(self, network: torch.nn.Module, steps: int, learning_rate: float, run: Run):
        super().__init__(network, torch.optim.Adam(network.parameters(), lr=learning_rate))
        self.steps, self.learning_rate, self.run = steps, learning_rate, run

    def descend(self, loss: Tensor, step: int) -> None:
        factor = linear_rate(step / self.steps, 0.5, lowest=0.0)
        self.optimiser.param_groups[0]["lr"] = self.learning_rate * factor
        with part("backward"):
            self.optimiser.zero_grad()
            self.run.fabric.backward(loss)
        with part("optimiser"):
            self.optimiser.step()


class LevelMapTrainer(AdamTrainer):
    """L1 between the spectra of one representation and what the network makes of another's."""

    def step(self, x: Tensor, y: Tensor, step: int) -> dict[str, Tensor]:
        """Spectra (B, F, T) and (B, F', T) in dB of the same audio."""
        with part("forward"):
            loss = functional.l1_loss(self.network(x), y)
        self.descend(loss, step)
        return {"level_map/l1_db": loss.detach()}


class ClassifierTrainer(AdamTrainer):
    """Cross-entropy; dropout is drawn from torch's global state, seeded by the step: resumable."""

    def __init__(self, name: str, network: SpectrumClassifier, steps: int, learning_rate: float, run: Run):
        super().__init__(network, steps, learning_rate, run)
        self.name = name

    def step(self, x: Tensor, y: Tensor, step: int) -> dict[str, Tensor]:
        """Windows (B, F, T) in dB and labels (B,)."""
        x, y = self.run.fabric.to_device((x, y))
        torch.manual_seed(int(np.random.default_rng([self.run.seed, 998, step]).integers(2**31)))
        with part("forward"):
            with self.run.fabric.autocast():
                logits = self.network(x)
            loss = functional.cross_entropy(logits.float(), y)
        self.descend(loss, step)
        return {
            f"{self.name}/loss": loss.detach(),
            f"{self.name}/accuracy": (logits.argmax(1) == y).float().mean(),
        }


def fit_level_map(features: PackedFeatures, representation: str, steps: int, run: Run) -> LevelMap:
    """Train the stand-in for a vocoder, on the CPU: constant-Q spectra to those of ``representation``."""
    torch.manual_seed(run.seed)
    network = LevelMap(features.config.bins(DECODED_FROM), features.config.bins(representation))
    trainer = LevelMapTrainer(network, steps, LEVEL_MAP_RATE, run)
    floors = {
        r: features.statistics[r]["top_db"] - features.config.range_db for r in (DECODED_FROM, representation)
    }
    # The same seed and stream draw the same places of either representation.
    crops = {
        r: [
            FeatureCrops(features, r, d, "train", 64, 4, run.seed, 100 + i)
            for i, d in enumerate(features.domains)
        ]
        for r in floors
    }

    def draw(step: int) -> list[Tensor]:
        return [
            torch.cat([c.batch(step) for c in crops[r]]).clamp(min=floors[r])
            for r in (DECODED_FROM, representation)
        ]

    fit_network("level_map", steps, trainer, draw, run)
    return network.eval().requires_grad_(False)


def fit_classifier(
    name: str,
    batches: Batches,
    p: Classifier,
    top_db: float,
    range_db: float,
    steps: int,
    augmentation: Augmentation,
    run: Run,
) -> tuple[SpectrumClassifier, History]:
    """Train one network; returns it (evaluation mode, CPU) and its history.

    Raises RetimbreError when the loss is no longer finite.
    """
    torch.manual_seed(run.seed)
    network = SpectrumClassifier(ClassifierConfig(batches.classes, p.channels, top_db, range_db))
    network = network.to(run.fabric.device, memory_format=torch.channels_last)  # a quarter faster on a CPU
    network.train()
    trainer = ClassifierTrainer(name, network, steps, p.learning_rate, run)

    def draw(step: int) -> tuple[Tensor, Tensor]:
        x, y = batches.batch(step)
        return augmentation(x, np.random.default_rng([run.seed, 999, step])), y

    history = fit_network(name, steps, trainer, draw, run)
    return network.cpu().to(memory_format=torch.contiguous_format).eval(), history


def fit_instruments(features: PackedFeatures, p: Classifier, run: Run) -> tuple[SpectrumClassifier, History]:
    """Train one that tells the instruments of all domains apart; returns what ``fit_classifier`` does."""
    size = (p.window_frames, p.batch_size, run.seed)
    batches = DomainBatches(features, p.representation, features.domains, *size)
    scale = (features.statistics[p.representation]["top_db"], features.config.range_db)
    changed = Augmentation(p.gain_jitter_db, p.noise_db)
    return fit_classifier("instrument", batches, p, *scale, p.steps, changed, run)


def fit(data: Data, p: Classifier, run: Run) -> tuple[Classifiers, LevelMap, History]:
    """Train all; returns the classifiers, the stand-in for a vocoder, the instrument classifier's history."""
    features, domains = data.features, data.features.domains
    decode = fit_level_map(features, REPRESENTATION, p.steps, run)
    size = (p.window_frames, p.batch_size)
    batches: dict[str, Batches] = {
        "instrument": DomainBatches(features, p.representation, domains, *size, run.seed),
        "style": DomainBatches(features, REPRESENTATION, domains, *size, run.seed + 1),
        **{
            f"hard_{d}": BeyondEqBatches(features, REPRESENTATION, domains, d, *size, run.seed + 2, decode)
            for d in domains
        },
    }
    networks, histories = {}, {}
    for name, source in batches.items():
        seen = p.representation if name == "instrument" else REPRESENTATION
        augmentation = Augmentation(p.gain_jitter_db, p.noise_db, decoded=name != "instrument")
        scale = (features.statistics[seen]["top_db"], features.config.range_db)
        steps = max(1, round(p.steps * STEPS[name.split("_")[0]]))
        networks[name], histories[name] = fit_classifier(name, source, p, *scale, steps, augmentation, run)
    description = {
        "features": features.config.to_dict(),
        "domains": domains,
        "window_frames": p.window_frames,
        "representation": p.representation,
        "heard_representation": REPRESENTATION,
        "statistics": {
            name: features.statistics[name] for name in sorted({p.representation, REPRESENTATION})
        },
    }
    return Classifiers(networks, description), decode, histories["instrument"]
