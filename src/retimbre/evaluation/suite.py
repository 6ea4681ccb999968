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
from retimbre.evaluation.table import collect_collapsed
from retimbre.evaluation.testset import Item
from retimbre.progress import Progress
from retimbre.systems.controls import EqualiserControl
from retimbre.systems.cyclegan import CycleGan
from retimbre.systems.transfer import PEAK_LIMIT
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
        source, rate = item.source.audio, self.rate
        audio = m.match_length(output.audio, len(source))
        notes, source_notes = self.transcribe(audio, rate), self.transcribe(source, rate)
        # The judges were trained on levelled recordings: what they hear is levelled like the source.
        mel_db = self.levels(audio * (_rms(source) / max(_rms(audio), 1e-9)), "mel")
        scores = {
            "content_note_f1": note_f1(notes, source_notes),
            "content_jaccard": jaccard(notes, source_notes),
            "style_target_rate": self.judges.style_target_rate(mel_db, item.target_domain),
            "style_beyond_eq": self.judges.style_beyond_eq(mel_db, item.target_domain),
            "fail_muted": m.fail_muted(audio, source),
            "fail_level": m.fail_level(audio, source, rate),
        }
        if item.stratum == "mono":
            scores["content_rpa"] = raw_pitch_accuracy(audio, source, rate)
        if item.target is not None:
            scores |= self._against_target(item, audio, output.level_db)
        scores["rtf"] = output.seconds / (len(audio) / self.rate)
        return scores

    def _against_target(self, item: Item, audio: np.ndarray, level_db: np.ndarray | None) -> dict[str, float]:
        """Distances to the true target; ``level_db`` as in Output."""
        target, c = item.target.audio, self.config
        level_db = self.levels(audio, self.representation) if level_db is None else level_db
        frames = min(level_db.shape[1], item.target.level_db.shape[1])
        out, source, true = (
            x[:, :frames].clip(self.top_db - c.range_db, self.top_db) for x in (level_db, item.source.level_db, item.target.level_db)
        )
        lsd = m.feature_lsd(out, true, self.top_db, c.range_db)
        if self.representation != "cqt":  # chroma is always read from a constant-Q transform
            out, source, true = (self.levels(x, "cqt") for x in (audio, item.source.audio, target))
        return {
            "feature_lsd": lsd,
            "content_chroma_ratio": m.content_chroma_ratio(out, source, true, c.cqt_bins_per_octave),
            "content_peak_ratio": m.content_peak_ratio(out, source, true, c.cqt_bins_per_octave),
            "paired_lsd": m.paired_lsd(audio, target, self.rate),
            "paired_mel_l1_db": m.paired_mel_l1_db(audio, target, self.rate),
            "paired_mrstft": m.paired_mrstft(audio, target, self.rate),
            "paired_timbre": m.paired_timbre(audio, target, self.rate),
        }


def _rms(x: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(x, dtype=np.float64))))


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
    for make in rows.values():  # what is compiled or warmed up on first use is not timed
        make(items[0])
    with Progress(len(tasks), "evaluate", "outputs") as progress:
        for item, name, make in tasks:
            if output := make(item):
                results.append(Result(name, item, output, scorer(item, output)))
            progress.update(note=name)
    return results


def failures(results: list[Result], scorer: Scorer) -> list[dict[str, Any]]:
    """Records of the failures that show only beside other clips: ``fail_unchanged`` (nearer to the source
    than true targets are) and ``fail_collapsed`` (a direction's outputs all alike; one row per direction).
    """
    rate, found = scorer.rate, []
    real: dict[str, dict[str, float]] = {}
    embedded: dict[str, dict[str, list[np.ndarray]]] = {}
    targets: dict[str, dict[str, np.ndarray]] = {}
    for r in results:
        if r.item.target is not None and r.item.piece not in real.setdefault(r.item.direction, {}):
            real[r.item.direction][r.item.piece] = m.paired_lsd(r.item.target.audio, r.item.source.audio, rate)
            targets.setdefault(r.item.direction, {})[r.item.piece] = scorer.judges.embed(scorer.levels(r.item.target.audio, "mel"))
    for r in results:
        if distances := real.get(r.item.direction):
            unchanged = m.fail_unchanged(
                m.paired_lsd(m.match_length(r.output.audio, len(r.item.source.audio)), r.item.source.audio, rate),
                np.array(list(distances.values())),
            )
            found.append({**_key(r), "metric": "fail_unchanged", "value": unchanged})
            clips = embedded.setdefault(r.system, {}).setdefault(r.item.direction, [])
            clips.append(scorer.judges.embed(scorer.levels(r.output.audio, "mel")))
    several = {s: {d: np.stack(x) for d, x in by.items() if len(x) > 1} for s, by in embedded.items()}
    return found + collect_collapsed(several, {d: np.stack(list(x.values())) for d, x in targets.items()})


def _key(r: Result) -> dict[str, Any]:
    return {"system": r.system, "direction": r.item.direction, "item": r.item.piece, "stratum": r.item.stratum}


def records(results: list[Result]) -> list[dict[str, Any]]:
    """The long table: one row per system, item and metric."""
    return [{**_key(r), "metric": name, "value": float(value)} for r in results for name, value in r.scores.items()]
