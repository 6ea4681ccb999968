"""What is measured on one output, and on all outputs of a system together."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from retimbre.audio import chroma
from retimbre.audio.features import FeatureConfig, spectrum_of
from retimbre.audio.levels import rms
from retimbre.classifiers.bench.listener import Listener
from retimbre.classifiers.forest import ForestClassifier
from retimbre.classifiers.panel import Classifiers
from retimbre.evaluation.bench.testset import Item, Output
from retimbre.metrics import harmony as h
from retimbre.metrics import notes as n
from retimbre.metrics import quality as q
from retimbre.metrics import spectral as m
from retimbre.metrics.distribution import mfcc_windows, thinned_frames
from retimbre.metrics.energy import Places, energy_scores
from retimbre.metrics.memory import Memory, content_key
from retimbre.nn.transcriber.notes import NoteTranscriber, melody

MOST_GAIN_DB = 40.0  # that brings an output to its target's loudness: silence stays silent


def _nothing() -> np.ndarray:
    return np.zeros((0, 0), np.float32)


@dataclass(frozen=True)
class Scored:
    """Measurements of one output.

    ``values``: named as in the table, NaN where undefined; ``embedding`` (D,): the style classifier's of the
    whole clip; its ``notes``. For the distances between sets, per window of about a second (W): ``windows``
    (W, D), whose mean the embedding is, and MFCC statistics ``mfcc`` (W, 24); ``frames`` (S, F): log-mel
    frames, thinned.
    """

    values: dict[str, float]
    embedding: np.ndarray
    notes: n.Transcription
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
    """All metrics of one output. Networks are loaded once; what belongs to a recording is computed once.

    ``representation``, ``top_db``: of the spectra that systems change; ``forest``: None leaves
    ``style_target_rate_rf`` out. ``style_called`` is there for instruments that ``retimbre classify`` knows.
    A Scorer can be pickled; what it remembers stays behind.
    """

    def __init__(
        self,
        classifiers: Classifiers,
        config: FeatureConfig,
        representation: str,
        top_db: float,
        forest: ForestClassifier | None = None,
    ):
        self.classifiers, self.forest, self.listener = classifiers, forest, Listener.load()
        self.config, self.representation, self.top_db = config, representation, top_db
        self.rate = config.sample_rate
        self.transcribe = NoteTranscriber()
        self.frequencies_hz = config.frequencies_hz("cqt")
        self.fold = chroma.pitch_class_fold(self.frequencies_hz)
        self.chroma_kept, self.spectra_kept, self.places_kept = Memory(64), Memory(8), Memory(8)

    def spectrum(self, audio: np.ndarray, representation: str) -> np.ndarray:
        """Spectrum in dB (F, T) of audio (N,), kept by content."""
        key = content_key(audio, self.rate), representation
        return self.spectra_kept(key, lambda: spectrum_of(audio, self.config, representation))

    def chroma(self, audio: np.ndarray) -> np.ndarray:
        """Chroma (12, T) of audio (N,), kept by content."""
        key = content_key(audio, self.rate)
        return self.chroma_kept(key, lambda: chroma.chroma(self.spectrum(audio, "cqt"), self.fold))

    def heard(self, audio: np.ndarray, source: np.ndarray) -> np.ndarray:
        """Log-mel spectrum (F, T) of an output, levelled like its source, as the classifiers learnt it."""
        return self.spectrum(audio * (rms(source) / max(rms(audio), 1e-9)), "mel")

    def __call__(self, item: Item, output: Output) -> Scored:
        """Everything that is measured on one output."""
        source, rate, ask = item.source.audio, self.rate, self.classifiers
        audio = m.match_length(output.audio, len(source))
        notes, source_notes = self.transcribe(audio, rate), self.transcribe(source, rate)
        mel_db = self.heard(audio, source)
        windows, mfcc = ask.embed_windows(mel_db), mfcc_windows(mel_db, ask.window_frames)
        scores = self._content(item, audio, notes, source_notes)
        scores |= {
            "style_target_rate": ask.style_target_rate(mel_db, item.target_domain),
            "style_p_target": ask.style_probability(mel_db, item.target_domain),
            "style_p_source": ask.style_probability(mel_db, item.source_domain),
            "style_beyond_eq": ask.style_beyond_eq(mel_db, item.target_domain),
        }
        if self.forest is not None:
            silent = not np.any(audio)
            scores["style_target_rate_rf"] = self.forest.style_target_rate(mfcc, item.target_domain, silent)
        if item.target_domain in self.listener.classes:
            scores["style_called"] = self.listener.share(audio, rate, item.target_domain)
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
        }
        return Scored(scores, windows.mean(axis=0), notes, windows, mfcc, thinned_frames(mel_db))

    def _content(
        self, item: Item, audio: np.ndarray, notes: n.Transcription, source_notes: n.Transcription
    ) -> dict[str, float]:
        """The output beside its source; pitch trackers for single lines only where the item is one."""
        source, rate = item.source.audio, self.rate
        scores = {
            "content_note_f1": n.note_f1(notes, source_notes),
            "content_jaccard": n.jaccard(notes, source_notes),
            "content_active_share": n.active_share(notes, source_notes),
            "content_mpe_acc": n.mpe_accuracy(notes, source_notes),
            "content_mpe_chroma_acc": n.mpe_accuracy(notes, source_notes, chroma=True),
            "content_dpd": n.pitch_class_dtw(notes, source_notes),
            "content_chroma_dtw": h.content_chroma_dtw(self.chroma(audio), self.chroma(source)),
            "content_onset_f1": h.content_onset_f1(audio, source, rate),
            "content_loud_l1": m.content_loud_l1(audio, source, rate),
            "content_loud_corr": m.content_loud_corr(audio, source, rate),
            "source_lsd": m.paired_lsd(audio, source, rate),
        }
        if item.stratum == "mono":
            scores |= n.melody_scores(melody(audio, rate), melody(source, rate))
        return scores

    def _against_target(self, item: Item, audio: np.ndarray, level_db: np.ndarray | None) -> dict[str, float]:
        """Distances to the true target; ``level_db`` as in Output."""
        target, c, rate = item.target.audio, self.config, self.rate
        level_db = self.spectrum(audio, self.representation) if level_db is None else level_db
        frames = min(level_db.shape[1], item.target.level_db.shape[1])
        spectra = [
            x[:, :frames].clip(self.top_db - c.range_db, self.top_db)
            for x in (level_db, item.source.level_db, item.target.level_db)
        ]
        lsd = m.feature_lsd(spectra[0], spectra[2], self.top_db, c.range_db)
        late, lsd_shifted = m.best_shift(spectra[0], spectra[2], self.top_db, c.range_db)
        if self.representation != "cqt":  # chroma is always read from a constant-Q transform
            spectra = [self.spectrum(x, "cqt") for x in (audio, item.source.audio, target)]
        scores = {
            "feature_lsd": lsd,
            "feature_lsd_shifted": lsd_shifted,
            "content_chroma_ratio": h.content_chroma_ratio(*spectra, self.fold),
            "content_peak_ratio": h.content_peak_ratio(*spectra, self.fold),
            "paired_lsd": m.paired_lsd(audio, target, rate),
            "paired_lsd_frame": m.paired_lsd_frame(audio, target, rate),
            "paired_mel_l1_db": m.paired_mel_l1_db(audio, target, rate),
            "paired_mrstft": m.paired_mrstft(audio, target),
            "paired_timbre": m.paired_timbre(audio, target, rate),
        }
        on_time = m.aligned(audio, target, late * c.hop_length)
        scores |= {
            "paired_lsd_shifted": m.paired_lsd(*on_time, rate) if late else scores["paired_lsd"],
            "paired_mrstft_shifted": m.paired_mrstft(*on_time) if late else scores["paired_mrstft"],
        }
        return scores | (self._energies(item, audio, late) if item.score is not None else {})

    def _energies(self, item: Item, audio: np.ndarray, late: int) -> dict[str, float]:
        """The score's notes in an output that is so many frames ``late``."""
        target, score, hop = item.target.audio, item.score, self.config.hop_length
        frames = self.config.frames(len(target))
        key = score.intervals_s.tobytes(), score.pitches_midi.tobytes(), frames
        places = self.places_kept(key, lambda: Places.of(score, self.frequencies_hz, self.rate / hop, frames))
        gain_db = min(20 * np.log10(max(rms(target), 1e-9) / max(rms(audio), 1e-9)), MOST_GAIN_DB)
        ours, true = (self.spectrum(x, "cqt") for x in (audio, target))
        return energy_scores(ours + gain_db, true, late, places)


def _key(r: Result) -> dict[str, Any]:
    where = {"direction": r.item.direction, "item": r.item.piece, "stratum": r.item.stratum}
    return {"system": r.system, **where}


def records(results: Sequence[Result]) -> list[dict[str, Any]]:
    """The long table: one row per system, item and metric."""
    return [
        {**_key(r), "metric": name, "value": float(value)}
        for r in results
        for name, value in r.scored.values.items()
    ]


def failures(results: Sequence[Result], scorer: Scorer) -> list[dict[str, Any]]:
    """Records of the failures that show only beside other clips: ``fail_unchanged`` (nearer to the source
    than true recordings are) and ``fail_collapsed`` (a direction's outputs all alike; one row per direction).

    True recordings are second performances on the target instrument (oracles), or the targets where there is
    no second.
    """
    found = []
    for direction in dict.fromkeys(r.item.direction for r in results if r.item.target is not None):
        here = [r for r in results if r.item.direction == direction and r.item.target is not None]
        items = {r.item.piece: r.item for r in here}.values()
        true = [((i.oracle or i.target).audio, i.source.audio) for i in items]
        real = np.array([m.paired_lsd(m.match_length(x, len(y)), y, scorer.rate) for x, y in true])
        targets = np.stack([scorer.classifiers.embed(scorer.spectrum(i.target.audio, "mel")) for i in items])
        embeddings: dict[str, list[np.ndarray]] = {}
        for r in here:
            unchanged = m.fail_unchanged(r.scored.values["source_lsd"], real)
            found.append({**_key(r), "metric": "fail_unchanged", "value": unchanged})
            embeddings.setdefault(r.system, []).append(r.scored.embedding)
        found += [
            {"system": system, "direction": direction, "item": "all", "metric": "fail_collapsed",
             "value": m.fail_collapsed(np.stack(x), targets)}
            for system, x in embeddings.items() if len(x) > 1
        ]  # fmt: skip
    return found
