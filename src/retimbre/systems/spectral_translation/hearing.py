"""Spectra that E hears: the project's constant-Q transform, or that of the companded signal as published.

Published (jaeyeun97/MusicalStyleTransfer, original_model.py and base_dataset.py): the continuous mu-law of
the signal, 880 bins of librosa's transform, 120 to the octave from C1; log(1 + magnitude), and every excerpt
scaled to -1..1 by its own extremes.
"""

import math
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from retimbre.audio.cqt import ConstantQ, quality_factor
from retimbre.audio.features import FeatureConfig, network_input, spectrum_of
from retimbre.errors import RetimbreError

LOWEST_HZ, BINS, PER_OCTAVE = 32.7031956626, 880, 120
MU = 255
LOWEST_RATE = 11000  # Hz, from which the highest bin fits
HOP_GRID = 128  # samples: 8 octaves need a hop that is a multiple


class Hearing:
    """``kind``: "cqt" or "companded"; ``top_db``: of the project's transform.

    Raises RetimbreError for features that the companded signal's transform does not fit.
    """

    def __init__(self, kind: str, features: FeatureConfig, top_db: float):
        self.kind, self.features, self.top_db = kind, features, top_db
        rate, hop = features.sample_rate, features.hop_length
        if self.companded and (rate < LOWEST_RATE or hop % HOP_GRID):
            raise RetimbreError(
                f"the parameter hears is companded, which needs an audio.sample_rate of {LOWEST_RATE} "
                f"Hz or more and a features.hop_length that is a multiple of {HOP_GRID}, not {rate} and "
                f"{hop}."
            )

    @property
    def companded(self) -> bool:
        return self.kind == "companded"

    @property
    def bins(self) -> int:
        return BINS if self.companded else self.features.bins("cqt")

    @property
    def longest_window_s(self) -> float:
        """Seconds of audio that the lowest filter hears."""
        return quality_factor(PER_OCTAVE) / LOWEST_HZ if self.companded else self.features.longest_window_s

    def spectrum(self, audio: np.ndarray) -> Tensor:
        """Spectrum (F, T) in -1..1 of audio (N,)."""
        if self.companded:
            c = self.features
            x = torch.from_numpy(np.ascontiguousarray(audio, np.float32))[None]
            return companded_spectra(x, c.sample_rate, c.hop_length)[0]
        return network_input(spectrum_of(audio, self.features, "cqt"), self.top_db, self.features.range_db)


@lru_cache(maxsize=1)  # building the transform takes longer than using it
def _transform(sample_rate: int, hop_length: int) -> ConstantQ:
    return ConstantQ(sample_rate, hop_length, LOWEST_HZ, BINS, PER_OCTAVE)


@torch.no_grad()
def companded_spectra(audio: Tensor, sample_rate: int, hop_length: int) -> Tensor:
    """Spectra (B, 880, T) in -1..1 of audio (B, N), companded."""
    signal = audio.sign() * (MU * audio.abs()).log1p() / math.log1p(MU)
    level = _transform(sample_rate, hop_length).magnitude(signal).log1p()
    low, high = level.amin((1, 2), keepdim=True), level.amax((1, 2), keepdim=True)
    return 2 * (level - low) / (high - low).clamp_min(1e-6) - 1
