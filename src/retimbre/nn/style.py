"""Style as networks' activations have it: the correlations of channels (Gatys, Ecker and Bethge 2016)."""

from torch import Tensor


def gram(x: Tensor) -> Tensor:
    """Means over all places of products of channels: activations (B, C, ...) to (B, C, C)."""
    flat = x.flatten(2)
    return flat @ flat.transpose(1, 2) / flat.shape[2]
