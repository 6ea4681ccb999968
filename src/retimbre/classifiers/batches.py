"""Labelled windows of recordings for the classifiers' trainings.

Only recordings are ever shown to these networks, never a generator's output. Batch n depends on the
seed and n alone, so a training is the same wherever and in however many pieces it runs.

* :class:`DomainBatches`: which instrument plays? (the instrument classifier, and the *style* classifier).
* :class:`BeyondEqBatches`: a real recording of the target, or an *equalised* recording of another
  instrument? A plain equaliser already fools the style classifier completely, so success with that one
  proves nothing; the *hard* classifier sees past the average spectrum to attack, decay and partials.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from retimbre.audio.equaliser import Equaliser
from retimbre.classifiers.network import LevelMap
from retimbre.datasets.packed.crops import FeatureCrops
from retimbre.datasets.packed.format import PackedFeatures

WINDOW = "classifier.window_frames"
DECODED_FROM = "cqt"  # what the generators change by default, and the vocoders read


class Batches(Protocol):
    """Labelled windows: ``classes`` name the labels, ``batch(step)`` gives dB (B, F, T) and labels (B,)."""

    classes: tuple[str, ...]

    def batch(self, step: int) -> tuple[Tensor, Tensor]: ...


@dataclass(frozen=True)
class Augmentation:
    """Changes of every training window, against brittle cues.

    ``gain_db`` and ``noise_db`` are standard deviations of a random gain per bin and of noise per cell.
    ``decoded``: the classifiers are asked about audio that went through a vocoder, whose magnitudes are
    blurred, whose valleys are filled and whose highest band is guessed. So windows are blurred along time
    and frequency, laid over a random noise floor, given a random broad filter, and some lose their top. It
    is done to both classes alike, so that none of it says anything about the class; without it a decoded,
    equalised source passes for the target in up to three windows of four.
    """

    gain_db: float
    noise_db: float
    decoded: bool = False

    def __call__(self, db: Tensor, rng: np.random.Generator) -> Tensor:
        if self.decoded:
            db = _as_if_decoded(db, rng)
        gain = rng.normal(0, self.gain_db, (*db.shape[:2], 1)) if self.gain_db else 0.0
        noise = rng.standard_normal(db.shape, np.float32) * self.noise_db if self.noise_db else 0.0
        return db + torch.from_numpy(np.asarray(gain + noise, np.float32))


BLUR = 0.33  # most weight of each neighbour in a blur; the passes reach one frame and two bins
FILTER_DB, FILTER_KNOTS = 3.0, 8  # standard deviation and number of knots of the random broad filter
FLOOR_DB = 25.0  # most that the random noise floor lies above the window's lowest level


def _as_if_decoded(db: Tensor, rng: np.random.Generator) -> Tensor:
    """Blur, noise floor, broad filter and missing top, each drawn per window; dB (B, F, T)."""
    batch, bins, frames = db.shape

    def column(values: np.ndarray) -> Tensor:
        return torch.from_numpy(np.asarray(values, np.float32))[:, None, None]

    for axis, size in ((2, frames), (1, bins), (1, bins)):
        weight = column(rng.uniform(0, BLUR, batch) * (rng.random(batch) < 0.5))
        pad = (1, 1, 0, 0) if axis == 2 else (0, 0, 1, 1)
        x = functional.pad(db[:, None], pad, mode="replicate")[:, 0]
        db = weight * (x.narrow(axis, 0, size) + x.narrow(axis, 2, size)) + (1 - 2 * weight) * db
    above = column(rng.uniform(0, FLOOR_DB, batch) * (rng.random(batch) < 0.5))
    db = torch.maximum(db, db.amin(dim=(1, 2), keepdim=True) + above)
    knots = torch.from_numpy(rng.normal(0, FILTER_DB, (batch, 1, FILTER_KNOTS)).astype(np.float32))
    db = db + functional.interpolate(knots, bins, mode="linear", align_corners=True).transpose(1, 2)
    kept = column(np.where(rng.random(batch) < 0.25, rng.uniform(0.6, 1.0, batch), 1.0) * bins)
    return torch.where(torch.arange(bins)[None, :, None] >= kept, db.amin(dim=(1, 2), keepdim=True), db)


class DomainBatches:
    """As many windows of every domain's training split; the label is the domain."""

    def __init__(
        self,
        features: PackedFeatures,
        representation: str,
        domains: Sequence[str],
        frames: int,
        batch_size: int,
        seed: int,
    ):
        self.classes = tuple(domains)
        self.floor = features.statistics[representation]["top_db"] - features.config.range_db
        share = max(1, batch_size // len(domains))
        self.crops = [
            FeatureCrops(features, representation, d, "train", frames, share, seed, stream, parameter=WINDOW)
            for stream, d in enumerate(domains)
        ]

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        parts = [crops.batch(step).clamp(min=self.floor) for crops in self.crops]
        return torch.cat(parts), torch.repeat_interleave(torch.arange(len(parts)), len(parts[0]))


class BeyondEqBatches:
    """Half real windows of ``target`` (label 1), half equalised windows of the other domains (label 0).

    Half of *either* class is decoded: changed as constant-Q levels (the real ones not at all) and taken to
    ``representation`` by a :class:`LevelMap`, because what is asked about went that way: a vocoder gives
    every equalised source something of the target, and that must not pass for a transfer.
    """

    def __init__(
        self,
        features: PackedFeatures,
        representation: str,
        domains: Sequence[str],
        target: str,
        frames: int,
        batch_size: int,
        seed: int,
        decode: LevelMap,
    ):
        self.classes, self.decode = ("equalised", target), decode
        others = [d for d in domains if d != target]
        share = max(1, batch_size // 4 // len(others))  # per source, half of the class each way
        statistics, range_db = features.statistics, features.config.range_db
        # Recordings are clipped to the range before anything is done to them, as equalised ones are: depths
        # of silence that only one class has would tell them apart.
        self.floors = [statistics[r]["top_db"] - range_db for r in (representation, DECODED_FROM)]
        self.seed = seed

        def crops(seen: str, domain: str, count: int, stream: int) -> FeatureCrops:
            return FeatureCrops(
                features, seen, domain, "train", frames, count, seed, stream, parameter=WINDOW
            )

        def both(domain: str, count: int, stream: int) -> list[FeatureCrops]:
            return [crops(r, domain, count, stream + i) for i, r in enumerate((representation, DECODED_FROM))]

        self.equalisers = [
            [Equaliser.between(statistics[r], d, target, range_db) for r in (representation, DECODED_FROM)]
            for d in others
        ]
        self.others = [both(d, share, 2 * i) for i, d in enumerate(others)]
        self.target = both(target, share * len(others), 2 * len(others))

    def _equalised(self, x: Tensor, equaliser: Equaliser, step: int, stream: int) -> Tensor:
        """Spectra equalised by turns as eq_match and eq_affine, some by half only.

        Else the exact filter would be learnt, not the instrument.
        """
        x = x.clamp(equaliser.top_db - equaliser.range_db, equaliser.top_db)
        half = (len(x) + step % 2) // 2  # the odd one out alternates
        equalised = torch.cat([equaliser.shift(x[:half]), equaliser.affine(x[half:])])
        draws = np.random.default_rng([self.seed, 900 + stream, step]).random(len(x), np.float32)
        strength = 1 - 0.5 * torch.from_numpy(draws)[:, None, None].square()
        return x + strength * (equalised - x)

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        negative, positive = [], []
        for crops, equalisers in zip(self.others, self.equalisers, strict=True):
            plain, coded = (
                self._equalised(c.batch(step), e, step, c.stream)
                for c, e in zip(crops, equalisers, strict=True)
            )
            negative += [plain, self.decode(coded)]
        plain, coded = (
            c.batch(step).clamp(min=floor) for c, floor in zip(self.target, self.floors, strict=True)
        )
        positive += [plain, self.decode(coded)]
        false, true = torch.cat(negative), torch.cat(positive)
        return torch.cat([false, true]), torch.cat([torch.zeros(len(false)), torch.ones(len(true))]).long()
