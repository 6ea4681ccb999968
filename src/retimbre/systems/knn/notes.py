"""Notes as a transcriber hears them, frame by frame: what pools are asked by.

T frames, E events, D numbers of a key, F bins. An *event* is a key of the keyboard that sounds in a frame;
in a frame where none does there is one event, a rest, of pitch ``REST``.
"""

from dataclasses import dataclass

import numpy as np

from retimbre.nn.transcriber.content import CHANNELS, LOUDNESS_RANGE_DB, NOTE

KEYS, REST = 88, 88
HEARD = CHANNELS - NOTE.start  # channels of content that count: notes, onsets, loudness, and no contours
REACH = 2  # frames on each side that a key looks at
WINDOW = 2 * REACH + 1
OLDEST = 64  # frames since its onset, after which a note does not get older
INTERVALS = 24  # semitones, to the farthest notes that a key tells of
RESTRUCK = 0.4  # onset posterior from which a note that sounds begins anew
# Of distances between keys: how much a posterior of 1 counts beside a unit of loudness (30 dB), a doubling of
# the age, another note that sounds, and a semitone.
WEIGHTS = {"note": 0.5, "onset": 1.0, "loudness": 1.0, "age": 0.25, "others": 0.3, "pitch": 0.3}
LOUDNESS_OF_KEY = slice(2 * WINDOW, 3 * WINDOW)
HARMONICS = 24
WIDTH_BINS, WIDER = 0.7, 0.04  # standard deviation of a partial, and how much wider each next one is
BESIDE = 1e-3  # of what lies beside all partials, which sounding notes share


@dataclass(frozen=True)
class Events:
    """Events by pitch, then by frame: ``keys`` (E, D), ``pitch`` (E,) 0 to 88, ``frame`` (E,)."""

    keys: np.ndarray
    pitch: np.ndarray
    frame: np.ndarray


def ages(sounding: np.ndarray, onsets: np.ndarray) -> np.ndarray:
    """Frames since each sounding note (T, 88) began or was struck again, 0 where it is silent: (T, 88)."""
    peak = (onsets > RESTRUCK) & (onsets >= np.roll(onsets, 1, 0)) & (onsets > np.roll(onsets, -1, 0))
    found, age = np.zeros(sounding.shape, np.int32), np.zeros(sounding.shape[1], np.int32)
    for t, (now, struck) in enumerate(zip(sounding, peak, strict=True)):
        age = np.where(now, np.where(struck, 1, np.minimum(age + 1, OLDEST)), 0)
        found[t] = age
    return found


def around(x: np.ndarray) -> np.ndarray:
    """Values (T, ...) of the frames from ``REACH`` before to as many after: (T, 5, ...)."""
    padded = np.concatenate([x[:1]] * REACH + [x] + [x[-1:]] * REACH)
    return np.stack([padded[i : i + len(x)] for i in range(WINDOW)], 1)


def others(notes: np.ndarray, frame: np.ndarray, pitch: np.ndarray) -> np.ndarray:
    """Posteriors of notes (T, 88) that sound beside events, by their intervals: (E, 2 * INTERVALS + 1)."""
    padded = np.pad(notes, ((0, 0), (INTERVALS, INTERVALS)))
    found = padded[frame[:, None], pitch[:, None] + np.arange(2 * INTERVALS + 1)]
    found[:, INTERVALS] = 0  # the note itself
    return found


def events(content: np.ndarray, sounds: float) -> Events:
    """Events of content (T, C) or its last ``HEARD`` channels; notes count from a posterior of ``sounds``."""
    heard = np.asarray(content[:, -HEARD:], np.float32)
    notes, onsets, w = heard[:, :KEYS], heard[:, KEYS : 2 * KEYS], WEIGHTS
    loudness = around(heard[:, -1])
    sounding = notes > sounds
    age, count = ages(sounding, onsets), sounding.sum(1)
    pitch, frame = np.nonzero(sounding.T)
    keys = np.concatenate(
        [
            w["note"] * around(notes)[frame, :, pitch],
            w["onset"] * around(onsets)[frame, :, pitch],
            w["loudness"] / WINDOW**0.5 * loudness[frame],
            w["age"] * np.log2(1 + age[frame, pitch])[:, None],
            w["others"] * others(notes * sounding, frame, pitch),
            w["pitch"] * pitch[:, None],
        ],
        1,
    )
    rests = np.flatnonzero(count == 0)
    silent = np.zeros((len(rests), keys.shape[1]))
    silent[:, LOUDNESS_OF_KEY] = w["loudness"] / WINDOW**0.5 * loudness[rests]
    return Events(
        np.concatenate([keys, silent]).astype(np.float32),
        np.concatenate([pitch, np.full(len(rests), REST)]).astype(np.int16),
        np.concatenate([frame, rests]).astype(np.int32),
    )


def loudness_db(keys: np.ndarray) -> np.ndarray:
    """Loudness around events with keys (E, D), up to a constant: (E,)."""
    return keys[:, LOUDNESS_OF_KEY].mean(1) * WINDOW**0.5 / WEIGHTS["loudness"] * LOUDNESS_RANGE_DB / 2


def combs(frequencies_hz: np.ndarray) -> np.ndarray:
    """Partials of every key on a constant-Q scale of F bins: (88, F), about 1 at the fundamental.

    Partials fall by 6 dB per octave, as an instrument's do more or less: they say which of two notes owns a
    bin, no more.
    """
    bins_per_octave = 1 / np.log2(frequencies_hz[1] / frequencies_hz[0])
    f0_hz = 440 * 2 ** ((np.arange(KEYS)[:, None] - 48) / 12)
    place = bins_per_octave * np.log2(frequencies_hz / frequencies_hz[0])  # of every bin, (F,)
    found = np.full((KEYS, len(frequencies_hz)), BESIDE)
    for h in range(1, HARMONICS + 1):
        partial = bins_per_octave * np.log2(h * f0_hz / frequencies_hz[0])
        found += np.exp(-0.5 * ((place - partial) / (WIDTH_BINS + WIDER * h)) ** 2) / h
    return found.astype(np.float32)
