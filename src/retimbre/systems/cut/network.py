"""Features of a generator's own layers, and the loss that holds output and input together (PatchNCE)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from retimbre.nn.spectral.generators import Generator
from retimbre.nn.spectral.resnet import picture


class Encoder:
    """``layers`` layers of a generator's body, spread evenly over its first half (``resnet1d``, which halves
    nothing: over all of it).
    """

    def __init__(self, generator: Generator, layers: int):
        self.generator, self.flat = generator, generator.config.kind == "resnet1d"
        count = len(generator.body.inner)
        deepest = count - 1 if self.flat else count // 2
        self.places = {round(float(place)) for place in torch.linspace(0, deepest, layers)}

    def __call__(self, x: Tensor) -> list[Tensor]:
        """Activations (B, C, ...) of a spectrum (B, F, T), one for each layer."""
        if not self.generator.config.residual_output:
            x = x + self.generator.offset[:, None]
        y, found = x if self.flat else picture(x, 4, 4), []
        for place, stage in enumerate(self.generator.body.inner[: max(self.places) + 1]):
            y = stage(y)
            if place in self.places:
                found.append(y)
        return found


class Heads(nn.Module):
    """One perceptron of two layers per layer of the encoder: (B, P, C) to unit vectors (B, P, channels)."""

    def __init__(self, sizes: Sequence[int], channels: int):
        super().__init__()
        self.heads = nn.ModuleList(
            nn.Sequential(nn.Linear(size, channels), nn.ReLU(), nn.Linear(channels, channels))
            for size in sizes
        )

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        pairs = zip(self.heads, features, strict=True)
        return [functional.normalize(head(x), dim=-1) for head, x in pairs]


def draw_places(features: Sequence[Tensor], places: int, generator: torch.Generator) -> list[Tensor]:
    """Random places (P,) of each layer's activations (B, C, ...); P is the smaller of ``places`` and what
    there is.
    """
    counts = [x.shape[2:].numel() for x in features]
    return [torch.randperm(count, generator=generator)[:places] for count in counts]


def at_places(features: Sequence[Tensor], places: Sequence[Tensor]) -> list[Tensor]:
    """Each layer's activations (B, C, ...) at its places (P,), the same in all examples: (B, P, C)."""
    flat = [x.flatten(2).transpose(1, 2) for x in features]
    return [x[:, place.to(x.device)] for x, place in zip(flat, places, strict=True)]


def patch_nce(query: Tensor, key: Tensor, temperature: float) -> Tensor:
    """Cross-entropy, in nats, of finding a query's own place among the keys of its example.

    Unit vectors (B, P, C) of the output and of the input; log P when nothing is known. Keys have no
    gradient, and other examples are no negatives.
    """
    logits = query @ key.detach().transpose(1, 2) / temperature  # (B, P, P)
    truth = torch.arange(logits.shape[1], device=logits.device).expand(logits.shape[:2])
    return functional.cross_entropy(logits.flatten(0, 1).float(), truth.flatten())
