"""Scores of notes and of single lines, on made-up tones whose notes are known."""

import mir_eval
import numpy as np
import pytest

from retimbre.metrics import notes as pitch
from retimbre.nn.transcriber.notes import NoteTranscriber, melody

RATE = 16000
TUNE = [60, 64, 67, 72, 71, 67, 62]


def play(pitches, partials=(1, 0.6, 0.4, 0.25, 0.15), lead_s=0.1, length_s=0.45):
    """Chords (tuples) or single tones one after another, each with attack and decay."""
    t = np.arange(int(length_s * RATE)) / RATE
    envelope = np.exp(-2 * t) * np.minimum(1, t / 0.005)
    parts = [np.zeros(int(lead_s * RATE))]
    for chord in pitches:
        f = [440 * 2 ** ((p - 69) / 12) for p in np.atleast_1d(chord)]
        every = [(g * k, a) for g in f for k, a in enumerate(partials, 1)]
        parts.append(sum(0.1 * a * np.sin(2 * np.pi * hz * t) for hz, a in every) * envelope)
    return np.concatenate(parts).astype(np.float32)


def lines(estimate, reference):
    """Scores of two recordings of single lines."""
    return pitch.melody_scores(melody(estimate, RATE), melody(reference, RATE))


@pytest.fixture(scope="module")
def transcribe():
    return NoteTranscriber()


@pytest.fixture(scope="module")
def tune(transcribe):
    return transcribe(play(TUNE), RATE)


def test_finds_the_notes_of_a_tune(tune):
    onsets = 0.1 + 0.45 * np.arange(len(TUNE))
    spans = np.stack([onsets, onsets + 0.4], axis=1)
    truth = pitch.Transcription(spans, np.array(TUNE, float), tune.posterior)
    assert pitch.note_f1(tune, truth) > 0.8


def test_identity(tune):
    assert pitch.note_f1(tune, tune) == pitch.mpe_accuracy(tune, tune) == 1
    assert pitch.mpe_accuracy(tune, tune, chroma=True) == 1
    assert pitch.jaccard(tune, tune) == 0


def test_notes_against_a_score_once_their_lag_is_taken_out():
    onsets = 0.5 * np.arange(6)
    score = pitch.Notes(np.stack([onsets, onsets + 0.4], axis=1), np.array([60.0, 62, 64, 65, 67, 69]))
    # All 80 ms late but the last, which is not heard; two more notes are.
    late = np.concatenate([onsets[:5] + 0.08, [0.2, 1.0]])
    heard = pitch.Notes(np.stack([late, late + 0.3], axis=1), np.array([60.0, 62, 64, 65, 67, 80, 81]))
    lags = pitch.lags_s(heard, score)
    assert lags == pytest.approx([0.08] * 5)
    assert pitch.score_notes(heard, score, 0.0) == (0, 0, 0)
    assert pitch.score_notes(heard, score, 0.08) == pytest.approx((5 / 7, 5 / 6, 10 / 13))
    nothing = pitch.Notes(np.zeros((0, 2)), np.zeros(0))
    assert len(pitch.lags_s(nothing, score)) == 0
    assert pitch.score_notes(nothing, score, 0.0) == (0, 0, 0)
    assert np.isnan(pitch.score_notes(heard, nothing, 0.0)).all()


@pytest.mark.parametrize("lag_s", [-0.1, 0.0, 0.04, 0.14, 0.22, 0.35])
def test_notes_of_slow_instruments_are_found_a_third_of_a_second_late(lag_s):
    """Repeated notes, 0.4 s apart, each up to 30 ms sooner or later; chance does not move the window."""
    random = np.random.default_rng(0)
    onsets, pitches = 0.4 * np.arange(40), random.integers(60, 63, 40).astype(float)
    score = pitch.Notes(np.stack([onsets, onsets + 0.3], axis=1), pitches)
    late = onsets + lag_s + random.uniform(-0.03, 0.03, 40)
    heard = pitch.Notes(np.stack([late, late + 0.3], axis=1), pitches)
    assert pitch.median_lag_s([heard, heard], [score, score]) == pytest.approx(lag_s, abs=0.015)
    silent = pitch.Notes(np.zeros((0, 2)), np.zeros(0))
    assert pitch.median_lag_s([heard, silent], [score, score]) == pytest.approx(lag_s, abs=0.015)
    assert pitch.median_lag_s([silent], [score]) == 0
    elsewhere = random.uniform(0, 16, 40)
    noise = pitch.Notes(np.stack([elsewhere, elsewhere + 0.3], axis=1), pitches)
    assert abs(pitch.median_lag_s([noise], [score])) <= pitch.LAG_WINDOW_S


def test_level_and_instrument_hardly_matter_but_transposition_does(transcribe, tune):
    other = transcribe(0.3 * play(TUNE, (1, 0.1, 0.5, 0.1, 0.3)), RATE)
    up = transcribe(play([p + 1 for p in TUNE]), RATE)
    assert pitch.note_f1(other, tune) > 0.8
    assert pitch.note_f1(up, tune) < 0.1
    assert pitch.jaccard(other, tune) < 0.35
    assert pitch.jaccard(up, tune) > 0.9


def test_octave_is_wrong_as_pitch_and_right_as_chroma(transcribe, tune):
    up = transcribe(play([p + 12 for p in TUNE]), RATE)
    assert pitch.note_f1(up, tune) < 0.2
    assert pitch.mpe_accuracy(up, tune) < 0.3
    assert pitch.mpe_accuracy(up, tune, chroma=True) > 0.6
    a, b = play(TUNE), play([p + 12 for p in TUNE])
    scores = lines(b, a)
    assert scores["content_rpa"] < 0.05 and scores["content_rca"] > 0.9


def test_chords(transcribe):
    chords = [(60, 64, 67), (62, 65, 69), (59, 62, 67)]
    a = transcribe(play(chords, length_s=0.8), RATE)
    b = transcribe(play(chords, (1, 0.2, 0.4, 0.1), length_s=0.8), RATE)
    assert pitch.note_f1(b, a) > 0.6
    assert {60, 64, 67} <= set(a.pitches_midi.astype(int))


def test_silence_is_never_rewarded(transcribe, tune):
    silence = transcribe(np.zeros(len(play(TUNE)), np.float32), RATE)
    assert pitch.note_f1(silence, tune) == pitch.mpe_accuracy(silence, tune) == 0
    assert pitch.jaccard(silence, tune) == 1
    assert np.isnan([pitch.note_f1(tune, silence), pitch.mpe_accuracy(tune, silence)]).all()
    assert np.isnan(pitch.jaccard(silence, silence))


def test_multi_pitch_accuracy_equals_mir_eval(transcribe, tune):
    other = transcribe(play([(60, 67), 64, (67, 79), 72, 71, 66, 62]), RATE)
    frames = min(len(tune.active), len(other.active))
    times = np.arange(frames) * 256 / 22050

    def as_lists(t):
        return [440 * 2 ** ((np.flatnonzero(row) + 21 - 69) / 12) for row in t.active[:frames]]

    scores = mir_eval.multipitch.evaluate(times, as_lists(tune), times, as_lists(other))
    assert pitch.mpe_accuracy(other, tune) == pytest.approx(scores["Accuracy"], abs=1e-9)
    assert pitch.mpe_accuracy(other, tune, chroma=True) == pytest.approx(scores["Chroma Accuracy"], abs=1e-9)


def test_raw_pitch_accuracy():
    assert lines(play(TUNE), play(TUNE))["content_rpa"] == 1
    assert lines(play(TUNE, (1, 0.1, 0.5, 0.1)), play(TUNE))["content_rpa"] > 0.9
    assert lines(play([p + 1 for p in TUNE]), play(TUNE))["content_rpa"] < 0.1


def test_melody_scores_of_known_changes():
    tune = play(TUNE)
    same = lines(tune, tune)
    assert same["content_rpa"] == same["content_rca"] == same["content_vr"] == 1
    assert same["content_f0_l1"] == same["content_f0_outlier"] == 0
    up = lines(play([p + 1 for p in TUNE]), tune)
    assert up["content_f0_l1"] == pytest.approx(1, abs=0.15)
    assert up["content_rpa"] < 0.1 and up["content_vr"] > 0.9
    far = lines(play([p + 19 for p in TUNE]), tune)
    assert far["content_f0_outlier"] == 1 and np.isnan(far["content_f0_l1"])


def test_melody_scores_equal_mir_eval():
    tune, other = play(TUNE), play([60, 65, 67, 84, 71, 67, 62], (1, 0.2, 0.5), lead_s=0.14)
    (_, ref_hz, ref_voiced), (_, est_hz, est_voiced) = melody(tune, RATE), melody(other[: len(tune)], RATE)
    frames = min(len(ref_hz), len(est_hz))
    times = np.arange(frames) * 0.016
    reference, estimate = np.where(ref_voiced, ref_hz, 0), np.where(est_voiced, est_hz, 0)
    theirs = mir_eval.melody.evaluate(times, reference[:frames], times, estimate[:frames], hop=0.016)
    ours = lines(other[: len(tune)], tune)
    keys = ("Raw Pitch Accuracy", "Raw Chroma Accuracy", "Voicing Recall", "Voicing False Alarm")
    for name, key in zip(("rpa", "rca", "vr", "vfa"), keys, strict=True):
        assert ours[f"content_{name}"] == pytest.approx(theirs[key], abs=0.04), key


def test_melody_of_silence():
    tune, silence = play(TUNE), np.zeros(len(play(TUNE)), np.float32)
    lost = lines(silence, tune)
    assert lost["content_rpa"] == lost["content_rca"] == lost["content_vr"] == 0
    assert lost["content_f0_outlier"] == 1
    assert all(np.isnan(v) for v in lines(tune, silence).values())


def only(*frames):
    """Transcription of frames, each a set of MIDI pitches."""
    posterior = np.zeros((len(frames), 88), np.float32)
    for t, pitches in enumerate(frames):
        posterior[t, [p - 21 for p in pitches]] = 0.9
    return pitch.Transcription(np.zeros((0, 2)), np.zeros(0), posterior)


def test_frames_silent_in_both_are_left_out_and_counted():
    reference, half = only({60}, {60}, set(), set()), only({60}, set(), set(), set())
    assert pitch.jaccard(reference, reference) == 0
    assert pitch.jaccard(half, reference) == 0.5  # of two frames, not of four
    assert pitch.active_share(half, reference) == 0.5
    assert np.isnan(pitch.active_share(only(), only()))


def test_pitch_class_distance_after_warping():
    tune = only({60}, {60}, {64}, {67}, {67})
    assert pitch.pitch_class_dtw(only({72}, {72}, {76}, {79}, {79}), tune) == 0  # octaves and ...
    assert pitch.pitch_class_dtw(only({60}, {64}, {64}, {64}, {67}), tune) == 0  # ... rhythm are forgiven
    assert pitch.pitch_class_dtw(only({59}, {59}), only({60}, {60})) == 1
    assert pitch.pitch_class_dtw(only({60}, {60}), only({71}, {71})) == 1
    assert pitch.pitch_class_dtw(only(set(), set()), only({60}, {60})) == 6
    assert np.isnan(pitch.pitch_class_dtw(tune, only(set(), set())))
