"""Spectra with the source's content and the target's style, both as a classifier's layers see them."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from retimbre.classifiers.network import SpectrumClassifier
from retimbre.classifiers.optimised import Optimised
from retimbre.nn.style import gram

LAYERS = (2, 5, 8)  # of the classifier's body: behind each convolution's ReLU


def activations(network: SpectrumClassifier, db: Tensor) -> list[Tensor]:
    """Of the three layers, from shallow to deep, for windows (B, F, T) in dB: (B, C, F', T') each."""
    x, found = network.levelled(db), []
    for place, layer in enumerate(network.body[: LAYERS[-1] + 1]):
        x = layer(x)
        if place in LAYERS:
            found.append(x)
    return found


class Styles(nn.Module):
    """Mean Gram matrices of every target's windows, a buffer (targets, C, C) for each layer."""

    def __init__(self, targets: int, channels: int):
        super().__init__()
        for layer in range(len(LAYERS)):
            size = channels * 2**layer
            self.register_buffer(f"layer{layer}", torch.zeros(targets, size, size))

    def of(self, target: int) -> list[Tensor]:
        return [buffer[target] for buffer in self.buffers()]


class Change(Optimised):
    """Optimisation of content and style (``systems.base.Change``).

    Content: squared error of the deepest layer to the source's; style: squared error of the Gram matrices of
    all layers to the target's means. Each is relative to the square of what it should be.
    """

    @classmethod
    def empty(cls, config: dict[str, Any]) -> nn.ModuleDict:
        networks = super().empty(config)
        networks["styles"] = Styles(len(config["targets"]), config["classifier"]["channels"])
        return networks

    def losses(self, x: Tensor, source: Tensor, to: str) -> tuple[Tensor, Tensor]:
        """Content and style loss (B,) of windows (B, F, T), and of what they are made from."""
        with torch.no_grad():
            wanted = activations(self.classifier, source)[-1]
        seen = activations(self.classifier, x)
        content = (seen[-1] - wanted).square().mean((1, 2, 3)) / wanted.square().mean((1, 2, 3)).clamp(
            min=1e-6
        )
        goals = self.networks["styles"].of(self.targets.index(to))
        style = [
            (gram(y) - goal).square().mean((1, 2)) / goal.square().mean()
            for y, goal in zip(seen, goals, strict=True)
        ]
        return content, torch.stack(style).mean(0)

    def loss(self, source: Tensor, to: str) -> Callable[[Tensor], Tensor]:
        def of(x: Tensor) -> Tensor:
            content, style = self.losses(x, source, to)
            return (self.config["content"] * content + self.config["style"] * style).sum()

        return of
