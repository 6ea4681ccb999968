"""Performances: timing, velocities, unisons, MIDI round trip."""

import io

import numpy as np
import pretty_midi
import pytest

from retimbre.datasets.scores import performance
from retimbre.datasets.scores.corpus import CHORALES, TUNES, Note
from retimbre.datasets.scores.performance import PlayedNote

SCALE = [Note(i * 0.5, 0.5, 60 + i, 0) for i in range(400)]


def rng():
    return np.random.default_rng(5)


def test_deviations_have_the_stated_spread():
    played = performance.perform(SCALE, 0, 120, rng())
    late = np.array([note.start_s for note in played[1:]]) - np.array(
        [note.onset * 0.5 for note in SCALE[1:]]
    )
    velocities = np.array([note.velocity for note in played])
    assert np.std(late) == pytest.approx(0.006, rel=0.15)
    assert np.mean(velocities) == pytest.approx(80, abs=1.5)
    assert np.std(velocities) == pytest.approx(9, rel=0.15)
    assert [note.pitch for note in played] == [note.pitch for note in SCALE]


def test_a_second_performance_differs_in_jitter_and_velocity_only():
    one = performance.perform(SCALE, 3, 100, np.random.default_rng(1))
    two = performance.perform(SCALE, 3, 100, np.random.default_rng(2))
    assert [note.pitch for note in one] == [note.pitch for note in two]
    gaps = [abs(a.start_s - b.start_s) for a, b in zip(one, two, strict=True)]
    assert 0 < max(gaps) < 0.06
    assert any(a.velocity != b.velocity for a, b in zip(one, two, strict=True))


def test_a_unison_is_one_note_and_a_repeat_ends_the_note_before():
    notes = [Note(0, 4, 60, 0), Note(0, 1, 60, 1), Note(2, 1, 60, 2)]
    played = performance.perform(notes, 0, 60, rng())
    assert [note.pitch for note in played] == [60, 60]
    assert played[0].end_s < played[1].start_s
    assert played[0].end_s > 1.9  # the longer of the two parts, up to the repeat


def test_tempo_of_chorales_and_tunes():
    for seed in range(20):
        draw = np.random.default_rng(seed)
        assert 72 <= performance.draw_tempo(SCALE, CHORALES, draw) <= 108
        per_second = len(SCALE) / (200 * 60 / performance.draw_tempo(SCALE, TUNES, draw))
        assert 2.5 <= per_second <= 5.5


def test_excerpt_keeps_what_sounds_within_it():
    notes = [
        PlayedNote(0, 1, 60, 80),
        PlayedNote(0.5, 2.5, 62, 80),
        PlayedNote(3, 4, 64, 80),
        PlayedNote(5, 6, 65, 80),
    ]
    inside = performance.excerpt(notes, 2, 1.5)
    assert inside == [PlayedNote(0, 0.5, 62, 80), PlayedNote(1, 1.5, 64, 80)]


def test_midi_round_trip(tmp_path):
    played = performance.perform(SCALE[:40], 0, 90, rng())
    path = tmp_path / "folder" / "scale.mid"
    performance.write_midi(path, played, program=24)
    back = performance.read_midi(path)
    assert [(n.pitch, n.velocity) for n in back] == [(n.pitch, n.velocity) for n in played]
    assert np.abs(np.array([n.start_s for n in back]) - [n.start_s for n in played]).max() < 0.001


def test_midi_is_dry_and_ends_after_the_last_release():
    midi = pretty_midi.PrettyMIDI(io.BytesIO(performance.midi_bytes([PlayedNote(0, 1, 60, 80)], 24)))
    changes = {(c.number, c.value) for c in midi.instruments[0].control_changes}
    assert {(7, 127), (91, 0), (93, 0)} <= changes
    assert max(c.time for c in midi.instruments[0].control_changes) == pytest.approx(2.0, abs=0.001)
    assert midi.instruments[0].program == 24
