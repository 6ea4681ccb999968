"""Windows of recordings, and the share of them to which a classifier gives a label."""

import numpy as np
import torch
from torch import Tensor

from retimbre.classifiers.network import SpectrumClassifier, probabilities
from retimbre.datasets.packed.format import PackedFeatures


def windows(db: np.ndarray, frames: int, hop: int | None = None) -> Tensor:
    """(T, F) levels as stored -> windows (B, F, frames) every ``hop`` frames (default: no overlap); B is 0 when too short."""
    starts = range(0, len(db) - frames + 1, hop or frames)
    parts = [torch.from_numpy(np.asarray(db[s : s + frames], np.float32).T.copy()) for s in starts]
    return torch.stack(parts) if parts else torch.zeros(0, db.shape[1], frames)


def split_windows(features: PackedFeatures, representation: str, domain: str, split: str, frames: int) -> Tensor:
    """All windows (B, F, frames) of a domain's split; of paired pieces only the first performance."""
    excerpts = [e for e in features.excerpts(domain=domain, split=split) if str(e.performance) in ("", "1")]
    parts = [windows(features.read(e, representation=representation), frames) for e in excerpts]
    return torch.cat(parts) if parts else torch.zeros(0, features.config.bins(representation), frames)


def rate(network: SpectrumClassifier, x: Tensor, label: str, sure: float = 0.5) -> float:
    """Share of the windows (B, F, T) to which the network gives ``label`` a probability of at least ``sure``; NaN without windows.

    With more than two classes ``label`` must also be the likeliest.
    """
    if not len(x):
        return float("nan")
    p, index = probabilities(network, x), network.config.classes.index(label)
    return float(((p.argmax(dim=1) == index) & (p[:, index] >= sure)).float().mean())
