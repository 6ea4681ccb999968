"""How well the vocoders that draw samples predict them, and whether they listen to the pitch that they are given.

A falling likelihood says nothing about audio: most of it is earned by short-term prediction. The gap
between the right features and the same moved by a semitone is the number to watch: 0.06 bit was
measured for pitchless noise and 1.04 for a pitch that is kept.
"""

import numpy as np

from retimbre.datasets.packed import PackedAudio, PackedFeatures
from retimbre.systems.vocoder import Vocoder
from retimbre.systems.vocoder_parts import Part

SECONDS = 2.0  # of each excerpt: enough for a stable mean, and quick
Excerpts = list[tuple[np.ndarray, np.ndarray, str]]


def likelihood_figures(model: Vocoder, audio: PackedAudio, features: PackedFeatures, split: str) -> dict[str, float]:
    """For each part that predicts samples (:meth:`Part.nll_bits`): ``<part>_nll_bits``, and by how many bits the likelihood falls
    with the features a semitone up (``<part>_cond_gap_pitch``, log-frequency features only) and with another excerpt's
    (``<part>_cond_gap_other``). Bits depend on pre-emphasis and gain: never compare them across codecs.
    """
    hop, representation = model.features.hop_length, model.representation
    low = model.top_db - model.features.range_db
    frames = {e.id: e for e in features.index}
    excerpts = []
    for excerpt in audio.excerpts(split=split):
        count = min(int(SECONDS * model.features.sample_rate), excerpt.length) // hop
        level_db = np.asarray(features.read(frames[excerpt.id], 0, count + 1, representation), np.float32).T.clip(low, model.top_db)
        excerpts.append((audio.read(excerpt, 0, count * hop), level_db, excerpt.domain))
    return {f"{name}_{figure}": value for name, part in model.parts.items() for figure, value in part_figures(part, excerpts).items()}


def part_figures(part: Part, excerpts: Excerpts) -> dict[str, float]:
    """The figures of one part over excerpts: audio (frames * hop,), levels (F, frames + 1), instrument."""

    def bits(change) -> list[float | None]:
        return [part.nll_bits(x, change(i, level_db), domain, level_db) for i, (x, level_db, domain) in enumerate(excerpts)]

    def other(i: int, level_db: np.ndarray) -> np.ndarray:
        moved = excerpts[(i + 1) % len(excerpts)][1]
        return moved[:, : level_db.shape[1]] if moved.shape[1] >= level_db.shape[1] else level_db

    right = bits(lambda i, level_db: level_db)
    if None in right or not right:
        return {}
    figures = {"nll_bits": np.mean(right), "cond_gap_other": np.mean(bits(other)) - np.mean(right)}
    if part.representation == "cqt":
        semitone = max(1, part.features.cqt_bins_per_octave // 12)
        figures["cond_gap_pitch"] = np.mean(bits(lambda i, level_db: np.roll(level_db, semitone, 0))) - np.mean(right)
    return {name: float(value) for name, value in figures.items()}
