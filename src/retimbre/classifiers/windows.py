"""Windows of recordings, and the share of them to which a classifier gives a label."""

import numpy as np
import torch
from torch import Tensor

from retimbre.classifiers.network import SpectrumClassifier, probabilities
from retimbre.datasets.packed.format import Excerpt, PackedFeatures


def windows(db: np.ndarray, frames: int, hop: int | None = None) -> Tensor:
    """Spectrum in dB (T, F), as stored -> windows (B, F, frames) every ``hop`` frames (default: no overlap);
    B is 0 when too short.
    """
    starts = range(0, len(db) - frames + 1, hop or frames)
    parts = [torch.from_numpy(np.asarray(db[s : s + frames], np.float32).T.copy()) for s in starts]
    return torch.stack(parts) if parts else torch.zeros(0, db.shape[1], frames)


def first_performances(features: PackedFeatures, domain: str, split: str) -> list[Excerpt]:
    """A domain's excerpts of a split; of paired pieces only the first performance."""
    return [e for e in features.excerpts(domain=domain, split=split) if str(e.performance) in ("", "1")]


def split_windows(
    features: PackedFeatures, representation: str, domain: str, split: str, frames: int
) -> Tensor:
    """All windows (B, F, frames) of a domain's split; of paired pieces only the first performance."""
    excerpts = first_performances(features, domain, split)
    parts = [windows(features.read(e, representation=representation), frames) for e in excerpts]
    return torch.cat(parts) if parts else torch.zeros(0, features.config.bins(representation), frames)


def called(network: SpectrumClassifier, x: Tensor, label: str, sure: float = 0.5) -> Tensor:
    """Mask (B,) of the windows (B, F, T) to which the network gives ``label`` at least probability ``sure``.

    With more than two classes ``label`` must also be the likeliest.
    """
    p, index = probabilities(network, x), network.config.classes.index(label)
    return (p.argmax(dim=1) == index) & (p[:, index] >= sure)


def rate(network: SpectrumClassifier, x: Tensor, label: str, sure: float = 0.5) -> float:
    """Share of the windows (B, F, T) that are :func:`called` ``label``; NaN without windows."""
    return float(called(network, x, label, sure).float().mean())
