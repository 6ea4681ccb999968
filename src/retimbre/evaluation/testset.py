"""The paired test set: what is transferred, and what it is compared with."""

from dataclasses import dataclass

import numpy as np

from retimbre.datasets.packed import Excerpt, PackedAudio, PackedFeatures
from retimbre.errors import RetimbreError

PERFORMANCE, SECOND_PERFORMANCE = "1", "2"


@dataclass(frozen=True)
class Clip:
    """A recording with its features: ``audio`` (N,), ``level_db`` (F, T) of the generators' representation."""

    audio: np.ndarray
    level_db: np.ndarray


@dataclass(frozen=True)
class Item:
    """One piece in one direction.

    ``source`` and ``target`` are the same performance on the two instruments, sample-aligned;
    ``oracle`` is a second performance of the score on the target instrument (None when the data have
    none), ``unrelated`` another piece on it.
    """

    piece: str
    source_domain: str
    target_domain: str
    stratum: str
    source: Clip
    target: Clip
    oracle: Clip | None
    unrelated: Clip

    @property
    def direction(self) -> str:
        return f"{self.source_domain}_to_{self.target_domain}"

    @property
    def name(self) -> str:
        return f"{self.direction}.{self.piece}"


def stratum_of(piece: str) -> str:
    """``poly`` for the chorales of the embedded data, ``mono`` for its tunes, else ``any``."""
    return {"bach": "poly", "ryansMammoth": "mono"}.get(piece.split("-")[0], "any")


def load_items(audio: PackedAudio, features: PackedFeatures, representation: str, domains: list[str], split: str = "test") -> list[Item]:
    """Every paired piece of ``split``, in both directions of the first two domains.

    Raises RetimbreError when the data set has no paired pieces.
    """
    frames = {e.id: e for e in features.index}

    def clip(excerpt: Excerpt | None) -> Clip | None:
        if excerpt is None:
            return None
        level_db = np.asarray(features.read(frames[excerpt.id], representation=representation), np.float32).T
        return Clip(audio.read(excerpt), level_db)

    def by_piece(domain: str, performance: str) -> dict[str, Excerpt]:
        return {e.piece: e for e in audio.excerpts(domain=domain, split=split, performance=performance)}

    items = []
    for source, target in (domains[:2], domains[1::-1]):
        sources, targets, seconds = by_piece(source, PERFORMANCE), by_piece(target, PERFORMANCE), by_piece(target, SECOND_PERFORMANCE)
        pieces = [piece for piece in sources if piece in targets]
        for i, piece in enumerate(pieces):
            other = clip(targets[pieces[(i + 1) % len(pieces)]])
            items.append(Item(piece, source, target, stratum_of(piece), clip(sources[piece]), clip(targets[piece]), clip(seconds.get(piece)), other))
    if not items:
        raise RetimbreError(f"the {split} split has no piece that {domains[0]} and {domains[1]} both play: without a true target only the folder's report can be made.")
    return items
