"""Spectra that the classifier takes for the target, near those of the source."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from retimbre.classifiers.network import DB_PER_UNIT
from retimbre.classifiers.optimised import Optimised


class Change(Optimised):
    """Gradient ascent on the target's class (``systems.base.Change``)."""

    def loss(self, source: Tensor, to: str) -> Callable[[Tensor], Tensor]:
        label = torch.full((len(source),), self.targets.index(to), device=source.device)

        def of(x: Tensor) -> Tensor:
            wrong = functional.cross_entropy(self.classifier(x), label, reduction="sum")
            moved = ((x - source) / DB_PER_UNIT).square().mean((1, 2)).sum()
            return wrong + self.config["content"] * moved

        return of
