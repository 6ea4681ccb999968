"""Training of the networks: uniform draws of classes, Adam, resumable."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from retimbre.classifiers.train import AdamTrainer
from retimbre.training.devices import make_fabric
from retimbre.training.fit import Run, fit
from retimbre.training.timing import part

if TYPE_CHECKING:
    from retimbre.classifiers.bench.base import Recipe  # which trains by this module


class _Trainer(AdamTrainer):
    """Dropout is drawn from torch's global state, seeded by the step: resumable."""

    def __init__(self, network: nn.Module, recipe: "Recipe", run: Run):
        super().__init__(network, recipe.steps, recipe.learning_rate, run)
        self.loss = recipe.objective.loss

    def step(self, x: Tensor, y: Tensor, step: int) -> dict[str, Tensor]:
        x, y = self.run.fabric.to_device((x, y))
        torch.manual_seed(int(np.random.default_rng([self.run.seed, 998, step]).integers(2**31)))
        with part("forward"):
            loss = self.loss(self.network(x), y)
        self.descend(loss, step)
        return {"bench/loss": loss.detach()}


def draws(labels: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Numbers of ``count`` windows: classes uniformly, then windows of the class; of tags any windows."""
    if labels.ndim == 2:
        return rng.integers(len(labels), size=count)
    members = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    return np.array([rng.choice(members[n]) for n in rng.integers(len(members), size=count)])


def train(
    network: nn.Module, recipe: "Recipe", x: Tensor, labels: np.ndarray, seed: int, run: Run | None
) -> None:
    """Train a network in place on windows ``x`` (B, ...) and ``labels``; it ends on the CPU, evaluating."""
    run = run or Run(seed, make_fabric("cpu"))
    y = torch.from_numpy(labels)
    # twice as fast on a CPU
    network.to(run.fabric.device, memory_format=torch.channels_last).train()
    trainer = _Trainer(network, recipe, run)

    def draw(step: int) -> tuple[Tensor, Tensor]:
        picked = draws(labels, recipe.batch_size, np.random.default_rng([run.seed, 997, step]))
        return x[picked], y[picked]

    fit("bench", recipe.steps, trainer, draw, run)
    network.cpu().to(memory_format=torch.contiguous_format).eval()
