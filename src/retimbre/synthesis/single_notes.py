"""Single notes of the sampled instruments: each alone, over its tuned range, at five velocities.

Splits are made by cell, a pitch at a velocity, which is the same for all instruments: of every pitch one
velocity is held out for the test, of half the pitches another one for validation.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from retimbre.datasets.recordings.choosing import unit_hash
from retimbre.datasets.scores import soundfont
from retimbre.datasets.scores.performance import TICKS_PER_QUARTER, PlayedNote

VELOCITIES = (25, 50, 75, 100, 127)  # NSynth's
HELD = 0.75  # share of its length that a note is held, as in NSynth
SILENCE_S = 2.0  # behind a note, so that nothing of it is heard in the next
# The renderer begins notes with its next block of 64 samples. A note on a block's edge would begin with one
# or the other, as its sum of times is rounded; a tick of MIDI behind it they all begin with the next.
TICK_S = 0.5 / TICKS_PER_QUARTER


class SingleNote(NamedTuple):
    """``instrument``: a domain, as in ``soundfont.INSTRUMENTS``."""

    instrument: str
    pitch: int
    velocity: int
    split: str


def split_of(pitch: int, velocity: int) -> str:
    """The split of a cell; it depends on nothing else."""
    test, validation = sorted(VELOCITIES, key=lambda v: unit_hash(f"note {pitch} {v}"))[:2]
    if velocity == test:
        return "test"
    held_out = velocity == validation and unit_hash(f"note {pitch}") < 0.5
    return "validation" if held_out else "train"


def single_notes(instruments: Sequence[str]) -> list[SingleNote]:
    """All notes of the instruments. Raises RetimbreError for one that is not known."""
    found = []
    for name in instruments:
        instrument = soundfont.instrument(name)
        for pitch in range(instrument.lowest, instrument.highest + 1):
            found += [SingleNote(name, pitch, v, split_of(pitch, v)) for v in VELOCITIES]
    return found


def render(notes: Sequence[SingleNote], font: soundfont.Font, samples: int, rate: int) -> np.ndarray:
    """Audio (B, samples) float32 of notes of one instrument, at the font's own level."""
    step = int(np.ceil(samples / rate + SILENCE_S))  # whole seconds, which are whole blocks
    held = HELD * samples / rate
    played = [
        PlayedNote(n * step + TICK_S, n * step + TICK_S + held, note.pitch, note.velocity)
        for n, note in enumerate(notes)
    ]
    program = soundfont.instrument(notes[0].instrument).program
    audio = soundfont.recorded(played, program, font.path, len(notes) * step * rate, rate)
    return audio.reshape(len(notes), step * rate)[:, :samples]
