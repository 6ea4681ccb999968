"""Every system and control row on every item of the test set: outputs, times, scores."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from retimbre.audio.features import FeatureExtractor, decibels
from retimbre.evaluation import metrics as m
from retimbre.evaluation.copy_synthesis import synthesise_target
from retimbre.evaluation.judges import Judges
from retimbre.evaluation.pitch import NoteTranscriber, jaccard, note_f1, raw_pitch_accuracy
from retimbre.evaluation.testset import Item
from retimbre.progress import Progress
from retimbre.systems.controls import Equaliser
from retimbre.systems.cyclegan import CycleGan
from retimbre.systems.vocoder import Vocoder


@dataclass(frozen=True)
class Output:
    """What a system made of an item: ``audio`` (N,), ``level_db`` (F, T) as it came out of the system
    (None: measured on the audio), and the seconds of computing that it took.
    """

    audio: np.ndarray
    level_db: np.ndarray | None
    seconds: float


System = Callable[[Item], Output | None]


def timed(make: Callable[[Item], tuple[np.ndarray, np.ndarray | None]]) -> System:
    def run(item: Item) -> Output:
        began = time.perf_counter()
        audio, level_db = make(item)
        return Output(audio, level_db, time.perf_counter() - began)

    return run


def systems(generator: CycleGan, vocoder: Vocoder, extractor: FeatureExtractor, equalisers: dict[str, Equaliser], route: str) -> dict[str, System]:
    """The rows of the table, controls first. ``route`` is the default way from levels to audio."""

    def levels(x: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return decibels(extractor(torch.from_numpy(x)[None], generator.representation))[0].numpy()

    def through(name: str, change: Callable[[Item, np.ndarray], np.ndarray], by: str) -> System:
        def make(item: Item) -> tuple[np.ndarray, np.ndarray]:
            level_db = change(item, levels(item.source.audio))
            seed = int.from_bytes(f"{name} {item.name}".encode()[-6:], "little")
            audio = vocoder.synthesise(by, level_db, len(item.source.audio), item.target_domain, item.source.audio, seed)
            return audio, level_db

        return timed(make)

    def transfer(item: Item, level_db: np.ndarray) -> np.ndarray:
        return generator.transfer(level_db, item.target_domain)

    other_route = "griffin_lim" if route == "source_phase" else "source_phase"
    rows: dict[str, System] = {
        "copy": lambda item: Output(item.source.audio, item.source.level_db, 0.0),
        **{
            name: through(name, lambda item, db, e=equaliser: e.transfer(db, item.source_domain, item.target_domain), route)
            for name, equaliser in equalisers.items()
        },
        "oracle": lambda item: item.oracle and Output(item.oracle.audio, item.oracle.level_db, 0.0),
        "unrelated": lambda item: Output(item.unrelated.audio, item.unrelated.level_db, 0.0),
        **{f"vocoder_{by}": timed(lambda item, by=by: (synthesise_target(vocoder, by, item), None)) for by in (route, other_route, "wavenet")},
        "cyclegan": through("cyclegan", transfer, route),
        f"cyclegan_{other_route}": through("cyclegan", transfer, other_route),
        "cyclegan_wavenet": through("cyclegan", transfer, "wavenet"),
    }
    return rows


class Scorer:
    """All metrics of one output. Pitch and judges are loaded once; recordings are transcribed once."""

    def __init__(self, judges: Judges, extractor: FeatureExtractor, representation: str, top_db: float):
        self.judges, self.extractor, self.representation, self.top_db = judges, extractor, representation, top_db
        self.rate, self.config = extractor.config.sample_rate, extractor.config
        self.transcribe = NoteTranscriber()

    @torch.no_grad()
    def levels(self, audio: np.ndarray, representation: str) -> np.ndarray:
        return decibels(self.extractor(torch.from_numpy(np.ascontiguousarray(audio, np.float32))[None], representation))[0].numpy()

    def __call__(self, item: Item, output: Output) -> dict[str, float]:
        """Named values for one output; names as in the table. NaN where a metric is undefined."""
        audio = m.match_length(output.audio, len(item.target.audio))
        source, target = item.source.audio, item.target.audio
        level_db = output.level_db if output.level_db is not None else self.levels(audio, self.representation)
        low = self.top_db - self.config.range_db
        frames = min(level_db.shape[1], item.target.level_db.shape[1])
        out, src, true = (x[:, :frames].clip(low, self.top_db) for x in (level_db, item.source.level_db, item.target.level_db))
        if self.representation != "cqt":  # chroma is always read from a constant-Q transform
            src_c, true_c, out_c = (self.levels(x, "cqt") for x in (source, target, audio))
        else:
            src_c, true_c, out_c = src, true, out
        notes, source_notes = self.transcribe(audio, self.rate), self.transcribe(source, self.rate)
        # Levels are judged at the target recording's loudness: judges were trained on levelled recordings.
        mel_db = self.levels(audio * (np.sqrt(np.mean(target**2)) / max(float(np.sqrt(np.mean(audio**2))), 1e-9)), "mel")
        scores = {
            "feature_lsd": m.feature_lsd(out, true, self.top_db, self.config.range_db),
            "content_chroma_ratio": m.content_chroma_ratio(out_c, src_c, true_c, self.config.cqt_bins_per_octave),
            "content_peak_ratio": m.content_peak_ratio(out_c, src_c, true_c, self.config.cqt_bins_per_octave),
            "content_note_f1": note_f1(notes, source_notes),
            "content_jaccard": jaccard(notes, source_notes),
            "paired_lsd": m.paired_lsd(audio, target, self.rate),
            "paired_mel_l1_db": m.paired_mel_l1_db(audio, target, self.rate),
            "paired_mrstft": m.paired_mrstft(audio, target, self.rate),
            "paired_timbre": m.paired_timbre(audio, target, self.rate),
            "style_target_rate": self.judges.style_target_rate(mel_db, item.target_domain),
            "style_beyond_eq": self.judges.style_beyond_eq(mel_db, item.target_domain),
            "fail_muted": m.fail_muted(audio, source),
            "fail_level": m.fail_level(audio, source, self.rate),
        }
        if item.stratum == "mono":
            scores["content_rpa"] = raw_pitch_accuracy(audio, source, self.rate)
        if output.seconds:
            scores["rtf"] = output.seconds / (len(audio) / self.rate)
        return scores


@dataclass(frozen=True)
class Result:
    """One system on one item."""

    system: str
    item: Item
    output: Output
    scores: dict[str, float]


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
    with Progress(len(tasks), "evaluate", "outputs") as progress:
        for item, name, make in tasks:
            if output := make(item):
                results.append(Result(name, item, output, scorer(item, output)))
            progress.update(note=name)
    return results


def records(results: list[Result]) -> list[dict[str, Any]]:
    """The long table: one row per system, item and metric."""
    return [
        {"system": r.system, "direction": r.item.direction, "item": r.item.piece, "stratum": r.item.stratum, "metric": name, "value": float(value)}
        for r in results
        for name, value in r.scores.items()
    ]
