"""Cost that beam search chooses by: distance of unfinished audio from the levels that it should have."""

from collections.abc import Callable

import numpy as np
import torch

from retimbre.audio.cqt import kernel_lengths, quality_factor
from retimbre.audio.features import FeatureConfig, FeatureExtractor, decibels

INNER = 0.6  # of a filter's length, within which a Hann window has 95 % of its energy
SETTLED = 512  # samples after which de-emphasis has forgotten where it began


class LevelCost:
    """Squared distance in dB of levels, summed over all cells (a bin of a frame) of which the audio is known.

    A cell is counted once: as soon as the inner part of its filter lies within the audio made so far, so
    high bins come early and low bins late. Only the audio that new cells depend on is transformed.
    ``level_db`` (F, T), clipped to ``range_db`` below ``top_db``; ``decode`` turns codes (B, n) to audio.
    """

    def __init__(
        self,
        config: FeatureConfig,
        representation: str,
        level_db: np.ndarray,
        top_db: float,
        decode: Callable[[np.ndarray], np.ndarray],
    ):
        self.config, self.representation, self.decode, self.top_db = config, representation, decode, top_db
        self.level_db = np.asarray(level_db, np.float32).clip(top_db - config.range_db, top_db)
        self.extractor = FeatureExtractor(config)
        if representation == "cqt":
            quality = quality_factor(config.cqt_bins_per_octave)
            lengths = kernel_lengths(config.frequencies_hz("cqt"), quality, config.sample_rate)
        else:
            lengths = np.full(config.bins(representation), float(config.stft_n_fft))
        centres = np.arange(self.level_db.shape[1]) * config.hop_length
        self.ready = 0.5 * INNER * lengths[:, None] + centres  # (F, T), samples
        self.reach = int(np.ceil(0.5 * lengths.max()))

    @torch.no_grad()
    def __call__(self, codes: np.ndarray, start: int, ended: bool) -> np.ndarray:
        """Cost (B,), float64, of the cells that became known with samples ``start`` to n of codes (B, n)."""
        n, hop = codes.shape[1], self.config.hop_length
        last = min(n // hop + 1, self.level_db.shape[1])  # frames centred within the audio
        known = np.ones_like(self.ready, bool) if ended else self.ready <= n
        new = (known & (self.ready > (start if start else -1)))[:, :last]
        frames = np.flatnonzero(new.any(0))
        if not len(frames):
            return np.zeros(len(codes))
        begin = max(0, frames[0] * hop - self.reach) // hop
        lead = min(SETTLED, begin * hop)
        audio = np.ascontiguousarray(self.decode(codes[:, begin * hop - lead :])[:, lead:])
        levels = decibels(self.extractor(torch.from_numpy(audio), self.representation)).numpy()
        levels = levels[:, :, frames[0] - begin : frames[-1] + 1 - begin]
        levels = levels.clip(self.top_db - self.config.range_db, self.top_db)
        difference = levels.astype(np.float64) - self.level_db[:, frames[0] : frames[-1] + 1]
        return (difference**2 * new[:, frames[0] : frames[-1] + 1]).sum((1, 2))
