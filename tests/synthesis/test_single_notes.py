"""Single notes: how many, each in one split, the same alone as among others."""

from collections import Counter

import numpy as np

from retimbre.datasets.scores import soundfont
from retimbre.datasets.sources.base import Track
from retimbre.synthesis import notes as sets
from retimbre.synthesis import single_notes


def test_histogram_of_the_embedded_notes() -> None:
    found = single_notes.single_notes(soundfont.INSTRUMENTS)
    assert Counter(note.split for note in found) == {"train": 1562, "validation": 254, "test": 454}
    assert Counter(note.instrument for note in found) == {
        "piano": 345, "guitar": 220, "steel_guitar": 220, "clean_guitar": 220, "violin": 130, "cello": 185,
        "trumpet": 145, "alto_sax": 160, "oboe": 155, "bassoon": 185, "clarinet": 195, "flute": 110,
    }  # fmt: skip
    assert set(Counter(note.velocity for note in found).values()) == {454}


def test_a_cell_is_in_one_split_and_every_pitch_is_learned() -> None:
    found = single_notes.single_notes(soundfont.INSTRUMENTS)
    splits: dict[tuple[int, int], set[str]] = {}
    for note in found:
        splits.setdefault((note.pitch, note.velocity), set()).add(note.split)
    assert all(len(one) == 1 for one in splits.values())
    for split in ("train", "test"):
        assert {note.pitch for note in found if note.split == split} == set(range(28, 97))


def test_a_note_sounds_alone_as_among_others() -> None:
    font = soundfont.find_font(None)
    own = [note for note in single_notes.single_notes(["guitar"]) if note.pitch == 52]
    together = single_notes.render(own, font, 4096, 16000)
    alone = single_notes.render(own[-1:], font, 4096, 16000)
    assert together.shape == (5, 4096) and np.abs(alone).max() > 0.05
    assert np.abs(together[-1] - alone[0]).max() < 1e-6
    loud = np.abs(together).max(axis=1)
    assert (np.diff(loud) > 0).all()  # velocities rise


def test_nsynths_names_say_pitch_and_velocity_and_words_are_counted() -> None:
    note = Track("a.wav", "guitar", "nsynth-guitar_acoustic_010-060-075")
    word = Track("one/b.wav", "guitar", "speech_commands-one-b")
    assert sets.described([note, word], ["flute", "guitar"]).tolist() == [[60, 75, 1], [1, 100, 0]]
