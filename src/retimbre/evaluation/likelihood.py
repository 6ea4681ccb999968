"""How well the vocoders that draw samples predict them, and whether they listen to the pitch that they are given.

A falling likelihood says nothing about audio: most of it is earned by short-term prediction. The gap
between the right features and the same moved by a semitone is the number to watch: 0.06 bit was
measured for pitchless noise and 1.04 for a pitch that is kept.
"""

from functools import partial

import numpy as np

from retimbre.datasets.packed import PackedAudio, PackedFeatures
from retimbre.evaluation.processes import Map
from retimbre.systems.vocoder import Vocoder
from retimbre.systems.vocoder_parts import Part

SECONDS = 2.0  # of each excerpt: enough for a stable mean, and quick
Excerpt = tuple[np.ndarray, np.ndarray, str]  # audio (frames * hop,), levels (F, frames + 1), instrument


def likelihood_figures(model: Vocoder, audio: PackedAudio, features: PackedFeatures, split: str, over: Map = map) -> dict[str, float]:
    """For each part that predicts samples (:meth:`Part.nll_bits`): ``<part>_nll_bits``, and by how many bits the likelihood falls
    with the features a semitone up (``<part>_cond_gap_pitch``, log-frequency features only) and with another excerpt's
    (``<part>_cond_gap_other``). Bits depend on pre-emphasis and gain: never compare them across codecs.
    ``over``: what maps over the excerpts, such as :func:`retimbre.evaluation.processes.side_by_side`.
    """
    hop, representation = model.features.hop_length, model.representation
    low = model.top_db - model.features.range_db
    frames = {e.id: e for e in features.index}
    excerpts = []
    for excerpt in audio.excerpts(split=split):
        count = min(int(SECONDS * model.features.sample_rate), excerpt.length) // hop
        level_db = np.asarray(features.read(frames[excerpt.id], 0, count + 1, representation), np.float32).T.clip(low, model.top_db)
        excerpts.append((audio.read(excerpt, 0, count * hop), level_db, excerpt.domain))
    found = {name: part_figures(part, excerpts, over) for name, part in model.parts.items()}
    return {f"{name}_{figure}": value for name, figures in found.items() for figure, value in figures.items()}


def part_figures(part: Part, excerpts: list[Excerpt], over: Map = map) -> dict[str, float]:
    """The figures of one part over excerpts."""
    tasks = zip(excerpts, [*excerpts[1:], *excerpts[:1]], strict=True)
    rows = list(over(partial(_bits, part=part), tasks))
    if None in rows or not rows:
        return {}
    right, other, moved = np.array(rows).T
    figures = {"nll_bits": right.mean(), "cond_gap_other": (other - right).mean()}
    if part.representation == "cqt":
        figures["cond_gap_pitch"] = (moved - right).mean()
    return {name: float(value) for name, value in figures.items()}


def _bits(pair: tuple[Excerpt, Excerpt], part: Part) -> tuple[float, ...] | None:
    """Bits per sample of an excerpt given its own levels, those of another one, and its own a semitone up (nan without log frequency).
    None of a part that predicts no samples.
    """
    (x, level_db, domain), (_, others_db, _) = pair
    frames = level_db.shape[1]
    changed = [level_db, others_db[:, :frames] if others_db.shape[1] >= frames else level_db]
    changed += [np.roll(level_db, max(1, part.features.cqt_bins_per_octave // 12), 0)] if part.representation == "cqt" else []
    bits = [part.nll_bits(x, given_db, domain, level_db) for given_db in changed]
    return None if None in bits else (bits[0], bits[1], bits[2] if len(bits) > 2 else float("nan"))
