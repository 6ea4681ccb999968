"""The paired test set: items to transfer, with what they are compared with, and outputs."""

from dataclasses import dataclass, replace
from itertools import permutations

import numpy as np

from retimbre.audio.features import FeatureConfig
from retimbre.datasets.packed.format import Excerpt, PackedAudio, PackedFeatures
from retimbre.metrics.notes import Notes

PERFORMANCE, SECOND_PERFORMANCE = "1", "2"
WARM_UP_S = 1.0
UNPAIRED_ITEMS, UNPAIRED_S = 12, 8.0  # recordings per direction, and seconds of each


@dataclass(frozen=True)
class Clip:
    """A recording: ``audio`` (N,), and its spectrum ``level_db`` (F, T) in the systems' representation."""

    audio: np.ndarray
    level_db: np.ndarray


@dataclass(frozen=True)
class Output:
    """An output of a system: ``audio`` (N,), spectrum ``level_db`` (F, T) as it came out of the system (None:
    measured on the audio), and the seconds of computing that it took.
    """

    audio: np.ndarray
    level_db: np.ndarray | None
    seconds: float


@dataclass(frozen=True)
class Item:
    """One piece in one direction.

    ``source`` and ``target`` are the same performance on the two instruments, sample-aligned (``target``
    is None in unpaired data, such as one's own folders); ``oracle`` is a second performance of the score
    on the target instrument (None when there is none), ``unrelated`` another piece on it. ``range``: ``in``
    when its notes lie in the target's range, ``out``, or ``any`` when that is not known
    (:mod:`retimbre.evaluation.bench.ranges` says which). ``score``: the notes that source and target play
    (None when they are not known, see :mod:`retimbre.evaluation.bench.scores`).
    """

    piece: str
    source_domain: str
    target_domain: str
    stratum: str
    source: Clip
    target: Clip | None
    oracle: Clip | None
    unrelated: Clip
    range: str = "any"
    score: Notes | None = None

    @property
    def direction(self) -> str:
        return f"{self.source_domain}_to_{self.target_domain}"

    @property
    def name(self) -> str:
        return f"{self.direction}.{self.piece}"


def first_second(item: Item, config: FeatureConfig) -> Item:
    """The item's beginning, to try a row out on: what is compiled or loaded on first use is not timed."""
    samples = int(WARM_UP_S * config.sample_rate)

    def cut(clip: Clip | None) -> Clip | None:
        if clip is None:
            return None
        frames = config.frames(min(samples, len(clip.audio)))
        return Clip(clip.audio[:samples], clip.level_db[:, :frames])

    clips = ("source", "target", "oracle", "unrelated")
    return replace(item, **{name: cut(getattr(item, name)) for name in clips})


def stratum_of(piece: str) -> str:
    """``poly`` for the chorales of the embedded data, ``mono`` for its tunes, else ``any``."""
    return {"bach": "poly", "ryansMammoth": "mono"}.get(piece.split("-")[0], "any")


def alternating(pieces: list[str]) -> list[str]:
    """The pieces with their strata taking turns, so that the first few stand for all."""
    seen: dict[str, int] = {}
    turn = {}
    for piece in pieces:
        stratum = stratum_of(piece)
        turn[piece] = seen[stratum] = seen.get(stratum, -1) + 1
    return sorted(pieces, key=lambda piece: turn[piece])  # stable: within a turn as given


def load_items(
    audio: PackedAudio, features: PackedFeatures, representation: str, domains: list[str], split: str = "test"
) -> list[Item]:
    """The test set in both directions of the first two domains: every paired piece of ``split``; where
    there is none, the beginnings of up to ``UNPAIRED_ITEMS`` excerpts, without a true target (their ``piece``
    is the excerpt's id).
    """
    frames = {e.id: e for e in features.index}
    paired = bool(audio.excerpts(split=split, performance=PERFORMANCE))
    hop, limit = features.config.hop_length, int(UNPAIRED_S * features.config.sample_rate)

    def clip(excerpt: Excerpt | None) -> Clip | None:
        if excerpt is None:
            return None
        samples = excerpt.length if paired else min(excerpt.length, limit)
        level_db = features.read(frames[excerpt.id], 0, samples // hop + 1, representation)
        return Clip(audio.read(excerpt, 0, samples), np.asarray(level_db, np.float32).T)

    def chosen(domain: str, performance: str) -> dict[str, Excerpt]:
        found = audio.excerpts(domain=domain, split=split, performance=performance)
        return {(e.piece if paired else e.id): e for e in found}

    items = []
    for source, target in permutations(domains[:2]):
        if paired:
            keys = (source, PERFORMANCE), (target, PERFORMANCE), (target, SECOND_PERFORMANCE)
            sources, targets, seconds = (chosen(*key) for key in keys)
            pieces = alternating([piece for piece in sources if piece in targets])
        else:
            sources, targets, seconds = chosen(source, ""), chosen(target, ""), {}
            pieces = list(sources)[:UNPAIRED_ITEMS]
        others = list(targets)
        for i, piece in enumerate(pieces):
            unrelated = others[((others.index(piece) if paired else i) + 1) % len(others)]
            true = targets[piece] if paired else None
            clips = (clip(e) for e in (sources[piece], true, seconds.get(piece), targets[unrelated]))
            items.append(Item(piece, source, target, stratum_of(piece), *clips))
    return items
