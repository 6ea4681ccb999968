"""Controls: what a transfer must beat. They train nothing but two means and spreads."""

import numpy as np
import torch

from retimbre.audio.equaliser import Equaliser
from retimbre.datasets.packed.format import PackedFeatures


class EqualiserControl:
    """``eq_match``: every bin moved by the difference of the two domains' mean levels; ``eq_affine``:
    moved and stretched, so that mean and standard deviation both match. The verbs are every system's.
    """

    def __init__(self, to: dict[str, Equaliser], affine: bool):
        self.to, self.affine = to, affine

    @classmethod
    def fit(cls, features: PackedFeatures, representation: str, affine: bool = False) -> "EqualiserControl":
        """From the statistics of the training split, between the first two domains."""
        statistics, range_db = features.statistics[representation], features.config.range_db
        a, b = features.domains[:2]
        return cls({target: Equaliser.between(statistics, source, target, range_db) for source, target in ((a, b), (b, a))}, affine)

    def transfer(self, level_db: np.ndarray, target: str) -> np.ndarray:
        """Levels in dB (F, T) of the other domain to levels (F, T) of ``target``, within the representation's range."""
        db = torch.from_numpy(np.ascontiguousarray(level_db, np.float32))
        return (self.to[target].affine(db) if self.affine else self.to[target].shift(db)).numpy()
