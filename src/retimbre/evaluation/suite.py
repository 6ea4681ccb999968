"""Every system and control row on every item of the test set: outputs, times, scores."""

import time
from collections.abc import Callable

import numpy as np
import torch

from retimbre.audio.features import FeatureExtractor, decibels
from retimbre.evaluation import metrics as m
from retimbre.evaluation.copy_synthesis import synthesise_target
from retimbre.evaluation.scoring import Output, Result, Scorer
from retimbre.evaluation.testset import Item
from retimbre.progress import Progress
from retimbre.systems.controls import EqualiserControl
from retimbre.systems.cyclegan import CycleGan
from retimbre.systems.transfer import PEAK_LIMIT
from retimbre.systems.vocoder import Vocoder

System = Callable[[Item], Output | None]


def as_loud(audio: np.ndarray, reference: np.ndarray, sample_rate: int) -> np.ndarray:
    """``audio`` at the loudness of ``reference``, or less where it would clip: what a transfer hands out."""
    change_db = m.loudness_lufs(reference, sample_rate) - m.loudness_lufs(audio, sample_rate)
    gain = 10 ** (change_db / 20) if np.isfinite(change_db) else 1.0
    return audio * np.float32(min(gain, PEAK_LIMIT / max(float(np.abs(audio).max(initial=0)), 1e-9)))


def timed(make: Callable[[Item], tuple[np.ndarray, np.ndarray | None]]) -> System:
    def run(item: Item) -> Output:
        began = time.perf_counter()
        audio, level_db = make(item)
        return Output(audio, level_db, time.perf_counter() - began)

    return run


def systems(
    generator: CycleGan, vocoder: Vocoder, extractor: FeatureExtractor, equalisers: dict[str, EqualiserControl], route: str
) -> dict[str, System]:
    """The rows of the table, controls first. ``route`` is the default way from levels to audio."""

    def levels(x: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return decibels(extractor(torch.from_numpy(x)[None], generator.representation))[0].numpy()

    def through(name: str, change: Callable[[Item, np.ndarray], np.ndarray], by: str) -> System:
        def make(item: Item) -> tuple[np.ndarray, np.ndarray]:
            level_db = change(item, levels(item.source.audio))
            seed = int.from_bytes(f"{name} {item.name}".encode()[-6:], "little")
            audio = vocoder.synthesise(by, level_db, len(item.source.audio), item.target_domain, item.source.audio, seed)
            return as_loud(audio, item.source.audio, extractor.config.sample_rate), level_db

        return timed(make)

    def transfer(item: Item, level_db: np.ndarray) -> np.ndarray:
        return generator.transfer(level_db, item.target_domain)

    def copy_synthesis(by: str) -> System:
        make = timed(lambda item: (synthesise_target(vocoder, by, item), None))
        return lambda item: item.target and make(item)

    other_route = "griffin_lim" if route == "source_phase" else "source_phase"
    rows: dict[str, System] = {
        "copy": lambda item: Output(item.source.audio, item.source.level_db, 0.0),
        **{
            name: through(name, lambda item, db, e=equaliser: e.transfer(db, item.target_domain), route)
            for name, equaliser in equalisers.items()
        },
        "oracle": lambda item: item.oracle and Output(item.oracle.audio, item.oracle.level_db, 0.0),
        "unrelated": lambda item: Output(item.unrelated.audio, item.unrelated.level_db, 0.0),
        **{f"vocoder_{by}": copy_synthesis(by) for by in (route, other_route, "wavenet")},
        "cyclegan": through("cyclegan", transfer, route),
        f"cyclegan_{other_route}": through("cyclegan", transfer, other_route),
        "cyclegan_wavenet": through("cyclegan", transfer, "wavenet"),
    }
    return rows


def run(items: list[Item], rows: dict[str, System], scorer: Scorer, wavenet_items: int) -> list[Result]:
    """Outputs and scores of every row on every item; WaveNet rows only on the first ``wavenet_items``
    of each direction (sampling is slow).
    """
    place: dict[str, int] = {}
    tasks = []
    for item in items:
        index = place[item.direction] = place.get(item.direction, -1) + 1
        tasks += [(item, name, make) for name, make in rows.items() if index < wavenet_items or not name.endswith("wavenet")]
    results: list[Result] = []
    for make in rows.values():  # what is compiled or warmed up on first use is not timed
        make(items[0])
    with Progress(len(tasks), "evaluate", "outputs") as progress:
        for item, name, make in tasks:
            if output := make(item):
                results.append(Result(name, item, output, scorer(item, output)))
            progress.update(note=name)
    return results
