"""What is measured on one output, and on all outputs of a system together."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from retimbre.audio.features import FeatureExtractor, decibels
from retimbre.evaluation import metrics as m
from retimbre.evaluation.judges import Judges
from retimbre.evaluation.pitch import NoteTranscriber, Transcription, jaccard, note_f1, raw_pitch_accuracy
from retimbre.evaluation.table import collect_collapsed
from retimbre.evaluation.testset import Item


@dataclass(frozen=True)
class Output:
    """What a system made of an item: ``audio`` (N,), ``level_db`` (F, T) as it came out of the system
    (None: measured on the audio), and the seconds of computing that it took.
    """

    audio: np.ndarray
    level_db: np.ndarray | None
    seconds: float


@dataclass(frozen=True)
class Scored:
    """``values``: named as in the table, NaN where undefined; ``embedding`` (D,): the judges' view of the output; its ``notes``."""

    values: dict[str, float]
    embedding: np.ndarray
    notes: Transcription


@dataclass(frozen=True)
class Result:
    """One system on one item."""

    system: str
    item: Item
    output: Output
    scored: Scored


class Scorer:
    """All metrics of one output. Pitch and judges are loaded once; recordings are transcribed once."""

    def __init__(self, judges: Judges, extractor: FeatureExtractor, representation: str, top_db: float):
        self.judges, self.extractor, self.representation, self.top_db = judges, extractor, representation, top_db
        self.rate, self.config = extractor.config.sample_rate, extractor.config
        self.transcribe = NoteTranscriber()

    @torch.no_grad()
    def levels(self, audio: np.ndarray, representation: str) -> np.ndarray:
        return decibels(self.extractor(torch.from_numpy(np.ascontiguousarray(audio, np.float32))[None], representation))[0].numpy()

    def __call__(self, item: Item, output: Output) -> Scored:
        """Everything that is measured on one output."""
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
        return Scored(scores, self.judges.embed(mel_db), notes)

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
            clips.append(r.scored.embedding)
    several = {s: {d: np.stack(x) for d, x in by.items() if len(x) > 1} for s, by in embedded.items()}
    return found + collect_collapsed(several, {d: np.stack(list(x.values())) for d, x in targets.items()})


def _key(r: Result) -> dict[str, Any]:
    return {"system": r.system, "direction": r.item.direction, "item": r.item.piece, "stratum": r.item.stratum}


def records(results: list[Result]) -> list[dict[str, Any]]:
    """The long table: one row per system, item and metric."""
    return [{**_key(r), "metric": name, "value": float(value)} for r in results for name, value in r.scored.values.items()]


def _rms(x: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(x, dtype=np.float64))))
