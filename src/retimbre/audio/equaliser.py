"""A fixed filter between two instruments: what a transfer must do more than."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Equaliser:
    """Gives recordings of ``source`` the average spectrum of ``target``, in dB.

    ``mean_db`` and ``std_db`` are (2, F): per-bin statistics of source and target over the training split,
    of levels clipped to [top_db - range_db, top_db].
    """

    mean_db: Tensor
    std_db: Tensor
    top_db: float
    range_db: float

    @classmethod
    def between(cls, statistics: dict, source: str, target: str, range_db: float) -> "Equaliser":
        """From one representation's entry of ``statistics.json``."""
        mean, std = (
            torch.tensor([statistics[k][d] for d in (source, target)], dtype=torch.float32)
            for k in ("mean_db", "std_db")
        )
        return cls(mean, std, float(statistics["top_db"]), range_db)

    def _clip(self, db: Tensor) -> Tensor:
        return db.clamp(self.top_db - self.range_db, self.top_db)

    def shift(self, db: Tensor) -> Tensor:
        """``eq_match``: every bin moved by the difference of the means; (B, F, T) or (F, T)."""
        return self._clip(self._clip(db) + (self.mean_db[1] - self.mean_db[0])[:, None])

    def affine(self, db: Tensor) -> Tensor:
        """``eq_affine``: every bin given the target's mean and standard deviation."""
        scale = self.std_db[1] / self.std_db[0].clamp(min=0.1)
        centred = self._clip(db) - self.mean_db[0][:, None]
        return self._clip(centred * scale[:, None] + self.mean_db[1][:, None])
