"""Scores of paired items from their MIDI files, and what is heard of an output against them."""

import numpy as np
import pytest

from retimbre.datasets.recordings.manifest import Recording, write_manifest
from retimbre.datasets.scores.performance import PlayedNote, write_midi
from retimbre.evaluation.bench import scores, suite
from retimbre.evaluation.bench.scoring import Result, Scored
from retimbre.evaluation.bench.testset import Clip, Item, Output
from retimbre.metrics.notes import Notes, Transcription

SILENCE = Clip(np.zeros(8000, np.float32), np.zeros((84, 32), np.float32))
TUNE = (60, 64, 67, 72)


def item(piece="p", source="harp", target="lute", paired=True, score=None):
    true = SILENCE if paired else None
    return Item(piece, source, target, "any", SILENCE, true, None, SILENCE, score=score)


def heard(pitches, late_s=0.0):
    onsets = 0.5 * np.arange(len(pitches)) + late_s
    spans = np.stack([onsets, onsets + 0.4], axis=1)
    return Transcription(spans, np.array(pitches, float), np.zeros((1, 88), np.float32))


@pytest.fixture
def raw(tmp_path):
    """Paired recordings that begin 1 s after their file: with notes before, across, within, after."""
    spans = ((0.2, 0.8, 50), (0.9, 1.5, 60), (2.0, 2.5, 62), (9.5, 9.9, 70))
    write_midi(tmp_path / "midi/p.mid", [PlayedNote(*span, 80) for span in spans])
    write_midi(tmp_path / "midi/late.mid", [PlayedNote(0.5, 1.5, 60, 80)])
    recordings = [
        Recording(f"test/{d}/{p}.flac", d, p, "test", "1", 1.0, 8.0, 16000, "x", "x", f"midi/{p}.mid")
        for d in ("harp", "lute")
        for p in ("p", "late")
    ]
    write_manifest(tmp_path, recordings)
    return tmp_path


def test_the_score_is_what_sounds_within_the_recording_in_its_own_time(raw):
    items = [item(), item(source="lute", target="harp"), item(paired=False), item("other"), item("late")]
    first, second, *others = scores.with_scores(items, raw)
    assert first.score.pitches_midi.tolist() == [60, 62]
    assert first.score.intervals_s == pytest.approx(np.array([[-0.1, 0.5], [1.0, 1.5]]), abs=1e-3)
    assert second.score.pitches_midi.tolist() == [60, 62]
    assert [i.score for i in others] == [None] * 3, "unpaired, not known, no note that begins in it"
    assert scores.with_scores(items, raw / "none") == items, "no manifest"


def test_a_system_is_not_given_the_score_but_what_scores_it_is():
    plain, known = item(), item(score=heard(TUNE))
    assert suite.item_key(plain) == suite.item_key(known)


def test_notes_against_the_score_and_as_shares_of_what_the_true_target_reaches():
    score = Notes(heard(TUNE).intervals_s, heard(TUNE).pitches_midi)
    items = [item("a", score=score), item("b", score=score), item("c")]

    def results(system, notes, ghosts):
        scored = Scored({"energy_ghosts": ghosts}, np.zeros(1), notes)
        return [Result(system, i, Output(SILENCE.audio, None, 0.0), scored) for i in items]

    rows = [
        *results("oracle", heard(TUNE, 0.1), 0.02),
        *results("half", heard((60, 65, 67, 73), 0.03), 0.1),
        *results("deaf", heard(()), 0.0),
    ]
    targets = {i.name: heard((60, 64, 67), 0.02) for i in items[:2]}
    found = list(scores.score_records(rows, targets))
    values = {(r["system"], r["item"], r["metric"]): r["value"] for r in found}
    assert {piece for _, piece, _ in values} == {"a", "b", "all"}, "an item without a score has none"
    assert values["oracle", "a", "score_f1"] == 1 and values["half", "a", "score_recall"] == 0.5
    assert values["half", "b", "score_precision"] == 0.5
    # The true target is heard with three notes of four.
    assert values["half", "a", "score_recall_of_true"] == pytest.approx(0.5 / 0.75)
    assert values["half", "a", "score_precision_of_true"] == 0.5
    assert values["half", "all", "score_f1_real"] == pytest.approx(2 * 0.75 / 1.75)
    assert values["oracle", "all", "score_lag_ms"] == pytest.approx(100)
    assert values["half", "all", "score_lag_ms"] == pytest.approx(30)
    assert values["deaf", "a", "score_f1"] == values["deaf", "a", "score_f1_of_true"] == 0
    assert values["half", "all", "energy_ghosts_real"] == pytest.approx(0.02)


def test_a_second_performance_is_not_needed():
    score = Notes(heard(TUNE).intervals_s, heard(TUNE).pitches_midi)
    scored = Scored({}, np.zeros(1), heard(TUNE))
    row = Result("a", item(score=score), Output(SILENCE.audio, None, 0.0), scored)
    found = {r["metric"]: r["value"] for r in scores.score_records([row], {row.item.name: heard(TUNE)})}
    assert found["score_f1_of_true"] == 1 and np.isnan(found["energy_ghosts_real"])
