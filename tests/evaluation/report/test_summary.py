"""The summary: it follows the metrics, every figure is one of theirs, what is not measured is said."""

import json
import re

import pytest

from retimbre.evaluation.report.summary import summary
from retimbre.systems.catalogue import DEFAULTS
from tests.toys import ROOT

MAIN = DEFAULTS[0]
DIRECTIONS = ["piano_to_guitar", "guitar_to_piano"]
CONTROLS = {
    "copy": {"style_beyond_eq": 0.0, "content_note_f1": 1.0, "feature_lsd": 10.0},
    "eq_match": {"style_beyond_eq": 0.01, "content_note_f1": 0.9, "feature_lsd": 8.0},
    "oracle": {"style_beyond_eq": 0.95, "content_note_f1": 0.84, "feature_lsd": 4.0},
    "unrelated": {"style_beyond_eq": 0.93, "content_note_f1": 0.02, "feature_lsd": 15.0},
}


def said(made, *without):
    metrics = {name: row for name, row in CONTROLS.items() if name not in without} | {MAIN: made}
    return [answer.text for answer in summary(metrics, MAIN, DIRECTIONS, 12)]


def test_every_figure_is_one_of_the_committed_metrics():
    metrics = json.loads((ROOT / "metrics/evaluation.json").read_bytes())
    del metrics["calibration"]
    tried, sound, notes, failed = (answer.text for answer in summary(metrics, MAIN, DIRECTIONS, 12))
    rows, figures = (MAIN, "unrelated", "eq_match"), [metrics[MAIN], metrics["oracle"]]
    assert re.findall(r"\d+%", sound) == [f"{metrics[row]['style_beyond_eq']:.0%}" for row in rows]
    assert re.findall(r"\d+%", notes) == [f"{row['content_note_f1']:.0%}" for row in figures]
    assert "12 pieces" in tried and "from piano to guitar and from guitar to piano" in tried and MAIN in tried
    assert not re.search(r"\d", failed)


@pytest.mark.parametrize(
    ("beyond", "f1", "words"), [(0.9, 0.8, "Yes"), (0.5, 0.5, "Partly"), (0.1, 0.1, "No")]
)
def test_answers_follow_the_controls(beyond, f1, words):
    _, sound, notes, failed = said({"style_beyond_eq": beyond, "content_note_f1": f1, "feature_lsd": 5.0})
    assert sound.startswith(f"{words}.") and notes.startswith(f"{words}.")
    bad = f"These do not sound like the target: {MAIN}. These lose the notes: {MAIN}."
    assert failed == (bad if words == "No" else "Nothing by these measures.")


def test_a_silent_system_and_one_that_learned_nothing_are_said():
    failed = said({"fail_muted": 0.25, "feature_lsd": 8.5})[3]
    assert failed.startswith(f"25% of the outputs of {MAIN} are nearly silent.")
    assert "its training failed" in failed and "training failed" not in said({"feature_lsd": 7.0})[3]


def test_what_is_not_measured_is_said():
    assert said({})[1:3] == ["Not measured."] * 2
    _, sound, notes, _ = said({"style_beyond_eq": 0.9, "content_note_f1": 0.9}, "oracle", "eq_match")
    assert "equaliser" not in sound and "second" not in notes, "there is no such recording"
    (tried, *_, failed) = summary({"gram": {}}, None, ["a_to_b"], 1)
    assert tried.text == "1 piece was turned from a to b, unheard in training, by 1 method."
    assert failed.text == "Nothing by these measures."
