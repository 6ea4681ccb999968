"""Notes of a recording as MIDI: those that are played, the same in any windows."""

import mido
import numpy as np
import pytest
import soundfile

from retimbre.cli import main
from retimbre.metrics.notes import Notes, onset_scores
from retimbre.nn.transcriber import midi
from tests.nn.transcriber.test_heard_notes import RATE, TUNE, play
from tests.toys.models import write_models


def read(path) -> Notes:
    """The notes of a MIDI file."""
    heard, begun, now = [], {}, 0.0
    for message in mido.MidiFile(path):
        now += message.time
        if message.type == "note_on" and message.velocity:
            begun[message.note] = now
        elif message.type == "note_on":
            heard.append((begun.pop(message.note), now, message.note))
    assert not begun, "every note ends"
    spans = np.array(sorted(heard))
    return Notes(spans[:, :2], spans[:, 2])


@pytest.fixture
def song(tmp_path):
    soundfile.write(tmp_path / "song.wav", np.stack([play(TUNE * 2)] * 2, 1), RATE)
    return tmp_path / "song.wav"


def test_the_notes_that_are_played_are_written(song, tmp_path, monkeypatch):
    onsets = 0.1 + 0.45 * np.arange(2 * len(TUNE))
    played = Notes(np.stack([onsets, onsets + 0.45], 1), np.array(TUNE * 2, float))
    midi.write_heard(song, tmp_path / "whole.mid")
    whole = read(tmp_path / "whole.mid")
    assert onset_scores(whole, played)[1] == 1 and onset_scores(whole, played)[0] > 0.8
    monkeypatch.setattr(midi, "BODY", 130)
    monkeypatch.setattr(midi, "CONTEXT", 172)  # 2 s
    midi.write_heard(song, tmp_path / "windows.mid")
    assert onset_scores(read(tmp_path / "windows.mid"), whole)[2] > 0.98


def test_the_command_writes_them_beside_the_audio(song, tmp_path, capsys):
    given = ["transfer", str(song), "--to", "guitar", "--models", str(write_models(tmp_path / "models"))]
    for name, words in (("out.txt", "must end in .mid"), ("none/out.mid", "does not exist: create it")):
        with pytest.raises(SystemExit) as stop:
            main([*given, "--midi", str(tmp_path / name)])
        assert stop.value.code == 1 and words in capsys.readouterr().err
    assert not list(tmp_path.glob("song-*"))
    main([*given, "--midi", str(tmp_path / "heard.mid")])
    assert "heard.mid  (the notes that were heard)" in capsys.readouterr().out
    assert set(TUNE) <= set(read(tmp_path / "heard.mid").pitches_midi.astype(int))
