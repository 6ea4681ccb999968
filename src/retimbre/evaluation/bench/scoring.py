"""What is measured on one output, and on all outputs of a system together."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from retimbre.audio.features import FeatureExtractor, decibels
from retimbre.classifiers.forest import SecondOpinion
from retimbre.classifiers.panel import Judges
from retimbre.evaluation.bench.sets import RealSet, fit_real, set_records  # noqa: F401  (asked for with records and failures)
from retimbre.evaluation.bench.testset import Item
from retimbre.evaluation.results.table import collect_collapsed
from retimbre.metrics import quality as q
from retimbre.metrics import spectral as m
from retimbre.metrics.distribution import mfcc_windows, thinned_frames
from retimbre.metrics.harmony import content_chroma_dtw, content_onset_f1
from retimbre.metrics.memory import Memory, content_key
from retimbre.metrics.notes import (
    NoteTranscriber,
    Transcription,
    active_share,
    jaccard,
    melody_scores,
    mpe_accuracy,
    note_f1,
    pitch_class_dtw,
)


@dataclass(frozen=True)
class Output:
    """What a system made of an item: ``audio`` (N,), ``level_db`` (F, T) as it came out of the system
    (None: measured on the audio), and the seconds of computing that it took.
    """

    audio: np.ndarray
    level_db: np.ndarray | None
    seconds: float


def _nothing() -> np.ndarray:
    return np.zeros((0, 0), np.float32)


@dataclass(frozen=True)
class Scored:
    """What was measured on one output.

    ``values``: named as in the table, NaN where undefined; ``embedding`` (D,): the ordinary judge's view of the whole
    clip; its ``notes``. For the distances between sets, per window of about a second (W): ``windows`` (W, D), whose
    mean the embedding is, and MFCC statistics ``mfcc`` (W, 24); ``frames`` (S, F): log-mel frames, thinned.
    """

    values: dict[str, float]
    embedding: np.ndarray
    notes: Transcription
    windows: np.ndarray = field(default_factory=_nothing)
    mfcc: np.ndarray = field(default_factory=_nothing)
    frames: np.ndarray = field(default_factory=_nothing)


@dataclass(frozen=True)
class Result:
    """One system on one item."""

    system: str
    item: Item
    output: Output
    scored: Scored


class Scorer:
    """All metrics of one output. Pitch and judges are loaded once; what belongs to a recording is computed once.

    ``second_opinion``: None leaves ``style_target_rate_rf`` out. A Scorer can be pickled; what it remembers stays behind.
    """

    def __init__(
        self,
        judges: Judges,
        extractor: FeatureExtractor,
        representation: str,
        top_db: float,
        second_opinion: SecondOpinion | None = None,
    ):
        self.judges, self.extractor, self.representation, self.top_db = judges, extractor, representation, top_db
        self.second_opinion = second_opinion
        self.rate, self.config = extractor.config.sample_rate, extractor.config
        self.transcribe = NoteTranscriber()
        self.chroma_kept = Memory(64)

    @torch.no_grad()
    def levels(self, audio: np.ndarray, representation: str) -> np.ndarray:
        return decibels(self.extractor(torch.from_numpy(np.ascontiguousarray(audio, np.float32))[None], representation))[0].numpy()

    def chroma(self, audio: np.ndarray) -> np.ndarray:
        """Chroma (12, T) of audio (N,), kept by content."""
        key = content_key(audio, self.rate)
        return self.chroma_kept(key, lambda: m.chroma(self.levels(audio, "cqt"), self.config.cqt_bins_per_octave))

    def heard(self, audio: np.ndarray, source: np.ndarray) -> np.ndarray:
        """Log-mel levels (F, T) of an output as the judges hear it: levelled like its source, as the recordings that they learnt from."""
        return self.levels(audio * (_rms(source) / max(_rms(audio), 1e-9)), "mel")

    def __call__(self, item: Item, output: Output) -> Scored:
        """Everything that is measured on one output."""
        source, rate = item.source.audio, self.rate
        audio = m.match_length(output.audio, len(source))
        notes, source_notes = self.transcribe(audio, rate), self.transcribe(source, rate)
        mel_db = self.heard(audio, source)
        windows, mfcc = self.judges.embed_windows(mel_db), mfcc_windows(mel_db, self.judges.window_frames)
        scores = self._content(item, audio, notes, source_notes)
        scores |= {
            "style_target_rate": self.judges.style_target_rate(mel_db, item.target_domain),
            "style_p_target": self.judges.style_probability(mel_db, item.target_domain),
            "style_p_source": self.judges.style_probability(mel_db, item.source_domain),
            "style_beyond_eq": self.judges.style_beyond_eq(mel_db, item.target_domain),
        }
        if self.second_opinion is not None:
            scores["style_target_rate_rf"] = self.second_opinion.style_target_rate(mfcc, item.target_domain, not np.any(audio))
        if item.target is not None:
            scores |= self._against_target(item, audio, output.level_db)
        scores |= {
            "quality_clip": q.quality_clip(audio),
            "quality_silence": q.quality_silence(audio),
            "quality_lufs_delta": q.quality_lufs_delta(audio, source, rate),
            "quality_hf_ratio": q.quality_hf_ratio(audio, rate),
            "quality_length_delta_s": (len(output.audio) - len(source)) / rate,
            **q.spectrogram_scores(audio, self.config.stft_n_fft, self.config.hop_length),
            "fail_muted": m.fail_muted(audio, source),
            "fail_level": m.fail_level(audio, source, rate),
            "rtf": output.seconds / (len(audio) / rate),
        }
        return Scored(scores, windows.mean(axis=0), notes, windows, mfcc, thinned_frames(mel_db))

    def _content(self, item: Item, audio: np.ndarray, notes: Transcription, source_notes: Transcription) -> dict[str, float]:
        """The output beside its source; pitch trackers for single lines only where the item is one."""
        source, rate = item.source.audio, self.rate
        scores = {
            "content_note_f1": note_f1(notes, source_notes),
            "content_jaccard": jaccard(notes, source_notes),
            "content_active_share": active_share(notes, source_notes),
            "content_mpe_acc": mpe_accuracy(notes, source_notes),
            "content_mpe_chroma_acc": mpe_accuracy(notes, source_notes, chroma=True),
            "content_dpd": pitch_class_dtw(notes, source_notes),
            "content_chroma_dtw": content_chroma_dtw(self.chroma(audio), self.chroma(source)),
            "content_onset_f1": content_onset_f1(audio, source, rate),
            "content_loud_l1": m.content_loud_l1(audio, source, rate),
            "content_loud_corr": m.content_loud_corr(audio, source, rate),
            "source_lsd": m.paired_lsd(audio, source, rate),
        }
        return scores | (melody_scores(audio, source, rate) if item.stratum == "mono" else {})

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
            "paired_lsd_frame": m.paired_lsd_frame(audio, target, self.rate),
            "paired_mel_l1_db": m.paired_mel_l1_db(audio, target, self.rate),
            "paired_mrstft": m.paired_mrstft(audio, target, self.rate),
            "paired_timbre": m.paired_timbre(audio, target, self.rate),
        }


def _key(r: Result) -> dict[str, Any]:
    return {"system": r.system, "direction": r.item.direction, "item": r.item.piece, "stratum": r.item.stratum}


def records(results: list[Result]) -> list[dict[str, Any]]:
    """The long table: one row per system, item and metric."""
    return [{**_key(r), "metric": name, "value": float(value)} for r in results for name, value in r.scored.values.items()]


def failures(results: list[Result], scorer: Scorer) -> list[dict[str, Any]]:
    """Records of the failures that show only beside other clips: ``fail_unchanged`` (nearer to the source
    than true recordings are) and ``fail_collapsed`` (a direction's outputs all alike; one row per direction).

    True recordings are second performances on the target instrument (oracles), or the targets where there is no second.
    """
    found = []
    items = {r.item.direction: {} for r in results}
    for r in results:
        if r.item.target is not None:
            items[r.item.direction].setdefault(r.item.piece, r.item)
    collapsed: dict[str, dict[str, list[np.ndarray]]] = {}
    targets = {}
    for direction, pieces in items.items():
        true = [(i.oracle or i.target, i.source) for i in pieces.values()]
        if not true:
            continue
        real = np.array([m.paired_lsd(m.match_length(a.audio, len(b.audio)), b.audio, scorer.rate) for a, b in true])
        targets[direction] = np.stack([scorer.judges.embed(scorer.levels(i.target.audio, "mel")) for i in pieces.values()])
        for r in (r for r in results if r.item.direction == direction):
            found.append({**_key(r), "metric": "fail_unchanged", "value": m.fail_unchanged(r.scored.values["source_lsd"], real)})
            collapsed.setdefault(r.system, {}).setdefault(direction, []).append(r.scored.embedding)
    several = {s: {d: np.stack(x) for d, x in by.items() if len(x) > 1} for s, by in collapsed.items()}
    return found + collect_collapsed(several, targets)


def _rms(x: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(x, dtype=np.float64))))
