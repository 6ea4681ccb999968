"""From notation to a performance: tempo, small deviations in time and loudness, MIDI."""

import io
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pretty_midi

from retimbre.datasets.scores.corpus import CHORALES, Note

JITTER_S = 0.006  # standard deviation of onsets
VELOCITY_MEAN, VELOCITY_STD, VELOCITY_RANGE = 80, 9, (40, 115)
ARTICULATION = 0.97  # share of its notated length that a note is held
SHORTEST_NOTE_S = 0.05
CHORALE_TEMPO_BPM = (72, 108)  # quarter notes per minute
TUNE_ONSETS_PER_S = (2.5, 5.5)  # tunes are notated in eighths or sixteenths: their onsets tell the tempo
TAIL_S = 1.0  # after the last note, for its release
TICKS_PER_QUARTER = 960  # of the MIDI files: 0.52 ms


class PlayedNote(NamedTuple):
    start_s: float
    end_s: float
    pitch: int
    velocity: int


def draw_tempo(notes: tuple[Note, ...] | list[Note], collection: str, rng: np.random.Generator) -> float:
    """Quarter notes per minute: 72-108 for chorales; tunes get 2.5-5.5 onsets per second."""
    if collection == CHORALES:
        return float(rng.uniform(*CHORALE_TEMPO_BPM))
    onsets = {note.onset for note in notes}
    quarters = max(note.onset + note.length for note in notes)
    return float(rng.uniform(*TUNE_ONSETS_PER_S)) * 60 * quarters / len(onsets)


def perform(
    notes: tuple[Note, ...] | list[Note], shift: int, tempo_bpm: float, rng: np.random.Generator
) -> list[PlayedNote]:
    """Play ``notes``, moved by ``shift`` semitones: onsets jitter by 6 ms, velocities are of N(80, 9).

    Unisons of two parts become one note and a repeated key ends the note before it, as on an
    instrument: otherwise one part's note-off would silence the other's note.
    """
    quarter_s = 60 / tempo_bpm
    jitter = rng.normal(0, JITTER_S, len(notes))
    velocities = np.clip(rng.normal(VELOCITY_MEAN, VELOCITY_STD, len(notes)), *VELOCITY_RANGE).astype(int)
    sounding: dict[tuple[float, int], PlayedNote] = {}
    for note, late, velocity in zip(notes, jitter, velocities, strict=True):
        start = max(0.0, note.onset * quarter_s + late)
        end = max(start + SHORTEST_NOTE_S, (note.onset + ARTICULATION * note.length) * quarter_s)
        key = (note.onset, note.pitch + shift)
        if key in sounding:
            other = sounding[key]
            sounding[key] = other._replace(end_s=max(end, other.end_s))
        else:
            sounding[key] = PlayedNote(start, end, note.pitch + shift, int(velocity))
    return end_repeats(sorted(sounding.values()))


def end_repeats(played: list[PlayedNote]) -> list[PlayedNote]:
    """End every note before the next one of the same pitch begins."""
    following: dict[int, float] = {}
    ended = []
    for note in reversed(played):
        end = min(note.end_s, following.get(note.pitch, float("inf")) - 0.002)
        if end - note.start_s > 0.01:
            ended.append(note._replace(end_s=end))
            following[note.pitch] = note.start_s
    return ended[::-1]


def duration_s(notes: tuple[Note, ...] | list[Note], tempo_bpm: float) -> float:
    """Length of a performance with its tail, from the notation alone."""
    return max(note.onset + note.length for note in notes) * 60 / tempo_bpm + TAIL_S


def excerpt(played: list[PlayedNote], start_s: float, length_s: float) -> list[PlayedNote]:
    """The notes that sound within an excerpt, cut at its ends; times from its start."""
    stop_s = start_s + length_s
    inside = [note for note in played if note.end_s > start_s and note.start_s < stop_s]
    return [
        note._replace(start_s=max(note.start_s, start_s) - start_s, end_s=min(note.end_s, stop_s) - start_s)
        for note in inside
    ]


def midi_bytes(played: list[PlayedNote], program: int) -> bytes:
    """A MIDI file: one instrument, full channel volume (CC7), no reverb and chorus (CC91, CC93).

    An event lies ``TAIL_S`` after the last note, because renderers stop at the last event.
    """
    midi = pretty_midi.PrettyMIDI(resolution=TICKS_PER_QUARTER)
    instrument = pretty_midi.Instrument(program)
    instrument.notes = [
        pretty_midi.Note(note.velocity, note.pitch, note.start_s, note.end_s) for note in played
    ]
    last = max(note.end_s for note in played) + TAIL_S
    change = pretty_midi.ControlChange
    instrument.control_changes = [change(7, 127, 0), change(91, 0, 0), change(93, 0, 0), change(91, 0, last)]
    midi.instruments.append(instrument)
    buffer = io.BytesIO()
    midi.write(buffer)
    return buffer.getvalue()


def write_midi(path: Path, played: list[PlayedNote], program: int = 0) -> None:
    """Write the notes beside the audio, as the truth about pitch and onsets."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(midi_bytes(played, program))


def read_midi(path: Path) -> list[PlayedNote]:
    """The notes of a MIDI file, in the order of their starts."""
    midi = pretty_midi.PrettyMIDI(str(path))
    notes = [note for instrument in midi.instruments for note in instrument.notes]
    return sorted(PlayedNote(note.start, note.end, note.pitch, note.velocity) for note in notes)
