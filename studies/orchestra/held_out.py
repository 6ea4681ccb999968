"""Held-out scores on any two instruments, in the range that both have, and what is heard of outputs."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from retimbre.audio.features import spectrum_of
from retimbre.audio.levels import rms
from retimbre.datasets.scores import corpus, performance, soundfont
from retimbre.datasets.scores.performance import PlayedNote
from retimbre.metrics.notes import Notes, median_lag_s, score_notes
from retimbre.metrics.spectral import aligned, best_shift, feature_lsd
from retimbre.nn.transcriber.notes import NoteTranscriber
from retimbre.systems.base import Spectral

UNSEEN = {"organ": 19, "harp": 46, "marimba": 12, "voice": 52}  # General MIDI programs
KEYS = (48, 84)  # MIDI pitches of them
MOST_SCORES = 12  # of a collection, among which one must fit
EXCERPT_S = 6.0
SEED = 7  # of performances
HIGH_HZ = 8000


def program(name: str) -> int:
    """General MIDI program of an instrument, of the data set or unseen."""
    return UNSEEN[name] if name in UNSEEN else soundfont.instrument(name).program


class Played(NamedTuple):
    """A recording (N,) and the notes of its score."""

    audio: np.ndarray
    score: Notes


class HeldOut:
    """Scores of which no training has seen a note, and what plays them. ``p``: the params' sections."""

    def __init__(self, p: Any, sample_rate: int):
        self.seed, self.level, self.rate = p.seed, p.audio.rms, sample_rate
        self.font = soundfont.find_font(p.dataset.soundfont)
        self.scores = {collection: self._chosen(collection) for collection in (corpus.CHORALES, corpus.TUNES)}

    def _chosen(self, collection: corpus.Collection) -> list[corpus.Score]:
        """The first scores of the test split."""
        every = corpus.scores(collection, self.seed, 1)
        test = (score for score in every if corpus.split_of(score.incipit, 1)[0] == "test")
        return [score for _, score in zip(range(MOST_SCORES), test, strict=False)]

    def takes(self, one: str, other: str) -> Iterator[tuple[list[PlayedNote], list[PlayedNote]]]:
        """A chorale and a tune, as two performances each; instruments of one voice play the top line."""
        known = [soundfont.INSTRUMENTS.get(name) for name in (one, other)]
        lowest = max(i.lowest if i else KEYS[0] for i in known)
        highest = min(i.highest if i else KEYS[1] for i in known)
        whole = all(i.polyphonic for i in known if i)
        for collection, scores in self.scores.items():
            for score in scores:
                line = score.notes if whole else tuple(corpus.top_line(score.notes))
                if shifts := corpus.transpositions(line, lowest, highest):
                    rng = np.random.default_rng([SEED, len(line)])
                    tempo = performance.draw_tempo(line, collection, rng)
                    first, second = (performance.perform(line, shifts[0], tempo, rng) for _ in range(2))
                    yield first, second
                    break

    def played(self, notes: list[PlayedNote], instrument: str) -> Played:
        """The first seconds of a performance on an instrument."""
        heard = performance.excerpt(notes, 0.0, EXCERPT_S)
        length = round(EXCERPT_S * self.rate)
        audio = soundfont.recorded(heard, program(instrument), self.font.path, length, self.rate)
        audio = (audio * (self.level / max(rms(audio), 1e-9))).astype(np.float32)
        spans = np.array([(n.start_s, n.end_s) for n in heard]).reshape(-1, 2)
        return Played(audio, Notes(spans, np.array([float(n.pitch) for n in heard])))


class Judge:
    """Distances and notes of outputs of a system. It can be sent to other processes."""

    def __init__(self, system: Spectral):
        self.system, self.change, self.config = system, system.change, system.change.features
        self.transcribe = NoteTranscriber()

    def spectrum(self, audio: np.ndarray) -> np.ndarray:
        return spectrum_of(audio, self.config, self.change.representation)

    def distance(self, made_db: np.ndarray, true_db: np.ndarray) -> float:
        return best_shift(made_db, true_db, self.change.top_db, self.config.range_db)[1]

    def high_distance(self, audio: np.ndarray, true_db: np.ndarray) -> float:
        """Distance of audio (N,) above 8 kHz, once the best shift is taken out."""
        made_db, top, wide = self.spectrum(audio), self.change.top_db, self.config.range_db
        late, _ = best_shift(made_db, true_db, top, wide)
        high = self.config.frequencies_hz(self.change.representation) > HIGH_HZ
        return feature_lsd(*(x[high] for x in aligned(made_db, true_db, late)), top, wide)

    def notes(self, heard: list[Played]) -> float:
        """Mean F1 of what is heard of recordings against their scores, after their median lag."""
        found = [self.transcribe(audio, self.config.sample_rate) for audio, _ in heard]
        scores = [played.score for played in heard]
        lag = median_lag_s(found, scores)
        return float(np.mean([score_notes(x, s, lag)[2] for x, s in zip(found, scores, strict=True)]))
