"""Controls: what a transfer must beat. They train nothing but two means and spreads."""

import numpy as np

from retimbre.datasets.packed import PackedFeatures


class Equaliser:
    """A fixed filter: every bin moved by the difference of the two domains' mean levels (``eq_match``),
    or moved and stretched so that mean and standard deviation both match (``eq_affine``).

    It has the verbs of every system: ``fit`` takes the training statistics, ``transfer`` changes levels.
    """

    def __init__(self, mean_db: dict[str, np.ndarray], std_db: dict[str, np.ndarray], top_db: float, range_db: float, affine: bool):
        self.mean_db, self.std_db, self.top_db, self.range_db, self.affine = mean_db, std_db, top_db, range_db, affine

    @classmethod
    def fit(cls, features: PackedFeatures, representation: str, affine: bool = False) -> "Equaliser":
        """From the statistics of the training split."""
        s = features.statistics[representation]
        mean, std = ({d: np.asarray(v, np.float32) for d, v in s[key].items()} for key in ("mean_db", "std_db"))
        return cls(mean, std, s["top_db"], features.config.range_db, affine)

    def transfer(self, level_db: np.ndarray, source: str, target: str) -> np.ndarray:
        """Levels in dB (F, T) of ``source`` to levels (F, T), clipped to the representation's range."""
        low = self.top_db - self.range_db
        y = level_db.clip(low, self.top_db) - self.mean_db[source][:, None]
        if self.affine:
            y = y * (self.std_db[target] / np.maximum(self.std_db[source], 1e-3))[:, None]
        return (y + self.mean_db[target][:, None]).clip(low, self.top_db)
