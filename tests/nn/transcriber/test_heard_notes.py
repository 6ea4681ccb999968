"""basic-pitch and swift-f0 through this project's windows, levels and caches."""

import pickle

import numpy as np
import pytest

from retimbre.metrics.notes import melody_scores
from retimbre.nn.transcriber.notes import NoteTranscriber, melody

RATE = 16000
TUNE = [60, 64, 67, 72, 71, 67, 62]


def play(pitches, lead_s=0.1, length_s=0.45):
    """Tones one after another, each with attack and decay."""
    t = np.arange(int(length_s * RATE)) / RATE
    envelope = 0.1 * np.exp(-2 * t) * np.minimum(1, t / 0.005)
    partials = [
        sum(np.sin(2 * np.pi * 440 * 2 ** ((p - 69) / 12) * k * t) / k**1.2 for k in range(1, 6)) * envelope
        for p in pitches
    ]
    return np.concatenate([np.zeros(int(lead_s * RATE)), *partials]).astype(np.float32)


@pytest.fixture(scope="module")
def transcribe():
    return NoteTranscriber()


def test_times_do_not_drift_over_windows(transcribe):
    late = transcribe(play([60], lead_s=7.0), RATE)
    assert late.intervals_s[0, 0] == pytest.approx(7.0, abs=0.03)


def test_very_short_audio(transcribe):
    assert len(transcribe(np.zeros(10, np.float32), RATE).pitches_midi) == 0
    assert len(transcribe(0.1 * np.ones(700, np.float32), RATE).pitches_midi) == 0


def test_the_tracker_hears_faint_music_as_well():
    tune = play(TUNE)
    assert melody_scores(melody(0.01 * tune, RATE), melody(tune, RATE))["content_rpa"] == 1


def test_a_transcriber_travels_to_another_process(transcribe):
    once = transcribe(play(TUNE), RATE)
    again = pickle.loads(pickle.dumps(transcribe))(play(TUNE), RATE)
    np.testing.assert_array_equal(again.posterior, once.posterior)


def test_what_was_heard_once_is_kept(transcribe):
    assert transcribe(play(TUNE), RATE) is transcribe(play(TUNE), RATE)
    assert melody(play(TUNE), RATE) is melody(play(TUNE), RATE)
