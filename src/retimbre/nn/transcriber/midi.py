"""Notes of a recording of any length, as :mod:`.content` hears them, in a MIDI file.

A note's velocity is its mean probability. Bends and metre are left out: the tempo is 120 quarter notes a
minute throughout.
"""

from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np

from retimbre.audio.files import StreamReader, survey
from retimbre.audio.levels import SoundingLevel
from retimbre.audio.resampling import even
from retimbre.metrics.note_events import LOWEST_MIDI, note_events
from retimbre.nn.transcriber.content import NOTE, ONSET, posteriors
from retimbre.nn.transcriber.network import HOP, SAMPLE_RATE, pretrained
from retimbre.paths import part_beside
from retimbre.progress import Progress

BODY, CONTEXT = 5168, 861  # frames: a minute, whose notes are heard with 10 s on both sides
RMS = 0.1  # level at which the transcriber hears
TICKS_PER_QUARTER = 480
QUARTER_US = 500_000  # 120 quarter notes a minute


class HeardNote(NamedTuple):
    start_s: float
    end_s: float
    pitch: int  # MIDI
    velocity: int  # 1 to 127


def heard_notes(blocks: Iterable[np.ndarray], level: float) -> Iterator[HeardNote]:
    """Notes of mono blocks (n,) at 22,050 Hz, whose RMS is ``level``, in the order of their windows.

    Memory does not grow with the recording. A note that begins late in a window ends at the latest 10 s on.
    """
    network, gain = pretrained(), np.float32(RMS / max(level, 1e-9))
    held = np.zeros(2 * CONTEXT * HOP, np.float32)
    silence = held[: CONTEXT * HOP]
    for number, block in enumerate(even(chain(blocks, [silence]), BODY * HOP)):
        window = np.concatenate([held, block * gain])
        held = window[-2 * CONTEXT * HOP :]
        frames = len(window) // HOP
        heard = posteriors(network, window, SAMPLE_RATE, np.arange(frames) * HOP / SAMPLE_RATE)
        notes, first = heard[:, NOTE], number * BODY - 2 * CONTEXT
        for start, end, pitch in note_events(notes, heard[:, ONSET]):
            if CONTEXT <= start < frames - CONTEXT:
                velocity = round(127 * float(notes[start:end, pitch - LOWEST_MIDI].mean()))
                times_s = (max(0, first + frame) * HOP / SAMPLE_RATE for frame in (start, end))
                yield HeardNote(*times_s, int(pitch), max(1, velocity))


def write_heard(source: Path, target: Path) -> None:
    """Write the notes of a recording to a MIDI file, which appears whole or not at all.

    Raises RetimbreError for a recording that cannot be read.
    """
    found, level = survey(source), SoundingLevel(SAMPLE_RATE)
    reader = StreamReader(source, SAMPLE_RATE, found)
    for block in reader:
        level.update(block)
    with Progress(int(np.ceil(found.duration_s)), f"notes of {source.name}", "s") as progress:

        def read() -> Iterator[np.ndarray]:
            for block in even(reader, SAMPLE_RATE):
                progress.update()
                yield block

        write_midi(target, list(heard_notes(read(), level.rms)))


def write_midi(target: Path, notes: list[HeardNote]) -> None:
    """Write notes as one track of a MIDI file."""
    import mido

    tempo = mido.MetaMessage("set_tempo", tempo=QUARTER_US)
    track = mido.MidiTrack([tempo])
    # The end of a note comes before the beginning of the next one.
    events = [(note.start_s, note.velocity, note.pitch) for note in notes]
    events += [(note.end_s, 0, note.pitch) for note in notes]
    before = 0
    for time_s, velocity, pitch in sorted(events):
        ticks = mido.second2tick(time_s, TICKS_PER_QUARTER, QUARTER_US)
        track.append(mido.Message("note_on", note=pitch, velocity=velocity, time=ticks - before))
        before = ticks
    with part_beside(target) as part:
        mido.MidiFile(ticks_per_beat=TICKS_PER_QUARTER, tracks=[track]).save(part)
