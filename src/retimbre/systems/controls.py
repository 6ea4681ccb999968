"""Controls: what a transfer must beat. They train nothing but two means and spreads."""

import numpy as np
import torch

from retimbre.audio.equaliser import Equaliser
from retimbre.datasets.packed import PackedFeatures


class EqualiserControl:
    """``eq_match``: every bin moved by the difference of the two domains' mean levels; ``eq_affine``:
    moved and stretched, so that mean and standard deviation both match. It has the verbs of every system.
    """

    def __init__(self, equalisers: dict[tuple[str, str], Equaliser], affine: bool):
        self.equalisers, self.affine = equalisers, affine

    @classmethod
    def fit(cls, features: PackedFeatures, representation: str, affine: bool = False) -> "EqualiserControl":
        """From the statistics of the training split, for every pair of domains."""
        statistics, range_db = features.statistics[representation], features.config.range_db
        pairs = [(a, b) for a in features.domains for b in features.domains if a != b]
        return cls({(a, b): Equaliser.between(statistics, a, b, range_db) for a, b in pairs}, affine)

    def transfer(self, level_db: np.ndarray, source: str, target: str) -> np.ndarray:
        """Levels in dB (F, T) of ``source`` to levels (F, T), clipped to the representation's range."""
        equaliser = self.equalisers[source, target]
        db = torch.from_numpy(np.ascontiguousarray(level_db, np.float32))
        return (equaliser.affine(db) if self.affine else equaliser.shift(db)).numpy()
