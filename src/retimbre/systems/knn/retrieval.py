"""Frames of an instrument's recordings, found again by the notes that sound in them.

T frames, E events (:mod:`.notes`), F bins, K neighbours. Every note of a frame is looked for on its own, in
its own pitch or some semitones away, and brings its share of a recorded frame; shares of all notes of a frame
are added in power. So chords are made that no recording holds, and one that is held by a recording comes out
as it was.
"""

import itertools
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from retimbre.systems.knn.notes import HEARD, KEYS, REST, Events, combs, events, loudness_db

FLOOR_DB = -120.0
MOST_GAIN_DB = 9.0  # by which a neighbour is made louder or softer
ROWS = 256  # events that are compared at a time
ON_PARTIALS = 0.05  # of a comb, from which a bin belongs to a partial


@dataclass(frozen=True)
class Pool:
    """Recordings of one instrument, one after another.

    ``spectra`` (T, F) in dB; ``content`` (T, HEARD) of it; ``starts``: the first frame of each recording.
    """

    spectra: np.ndarray
    content: np.ndarray
    starts: np.ndarray
    frequencies_hz: np.ndarray
    sounds: float

    @cached_property
    def events(self) -> Events:
        """Events of the recordings: ages and neighbouring frames do not reach from one into the next."""
        parts = np.split(self.content, self.starts[1:])
        found = [events(part, self.sounds) for part in parts]
        keys, pitch = (np.concatenate([getattr(e, name) for e in found]) for name in ("keys", "pitch"))
        frame = np.concatenate([e.frame + start for e, start in zip(found, self.starts, strict=True)])
        order = np.lexsort((frame, pitch))
        return Events(keys[order], pitch[order], frame[order])

    @cached_property
    def edges(self) -> np.ndarray:
        """Places among the events at which each pitch begins, and the end of the last one: (90,)."""
        return np.searchsorted(self.events.pitch, np.arange(REST + 2))

    @cached_property
    def follows(self) -> np.ndarray:
        """True for an event that goes on from the one before it in its recording: (E,)."""
        pitch, frame = self.events.pitch, self.events.frame
        found = np.zeros(len(frame), bool)
        found[1:] = (np.diff(frame) == 1) & (np.diff(pitch) == 0)
        return found & ~np.isin(frame, self.starts)

    @cached_property
    def notes(self) -> np.ndarray:
        """Posteriors of the notes that sound (T, 88), 0 where they do not."""
        notes = self.content[:, -HEARD:][:, :KEYS].astype(np.float32)
        return np.where(notes > self.sounds, notes, 0)

    @cached_property
    def combs(self) -> np.ndarray:
        return combs(self.frequencies_hz)

    @cached_property
    def loudness_db(self) -> np.ndarray:
        """Loudness around every event (E,)."""
        return loudness_db(self.events.keys)

    def shares(self, found: np.ndarray) -> np.ndarray:
        """Spectra in dB (..., F) of events (...,): of each frame what belongs to the event's note."""
        frame, pitch = self.events.frame[found], self.events.pitch[found]
        values = self.spectra[frame].astype(np.float32)
        heard = pitch < REST
        own = np.where(heard, pitch, 0)
        notes = self.notes[frame]  # (..., 88)
        whole = notes @ self.combs
        part = np.take_along_axis(notes, own[..., None], -1) * self.combs[own]
        share = np.where(heard[..., None], part / np.maximum(whole, 1e-9), 1.0)
        return np.maximum(values + 10 * np.log10(np.maximum(share, 1e-12)), FLOOR_DB)


@dataclass(frozen=True)
class Search:
    """Retrieval from a pool: ``neighbours`` are averaged of so many ``candidates``; notes may be so many
    ``semitones`` away; ``continuity``: the cost of leaving a recording between two frames; ``follow``: how
    much of a difference in loudness is made up for, 0 to 1; ``additive``: partials by mean power, not mean
    level.
    """

    neighbours: int
    candidates: int
    semitones: int
    continuity: float
    follow: float
    additive: bool

    def nearest(self, pool: Pool, keys: np.ndarray, pitch: int) -> tuple[np.ndarray, np.ndarray]:
        """The nearest events (Q, N) of one pitch's keys (Q, D) by distance, and the squared distances."""
        reach = self.semitones if pitch < REST else 0
        low, high = max(pitch - reach, 0), min(pitch + reach, KEYS - 1) if pitch < REST else REST
        first, last = pool.edges[low], pool.edges[high + 1]
        if first == last:
            return np.zeros((len(keys), 0), np.int64), np.zeros((len(keys), 0), np.float32)
        theirs = pool.events.keys[first:last]
        squares, count = np.square(theirs).sum(1), min(self.candidates, last - first)
        found, costs = [], []
        for start in range(0, len(keys), ROWS):
            ours = keys[start : start + ROWS]
            distance = np.square(ours).sum(1)[:, None] + squares - 2 * ours @ theirs.T
            nearest = np.argpartition(distance, count - 1, 1)[:, :count]
            found.append(nearest + first)
            # Anew: `distance` is rounded by more than near events differ in.
            costs.append(np.square(theirs[nearest] - ours[:, None]).sum(2))
        return np.concatenate(found), np.concatenate(costs)

    def run(self, pool: Pool, keys: np.ndarray, found: np.ndarray, costs: np.ndarray) -> list[np.ndarray]:
        """The neighbours (K,) of each event of a note that sounds on, keys (L, D): those that the cheapest
        ways lead through, from candidate (L, N) to candidate.
        """
        choice, local = [found[0]], [costs[0]]
        for t in range(1, len(keys)):
            on = np.minimum(choice[-1] + 1, len(pool.follows) - 1)
            on = on[pool.follows[on] & ~(on[:, None] == found[t]).any(1)][: self.candidates]
            more = np.square(pool.events.keys[on] - keys[t]).sum(1)
            choice.append(np.concatenate([found[t], on]))
            local.append(np.concatenate([costs[t], more]))
        ahead, back = [local[0]], [np.zeros(len(local[-1]))]
        leaps = [self._leaps(pool, a, b) for a, b in itertools.pairwise(choice)]
        for t, leap in enumerate(leaps, 1):
            ahead.append(local[t] + (ahead[-1][:, None] + leap).min(0))
        for t in range(len(leaps) - 1, -1, -1):
            back.append((leaps[t] + local[t + 1] + back[-1]).min(1))
        total = [a + b for a, b in zip(ahead, reversed(back), strict=True)]
        return [
            c[np.argsort(cost, kind="stable")[: self.neighbours]]
            for c, cost in zip(choice, total, strict=True)
        ]

    def _leaps(self, pool: Pool, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Cost of going from events (N,) to events (M,): (N, M)."""
        goes_on = (a[:, None] + 1 == b[None]) & pool.follows[b][None]
        return np.where(goes_on, 0.0, self.continuity)

    def spectrum(self, pool: Pool, content: np.ndarray, segment: int) -> np.ndarray:
        """Content (T, C) to a spectrum in dB (F, T) of the pool's instrument.

        No way leads from one ``segment`` of frames to the next.
        """
        asked = events(content, pool.sounds)
        power = np.zeros((len(content), pool.spectra.shape[1]))
        for pitch in np.unique(asked.pitch):
            of = np.flatnonzero(asked.pitch == pitch)
            keys, frame = asked.keys[of], asked.frame[of]
            found, costs = self.nearest(pool, keys, int(pitch))
            if not found.shape[1]:
                continue
            breaks = (np.diff(frame) != 1) | (np.diff(frame // segment) != 0)
            runs = np.split(np.arange(len(of)), np.flatnonzero(breaks) + 1)
            chosen = np.concatenate([self.run(pool, keys[run], found[run], costs[run]) for run in runs])
            power[frame] += 10 ** (self._rendered(pool, chosen, keys, int(pitch)) / 10)
        return 10 * np.log10(np.maximum(power, 10 ** (FLOOR_DB / 10))).T.astype(np.float32)

    def _rendered(self, pool: Pool, found: np.ndarray, keys: np.ndarray, pitch: int) -> np.ndarray:
        """Spectra in dB (Q, F) of one pitch with keys (Q, D) from its neighbours (Q, K)."""
        values = pool.shares(found)
        more = loudness_db(keys)[:, None] - pool.loudness_db[found]
        values += np.clip(self.follow * more, -MOST_GAIN_DB, MOST_GAIN_DB)[..., None]
        if pitch == REST:
            return values.mean(1)
        octave = 1 / np.log2(pool.frequencies_hz[1] / pool.frequencies_hz[0])
        bins = np.round((pitch - pool.events.pitch[found]) * octave / 12).astype(int)
        place, last = np.arange(values.shape[-1]) - bins[..., None], values.shape[-1] - 1
        moved = np.take_along_axis(values, place.clip(0, last), -1)
        values = np.where((place >= 0) & (place <= last), moved, values.min(-1, keepdims=True))
        level = values.mean(1)
        if not self.additive:
            return level
        peaks = 10 * np.log10((10 ** (values / 10)).mean(1))
        return np.where(pool.combs[pitch] > ON_PARTIALS, peaks, level)
