"""How well the vocoders that draw samples predict them, and whether they listen to the pitch that they are given.

A falling likelihood says nothing about audio: most of it is earned by short-term prediction. The gap
between the right features and the same moved by a semitone is the number to watch: a few hundredths of a bit
mean pitchless noise, one bit a pitch that is kept.

A part that hears a waveform hears the pitch there, and has a gap before it has learnt anything. So
``python -m retimbre.evaluation.bench.likelihood`` prints the figures of untrained networks beside those of the trained ones, for the vocoder
of the pipeline and the validation split.
"""

import argparse
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from retimbre.datasets.packed.format import PackedAudio, PackedFeatures
from retimbre.errors import run
from retimbre.evaluation.bench.processes import Map, side_by_side
from retimbre.training.devices import set_threads
from retimbre.vocoders.base import Part
from retimbre.vocoders.catalogue import Vocoder

SECONDS = 2.0  # of each excerpt: enough for a stable mean, and quick
Excerpt = tuple[np.ndarray, np.ndarray, str]  # audio (frames * hop,), levels (F, frames + 1), instrument


def likelihood_figures(model: Vocoder, audio: PackedAudio, features: PackedFeatures, split: str, over: Map = map) -> dict[str, float]:
    """For each part that predicts samples (:meth:`Part.nll_bits`): ``<part>_nll_bits``, and by how many bits the likelihood falls
    with the features a semitone up (``<part>_cond_gap_pitch``, log-frequency features only), with another excerpt's
    (``<part>_cond_gap_other``), and, of a part that hears a waveform, with the waveform of the right features and the rest a semitone up
    (``<part>_cond_gap_levels``). Bits depend on pre-emphasis and gain: never compare them across codecs.
    ``over``: what maps over the excerpts, such as :func:`retimbre.evaluation.bench.processes.side_by_side`.
    """
    excerpts = read_excerpts(model, audio, features, split)
    found = {name: part_figures(part, excerpts, over) for name, part in model.parts.items()}
    return {f"{name}_{figure}": value for name, figures in found.items() for figure, value in figures.items()}


def read_excerpts(model: Vocoder, audio: PackedAudio, features: PackedFeatures, split: str) -> list[Excerpt]:
    """The beginnings of a split's excerpts, with levels kept within the range that the vocoder knows."""
    hop, representation = model.features.hop_length, model.representation
    low = model.top_db - model.features.range_db
    frames = {e.id: e for e in features.index}
    excerpts = []
    for excerpt in audio.excerpts(split=split):
        count = min(int(SECONDS * model.features.sample_rate), excerpt.length) // hop
        level_db = np.asarray(features.read(frames[excerpt.id], 0, count + 1, representation), np.float32).T.clip(low, model.top_db)
        excerpts.append((audio.read(excerpt, 0, count * hop), level_db, excerpt.domain))
    return excerpts


def part_figures(part: Part, excerpts: list[Excerpt], over: Map = map) -> dict[str, float]:
    """The figures of one part over excerpts."""
    tasks = zip(excerpts, [*excerpts[1:], *excerpts[:1]], strict=True)
    rows = list(over(partial(_bits, part=part), tasks))
    if None in rows or not rows:
        return {}
    means = {given: float(np.mean([row[given] for row in rows])) for given in rows[0]}
    right = means.pop("right")
    return {"nll_bits": right} | {f"cond_gap_{given}": value - right for given, value in means.items()}


def _bits(pair: tuple[Excerpt, Excerpt], part: Part) -> dict[str, float] | None:
    """Bits per sample of an excerpt by what is given: its ``right`` levels, others; None of a part that predicts no samples."""
    (x, level_db, domain), (_, others_db, _) = pair
    frames = level_db.shape[1]
    if (own := part.nll_bits(x, level_db, domain, level_db)) is None:
        return None
    other_db = others_db[:, :frames] if others_db.shape[1] >= frames else level_db
    bits = {"right": own, "other": part.nll_bits(x, other_db, domain, level_db)}
    if part.representation == "cqt":
        up = max(1, part.features.cqt_bins_per_octave // 12)
        silence = np.full_like(level_db[:up], part.top_db - part.features.range_db)
        moved_db = np.concatenate([silence, level_db[:-up]])
        bits["pitch"] = part.nll_bits(x, moved_db, domain, level_db)
        if part.hears:
            bits["levels"] = part.nll_bits(x, moved_db, domain, level_db, level_db)
    return bits


def untrained(part: Part, seed: int = 0) -> Part:
    """The same with a network as it is before training; what it was told of the data (its buffers) stays."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = part.build(part.config)
    assert network is not None and part.network is not None
    network.load_state_dict(dict(part.network.named_buffers()), strict=False)
    return type(part)(network, part.config, part.parts)


def main() -> None:
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    set_threads()
    model = Vocoder.load(Path("data/models/vocoder"))
    excerpts = read_excerpts(model, PackedAudio(Path("data/resampled")), PackedFeatures(Path("data/features")), "validation")
    rows = {}
    with side_by_side() as over:
        for name, part in model.parts.items():
            if figures := part_figures(part, excerpts, over):
                rows |= {name: figures, f"{name}, untrained": part_figures(untrained(part), excerpts, over)}
    print(pd.DataFrame.from_dict(rows, orient="index").to_string(float_format=lambda x: f"{x:.3f}"))


if __name__ == "__main__":
    run(main)
