"""The column ``range``: items whose notes are playable on the target, and those whose are not.

A transfer that is asked for notes which the target instrument was never heard to play cannot be learnt from
recordings of it; such items are a stratum of their own (``out``). The target's range is what its *training*
recordings play. Notes come from the MIDI files that ``download`` keeps beside paired and rendered
recordings (an item's from its score); where there are none, from transcriptions (basic-pitch), whose
mistakes are allowed for: the range is then without the outermost 1 % of notes, and an item is ``in`` with
95 % of its notes inside.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from retimbre.datasets.packed.format import PackedAudio
from retimbre.datasets.recordings.manifest import NAME, Recording, read_manifest
from retimbre.evaluation.bench.cache import Cache
from retimbre.evaluation.bench.scores import KeptTranscriptions, Transcribe, score_of
from retimbre.evaluation.bench.testset import Item

MOST_MIDI_FILES = 200  # of a domain's training split, spread evenly: enough to know a range
TRANSCRIBED_CLIPS, TRANSCRIBED_S = 12, 8.0  # of a domain's training split, when there is no MIDI
OUTERMOST_PERCENT = 1.0
SHARE_INSIDE = 0.95


def _spread(things: list, most: int) -> list:
    places = np.linspace(0, len(things) - 1, min(most, len(things))).round().astype(int)
    return [things[i] for i in np.unique(places)]


def midi_pitches(raw: Path, recordings: Iterable[Recording]) -> np.ndarray:
    """MIDI pitches (n,) of all notes that sound within the recordings, from their MIDI files."""
    return np.concatenate([np.zeros(0), *(score_of(raw, recording).pitches_midi for recording in recordings)])


class Ranges:
    """Ranges of the domains' training recordings.

    ``raw``: the folder of ``download`` (its manifest may be missing: everything is transcribed then).
    """

    def __init__(self, raw: Path, audio: PackedAudio, transcribe: Callable[[], Transcribe], cache: Cache):
        self.raw, self.audio, self.hear = raw, audio, KeptTranscriptions(transcribe, cache)
        self.recordings = read_manifest(raw) if (raw / NAME).is_file() else []
        self._ranges: dict[str, tuple[float, float] | None] = {}

    def _transcribed(self, audio: np.ndarray) -> np.ndarray:
        """Pitches of a recording by transcription."""
        return self.hear(audio, self.audio.config["sample_rate"]).pitches_midi

    def of(self, domain: str) -> tuple[float, float] | None:
        """Lowest and highest MIDI pitch of a domain's training recordings; None when no note is known."""
        if domain not in self._ranges:
            written = [r for r in self.recordings if r.domain == domain and r.split == "train" and r.midi]
            if written:
                pitches = midi_pitches(self.raw, _spread(written, MOST_MIDI_FILES))
                ends = (0.0, 100.0)
            else:
                most = int(TRANSCRIBED_S * self.audio.config["sample_rate"])
                heard = _spread(self.audio.excerpts(domain=domain, split="train"), TRANSCRIBED_CLIPS)
                clips = [self.audio.read(e, 0, min(e.length, most)) for e in heard]
                pitches = np.concatenate([np.zeros(0), *map(self._transcribed, clips)])
                ends = (OUTERMOST_PERCENT, 100.0 - OUTERMOST_PERCENT)
            low, high = np.percentile(pitches, ends) if len(pitches) else (0.0, 0.0)
            self._ranges[domain] = (float(low), float(high)) if len(pitches) else None
        return self._ranges[domain]

    def notes_of(self, item: Item) -> tuple[np.ndarray, float]:
        """Pitches (n,) of an item's source, and the share of them that must lie inside."""
        if item.score is not None:
            return item.score.pitches_midi, 1.0
        return self._transcribed(item.source.audio), SHARE_INSIDE

    def name(self, item: Item) -> str:
        """``in``, ``out`` or ``any``."""
        span, (pitches, needed) = self.of(item.target_domain), self.notes_of(item)
        if span is None or not len(pitches):
            return "any"
        return "in" if ((pitches >= span[0]) & (pitches <= span[1])).mean() >= needed else "out"


def with_ranges(items: list[Item], ranges: Ranges) -> list[Item]:
    """The items with their column ``range``."""
    return [replace(item, range=ranges.name(item)) for item in items]
