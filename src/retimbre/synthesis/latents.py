"""Ways between points of a space of noise."""

import torch
from torch import Tensor


def slerp(start: Tensor, end: Tensor, share: float) -> Tensor:
    """Latents (n, Z), a ``share`` in 0..1 of the way from ``start`` to ``end`` (n, Z) over the sphere.

    Normal noise of many dimensions lies near a sphere, which a straight way leaves (White 2016). Lengths are
    interpolated; latents of one direction, or of opposite ones, are joined by a straight line.
    """
    lengths = [x.norm(dim=-1, keepdim=True) for x in (start, end)]
    cosine = (start * end).sum(-1, keepdim=True) / (lengths[0] * lengths[1]).clamp_min(1e-12)
    angle = torch.arccos(cosine.clamp(-1, 1))
    sine = angle.sin()
    straight = sine.abs() < 1e-4
    whole = torch.where(straight, torch.ones_like(sine), sine)
    parts = [
        torch.where(straight, straight_share, (straight_share * angle).sin() / whole)
        for straight_share in (torch.full_like(angle, 1 - share), torch.full_like(angle, share))
    ]
    unit = [x / length.clamp_min(1e-12) for x, length in zip((start, end), lengths, strict=True)]
    return torch.lerp(*lengths, share) * (parts[0] * unit[0] + parts[1] * unit[1])
