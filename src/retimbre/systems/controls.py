"""Controls: what a transfer must beat. They train nothing but two means and spreads."""

import numpy as np
import torch

from retimbre.audio.equaliser import Equaliser
from retimbre.datasets.packed.format import PackedFeatures
from retimbre.errors import check_target

EQUALISERS = {"eq_match": False, "eq_affine": True}  # by name, whether ``affine``


class EqualiserChange:
    """A change of spectra (see ``base.Change``) between the first two domains. ``eq_match``: every bin moved
    by the difference of the domains' mean levels; ``eq_affine``: moved and stretched, so that mean and
    standard deviation match.
    """

    def __init__(self, features: PackedFeatures, representation: str, affine: bool = False):
        """From the statistics of the training split."""
        statistics = features.statistics[representation]
        self.features, self.representation, self.affine = features.config, representation, affine
        self.top_db: float = statistics["top_db"]
        self.targets = features.domains[:2]
        self.sources = self.targets
        a, b = self.targets
        range_db = features.config.range_db
        ways = ((a, b), (b, a))
        self.to = {target: Equaliser.between(statistics, source, target, range_db) for source, target in ways}

    def transfer(self, spectrum_db: np.ndarray, to: str) -> np.ndarray:
        """Spectrum in dB (F, T) of the other domain to (F, T) of ``to``, within the range."""
        check_target(to, self.targets)
        db = torch.from_numpy(np.ascontiguousarray(spectrum_db, np.float32))
        return (self.to[to].affine(db) if self.affine else self.to[to].shift(db)).numpy()

    def context(self, to: str) -> int:
        return 0

    def stride(self, to: str) -> int:
        return 1
