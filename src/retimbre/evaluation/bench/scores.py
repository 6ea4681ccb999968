"""Outputs against the score that their item plays: its notes, and what a transcriber hears of them.

The score is the MIDI file that ``download`` keeps beside paired recordings. The transcriber (basic-pitch)
misses notes of recordings, too: so the true target is heard in the same way, and an output's scores are also
given as shares of its. Instruments speak sooner or later after their key, and transcribers are late: onsets
count once the median lag of a direction's notes is taken out, of each system its own.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from retimbre.datasets.recordings.manifest import NAME, Recording, read_manifest
from retimbre.datasets.scores.performance import read_midi
from retimbre.evaluation.bench.cache import Cache
from retimbre.evaluation.bench.testset import PERFORMANCE, Item
from retimbre.metrics.notes import Notes, Transcription, median_lag_s, score_notes
from retimbre.nn.transcriber.notes import NoteTranscriber
from retimbre.provenance import code_of, digest, versions

if TYPE_CHECKING:
    from retimbre.evaluation.bench.scoring import Result

Transcribe = Callable[[np.ndarray, int], Transcription]
SCORES = ("score_precision", "score_recall", "score_f1")


def score_of(raw: Path, recording: Recording) -> Notes:
    """The notes that sound within a recording, from its MIDI file; times from the recording's start, so that
    what began before has a negative onset.
    """
    end_s = recording.start_s + recording.duration_s
    notes = [n for n in read_midi(raw / recording.midi) if n.end_s > recording.start_s and n.start_s < end_s]
    spans = np.array([(n.start_s, n.end_s) for n in notes], np.float64).reshape(-1, 2)
    return Notes(spans - recording.start_s, np.array([n.pitch for n in notes], np.float64))


def with_scores(items: list[Item], raw: Path) -> list[Item]:
    """The items with their ``score``, where it is known.

    ``raw``: the folder of ``download`` (its manifest may be missing). Only paired pieces keep the times of
    their file: others are trimmed and cut.
    """
    recordings = read_manifest(raw) if (raw / NAME).is_file() else []
    test = [r for r in recordings if (r.split, r.performance) == ("test", PERFORMANCE) and r.midi]
    known = {(r.piece, r.domain): r for r in test}

    def score(item: Item) -> Notes | None:
        domains = (item.target_domain, item.source_domain) if item.target is not None else ()
        played = [known[item.piece, domain] for domain in domains if (item.piece, domain) in known]
        notes = score_of(raw, played[0]) if played else None
        return notes if notes is not None and len(_begun(notes).pitches_midi) else None

    return [replace(item, score=score(item)) for item in items]


@dataclass
class KeptTranscriptions:
    """A transcriber (loaded when it is needed) that hears each recording once: what it heard is kept."""

    load: Callable[[], Transcribe]
    cache: Cache

    @cached_property
    def _transcribe(self) -> Transcribe:
        return self.load()

    def __call__(self, audio: np.ndarray, sample_rate: int) -> Transcription:
        key = digest(audio, sample_rate, code_of(NoteTranscriber.__module__), versions())
        return self.cache.once("transcriptions", key, lambda: self._transcribe(audio, sample_rate))


def heard_targets(items: Sequence[Item], sample_rate: int, cache: Cache) -> dict[str, Transcription]:
    """Transcriptions of the true targets of items that have a score, by item's name; kept between runs."""
    hear = KeptTranscriptions(NoteTranscriber, cache)
    return {item.name: hear(item.target.audio, sample_rate) for item in items if item.score is not None}


def _begun(score: Notes) -> Notes:
    """The notes that begin within the recording."""
    kept = score.intervals_s[:, 0] >= 0
    return Notes(score.intervals_s[kept], score.pitches_midi[kept])


def _against_scores(heard: Sequence[Notes], scores: Sequence[Notes]) -> tuple[float, np.ndarray]:
    """The median lag in seconds of recordings' notes, and precision, recall, F1 of each: (recordings, 3)."""
    lag = median_lag_s(heard, scores)
    return lag, np.array([score_notes(h, s, lag) for h, s in zip(heard, scores, strict=True)])


def score_records(
    results: Sequence["Result"], targets: Mapping[str, Transcription]
) -> Iterator[dict[str, Any]]:
    """Records of the notes that are heard against the score; none where an item has no score.

    ``targets``: what is heard of the true targets. Per item ``score_precision``, ``score_recall``,
    ``score_f1`` and, with ``_of_true``, divided by the mean of the true targets of the same items (so their
    means are ratios of means). Per direction ``score_lag_ms``, and what recordings of the target have:
    ``score_f1_real`` of the true targets, ``energy_ghosts_real`` of the second performances.
    """
    groups: dict[tuple[str, str], list[Result]] = {}
    for r in results:
        if r.item.score is not None:
            groups.setdefault((r.system, r.item.direction), []).append(r)
    second = [r for r in results if r.system == "oracle" and r.item.score is not None]
    ghosts = {r.item.name: r.scored.values["energy_ghosts"] for r in second}
    ceilings: dict[tuple[str, ...], np.ndarray] = {}  # precision, recall, F1 of true targets, by their names
    for (system, direction), here in groups.items():
        scores, names = [_begun(r.item.score) for r in here], tuple(r.item.name for r in here)
        lag_s, found = _against_scores([r.scored.notes for r in here], scores)
        if names not in ceilings:
            _, true = _against_scores([targets[name] for name in names], scores)
            ceilings[names] = true.mean(axis=0)
        ceiling = ceilings[names]
        of_true = found / np.where(ceiling > 0, ceiling, np.nan)
        for r, values, shares in zip(here, found, of_true, strict=True):
            key = {"system": system, "direction": direction, "item": r.item.piece, "stratum": r.item.stratum}
            for name, value, share in zip(SCORES, values, shares, strict=True):
                yield {**key, "metric": name, "value": float(value)}
                yield {**key, "metric": f"{name}_of_true", "value": float(share)}
        real = [x for r in here if np.isfinite(x := ghosts.get(r.item.name, np.nan))]
        means = {
            "score_lag_ms": 1000 * lag_s,
            "score_f1_real": float(ceiling[2]),
            "energy_ghosts_real": float(np.mean(real)) if real else float("nan"),
        }
        for name, value in means.items():
            yield {"system": system, "direction": direction, "item": "all", "metric": name, "value": value}
