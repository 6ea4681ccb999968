"""Every kind of vocoder on real features: the upper bound of the whole chain.

``python -m retimbre.evaluation.bench.copy_synthesis test``, in the repository's root, prints the figures of
the trained vocoders on the test split (those of ``metrics/vocoders.json`` are of the validation split).
"""

import argparse
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from retimbre.datasets.packed.data import Data
from retimbre.datasets.packed.format import PackedAudio, PackedFeatures
from retimbre.errors import RetimbreError, run
from retimbre.evaluation.bench.processes import Map, side_by_side
from retimbre.evaluation.bench.rows import CopySynthesis
from retimbre.evaluation.bench.testset import PERFORMANCE, Item, first_second, load_items
from retimbre.metrics.notes import jaccard, melody_scores
from retimbre.metrics.spectral import paired_lsd, paired_mrstft
from retimbre.nn.transcriber.notes import NoteTranscriber, melody
from retimbre.progress import Progress
from retimbre.training.devices import one_thread, set_threads
from retimbre.vocoders.catalogue import Vocoder, Vocoders

SLOW_ITEMS = 2  # of each direction: a chorale and a tune of the embedded data


def copy_synthesis(
    vocoders: Sequence[Vocoder], audio: PackedAudio, features: PackedFeatures, split: str, over: Map = map
) -> dict[str, dict[str, float]]:
    """Per kind means over the paired pieces of ``split`` and both instruments: ``lsd`` (dB), ``mrstft``,
    ``rpa`` (raw pitch accuracy, single lines), ``jaccard`` (distance of the sounding notes, chords) and
    ``x_realtime``, by processor seconds of one core. Slow kinds are heard on the first pieces only. Empty
    without paired pieces. ``over``: what maps over the pieces.
    """
    if not audio.excerpts(split=split, performance=PERFORMANCE):
        return {}
    if not (items := load_items(audio, features, vocoders[0].representation, features.domains, split)):
        return {}
    place, tasks = dict.fromkeys((item.direction for item in items), 0), []
    for item in items:
        few = place[item.direction] < SLOW_ITEMS
        tasks.append((item, [vocoder for vocoder in vocoders if few or not vocoder.slow]))
        place[item.direction] += 1
    values: dict[str, dict[str, list[float]]] = {vocoder.kind: {} for vocoder in vocoders}
    with Progress(len(tasks), "copy synthesis", "pieces") as progress:
        for found in over(measure, tasks):
            for kind, scores in found.items():
                for name, value in scores.items():
                    values[kind].setdefault(name, []).append(value)
            progress.update()
    figures = {}
    for kind, columns in values.items():
        spent, heard = sum(columns.pop("seconds")), sum(columns.pop("heard_s"))
        means = {name: float(np.nanmean(numbers)) for name, numbers in columns.items()}
        figures[kind] = means | {"x_realtime": heard / max(spent, 1e-9)}
    return figures


_tried: set[str] = set()  # kinds that this process has been warmed up for


@cache
def _transcriber() -> NoteTranscriber:
    """One for each process: it remembers what it has heard."""
    return NoteTranscriber()


def measure(task: tuple[Item, Sequence[Vocoder]]) -> dict[str, dict[str, float]]:
    """Metrics of one item per kind, with one thread, and ``seconds`` of computing for ``heard_s``."""
    item, vocoders = task
    true, found = item.target.audio, {}
    with one_thread():
        for vocoder in vocoders:
            rate, rebuild = vocoder.features.sample_rate, CopySynthesis(vocoder).audio
            if vocoder.kind not in _tried:  # what is compiled or loaded on first use is not timed
                rebuild(first_second(item, vocoder.features), 0)
                _tried.add(vocoder.kind)
            began = time.process_time()
            out = rebuild(item, 0)
            scores = {"seconds": time.process_time() - began, "heard_s": len(true) / rate}
            scores |= {"lsd": paired_lsd(out, true, rate), "mrstft": paired_mrstft(out, true)}
            if item.stratum != "poly":
                scores["rpa"] = melody_scores(melody(out, rate), melody(true, rate))["content_rpa"]
            if item.stratum != "mono":
                scores["jaccard"] = jaccard(_transcriber()(out, rate), _transcriber()(true, rate))
            found[vocoder.kind] = scores
    return found


def copy_synthesis_figures(
    vocoders: Sequence[Vocoder], audio: PackedAudio, features: PackedFeatures, split: str, over: Map = map
) -> dict[str, float]:
    """Figures of :func:`copy_synthesis` but for the speed, named ``<kind>_<metric>``."""
    found = copy_synthesis(vocoders, audio, features, split, over)
    return {
        f"{kind}_{name}": value
        for kind, means in found.items()
        for name, value in means.items()
        if name != "x_realtime"
    }


def table(figures: Mapping[str, Mapping[str, float]]) -> str:
    """Figures as text: a row per kind, a column per metric."""
    return pd.DataFrame.from_dict(figures, orient="index").to_string(float_format=lambda x: f"{x:.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("split", choices=["validation", "test"])
    split = parser.parse_args().split
    set_threads()
    vocoders, data = Vocoders.load(Path("data/models/vocoder")), Data()
    every = [vocoders.by(kind) for kind in vocoders.kinds]
    with side_by_side() as over:
        figures = copy_synthesis(every, data.audio, data.features, split, over)
    if not figures:
        raise RetimbreError(f"the {split} split has no paired pieces: set dataset.source to soundfont.")
    print(table(figures))


if __name__ == "__main__":
    run(main)
