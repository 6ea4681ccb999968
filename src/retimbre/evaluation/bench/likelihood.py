"""Likelihood under the vocoders that draw samples, and whether they listen to the pitch they are given.

A falling likelihood says nothing about audio: most of it is earned by short-term prediction. The gap
between the right features and the same moved by a semitone is the number to watch: a few hundredths of a bit
mean pitchless noise, one bit a pitch that is kept.

A network that hears a waveform hears the pitch there, and has a gap before it has learnt anything. So
``python -m retimbre.evaluation.bench.likelihood`` prints the figures of untrained networks beside those of
the trained ones, for the vocoder of the pipeline and the validation split.
"""

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from retimbre.datasets.packed.data import Data
from retimbre.datasets.packed.format import PackedAudio, PackedFeatures
from retimbre.errors import run
from retimbre.evaluation.bench.processes import Map, side_by_side
from retimbre.training.devices import set_threads
from retimbre.vocoders.base import Renderer
from retimbre.vocoders.catalogue import Vocoders

SEED = 0  # of untrained networks
SECONDS = 2.0  # of each excerpt: enough for a stable mean, and quick
Excerpt = tuple[np.ndarray, np.ndarray, str]  # audio (frames * hop,), spectrum (F, frames + 1), instrument


def likelihood_figures(
    renderers: Sequence[Renderer], audio: PackedAudio, features: PackedFeatures, split: str, over: Map = map
) -> dict[str, float]:
    """For each network that predicts samples (:meth:`Renderer.nll_bits`): ``<network>_nll_bits``, and by how
    many bits the likelihood falls with the spectrum a semitone up (``<network>_cond_gap_pitch``,
    log-frequency spectra only), with another excerpt's (``<network>_cond_gap_other``), and, of one that
    hears a waveform, with the waveform of the right spectrum and the rest a semitone up
    (``<network>_cond_gap_levels``). Bits depend on pre-emphasis and gain: never compare them across codecs.
    ``over``: what maps over the excerpts, such as ``processes.side_by_side``.
    """
    figures = {}
    for renderer in renderers:
        excerpts = read_excerpts(renderer, audio, features, split)
        found = network_figures(renderer, excerpts, over)
        figures |= {f"{renderer.name}_{name}": value for name, value in found.items()}
    return figures


def read_excerpts(
    renderer: Renderer, audio: PackedAudio, features: PackedFeatures, split: str
) -> list[Excerpt]:
    """The beginnings of a split's excerpts, with spectra kept within the range that the network knows."""
    hop = renderer.features.hop_length
    frames = {e.id: e for e in features.index}
    excerpts = []
    for excerpt in audio.excerpts(split=split):
        count = min(int(SECONDS * renderer.features.sample_rate), excerpt.length) // hop
        spectrum_db = features.read(frames[excerpt.id], 0, count + 1, renderer.representation).T
        low = renderer.top_db - renderer.features.range_db
        spectrum_db = np.asarray(spectrum_db, np.float32).clip(low, renderer.top_db)
        excerpts.append((audio.read(excerpt, 0, count * hop), spectrum_db, excerpt.domain))
    return excerpts


def network_figures(renderer: Renderer, excerpts: list[Excerpt], over: Map = map) -> dict[str, float]:
    """The figures of one network over excerpts."""
    tasks = zip(excerpts, [*excerpts[1:], *excerpts[:1]], strict=True)
    rows = list(over(partial(_bits, renderer=renderer), tasks))
    if None in rows or not rows:
        return {}
    means = {given: float(np.mean([row[given] for row in rows])) for given in rows[0]}
    right = means.pop("right")
    return {"nll_bits": right} | {f"cond_gap_{given}": value - right for given, value in means.items()}


def _bits(pair: tuple[Excerpt, Excerpt], renderer: Renderer) -> dict[str, float] | None:
    """Bits per sample of an excerpt by what is given; None of a network that predicts no samples."""
    (x, level_db, domain), (_, others_db, _) = pair
    frames = level_db.shape[1]
    if (own := renderer.nll_bits(x, level_db, domain, level_db)) is None:
        return None
    other_db = others_db[:, :frames] if others_db.shape[1] >= frames else level_db
    bits = {"right": own, "other": renderer.nll_bits(x, other_db, domain, level_db)}
    if renderer.representation == "cqt":
        up = max(1, renderer.features.cqt_bins_per_octave // 12)
        silence = np.full_like(level_db[:up], renderer.top_db - renderer.features.range_db)
        moved_db = np.concatenate([silence, level_db[:-up]])
        bits["pitch"] = renderer.nll_bits(x, moved_db, domain, level_db)
        if renderer.hears:
            bits["levels"] = renderer.nll_bits(x, moved_db, domain, level_db, level_db)
    return bits


def untrained(renderer: Renderer) -> Renderer:
    """The same with a network as it is before training; what it was told of the data (its buffers) stays."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        network = renderer.build(renderer.config)
    assert network is not None and renderer.network is not None
    network.load_state_dict(dict(renderer.network.named_buffers()), strict=False)
    return type(renderer)(network, renderer.config, renderer.below)


def main() -> None:
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    set_threads()
    vocoders, data, rows = Vocoders.load(Path("data/models/vocoder")), Data(), {}
    with side_by_side() as over:
        for name in vocoders.networks:
            renderer = vocoders.network(name)
            excerpts = read_excerpts(renderer, data.audio, data.features, "validation")
            if figures := network_figures(renderer, excerpts, over):
                rows[name] = figures
                rows[f"{name}, untrained"] = network_figures(untrained(renderer), excerpts, over)
    print(pd.DataFrame.from_dict(rows, orient="index").to_string(float_format=lambda x: f"{x:.3f}"))


if __name__ == "__main__":
    run(main)
