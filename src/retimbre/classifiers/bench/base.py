"""The contract of a classifier, and networks behind it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from retimbre.classifiers.bench.windows import Front, Windows

if TYPE_CHECKING:
    from retimbre.training.fit import Run  # what only listens does without


class Classifier(Protocol):
    """Contract of a classifier of windows.

    ``labels``: (B,) integers from 0 to ``outputs`` - 1, or for tags (B, outputs) of 0 and 1.
    """

    outputs: int
    parameters: int | None  # that are learnt; None for what is no network

    def fit(self, windows: Windows, labels: np.ndarray) -> "Classifier": ...

    def predict_proba(self, windows: Windows) -> np.ndarray:
        """Probabilities (B, outputs); they sum to 1 unless these are tags."""
        ...


@dataclass(frozen=True)
class Objective:
    """A loss of outputs (B, K), or of a map of patches (B, K, F, T), and the probabilities of its outputs."""

    loss: Callable[[Tensor, Tensor], Tensor]
    probabilities: Callable[[Tensor, bool], Tensor]  # of outputs, and whether these are tags


def pooled(outputs: Tensor) -> Tensor:
    """The mean over patches: (B, K, ...) -> (B, K)."""
    return outputs.flatten(2).mean(2) if outputs.ndim > 2 else outputs


def _cross_entropy(outputs: Tensor, labels: Tensor) -> Tensor:
    x = pooled(outputs)
    if labels.ndim == 2:
        return functional.binary_cross_entropy_with_logits(x, labels.float())
    return functional.cross_entropy(x, labels)


def _squares(outputs: Tensor, labels: Tensor) -> Tensor:
    """Mean squared difference of every patch to 1 of its class and 0 of the others."""
    wanted = labels if labels.ndim == 2 else functional.one_hot(labels, outputs.shape[1])
    wanted = wanted.float().reshape(*wanted.shape, *[1] * (outputs.ndim - 2))
    return (outputs - wanted).square().mean()


def _shares(outputs: Tensor, tags: bool) -> Tensor:
    """Patches' means as probabilities; what a least-squares output says beyond 0 and 1 is cut."""
    x = pooled(outputs).clamp(1e-6, 1)
    return x if tags else x / x.sum(1, keepdim=True)


def _softmax(outputs: Tensor, tags: bool) -> Tensor:
    return pooled(outputs).sigmoid() if tags else pooled(outputs).softmax(1)


CROSS_ENTROPY = Objective(_cross_entropy, _softmax)
LEAST_SQUARES = Objective(_squares, _shares)


@dataclass(frozen=True)
class Recipe:
    """A network and its training. ``build`` is given the number of outputs.

    A network with a method ``observe`` is shown the training windows (B, ...) first, for its scales.
    """

    heard: Front
    build: Callable[[int], nn.Module]
    steps: int
    batch_size: int = 32
    learning_rate: float = 1e-3
    objective: Objective = CROSS_ENTROPY


class NetworkClassifier:
    """A network behind the contract.

    Adam, whose rate falls over the last half; batches draw classes uniformly, then windows of the class.
    ``run``: where a training's state is kept and logged (default: nowhere), with the seed of everything.
    """

    def __init__(self, recipe: Recipe, outputs: int, seed: int = 0, run: "Run | None" = None):
        self.recipe, self.outputs, self.seed, self.run = recipe, outputs, seed, run
        self.tags = False  # or one class
        torch.manual_seed(seed)
        self.network = recipe.build(outputs)

    @property
    def parameters(self) -> int:
        return sum(p.numel() for p in self.network.parameters())

    def fit(self, windows: Windows, labels: np.ndarray) -> "NetworkClassifier":
        from retimbre.classifiers.bench.training import train

        if len(windows) != len(labels):
            raise ValueError(f"{len(windows)} windows have {len(labels)} labels")
        x = torch.from_numpy(windows.heard(self.recipe.heard))
        if hasattr(self.network, "observe"):
            self.network.observe(x)
        train(self.network, self.recipe, x, np.asarray(labels), self.seed, self.run)
        self.tags = np.ndim(labels) == 2
        return self

    @torch.no_grad()
    def predict_proba(self, windows: Windows) -> np.ndarray:
        self.network.eval()
        x = torch.from_numpy(windows.heard(self.recipe.heard))
        parts = [self.recipe.objective.probabilities(self.network(part), self.tags) for part in x.split(64)]
        return torch.cat(parts).numpy() if len(x) else np.zeros((0, self.outputs), np.float32)
