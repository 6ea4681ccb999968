"""The controls' order: right ones pass, every broken metric is named, few items are not judged."""

import json

import pytest

from retimbre.errors import RetimbreError
from retimbre.evaluation.bench.calibration import LEAST_ITEMS, calibrate
from retimbre.evaluation.results.table import make_table

DIRECTIONS = ("piano_to_guitar", "guitar_to_piano")
METRICS = (
    "content_note_f1", "content_jaccard", "style_target_rate", "style_beyond_eq", "feature_lsd", "paired_lsd",
    "score_f1", "energy_lost",
)  # fmt: skip
MEANS = {  # much as of the embedded data
    "copy": (1.0, 0.0, 0.0, 0.0, 9.9, 9.9, 0.85, 0.02),
    "eq_match": (0.88, 0.18, 0.9, 0.03, 8.4, 8.4, 0.84, 0.03),
    "eq_affine": (0.88, 0.17, 0.97, 0.05, 8.4, 8.1, 0.82, 0.03),
    "oracle": (0.83, 0.25, 1.0, 0.94, 5.0, 4.0, 0.85, 0.01),
    "unrelated": (0.02, 0.92, 1.0, 0.93, 15.9, 18.4, 0.03, 0.75),
}
RIGHT = {system: dict(zip(METRICS, means, strict=True)) for system, means in MEANS.items()}


def table(values, items=LEAST_ITEMS):
    return make_table(
        {"system": s, "direction": d, "item": f"tune{i}", "metric": m, "value": v}
        for s, metrics in values.items()
        for m, v in metrics.items()
        for d in DIRECTIONS
        for i in range(items)
    )


def changed(system, **metrics):
    return {**RIGHT, system: RIGHT[system] | metrics}


def test_the_right_order_passes_in_both_directions():
    found = calibrate(table(RIGHT))
    assert len(found.checks) == 2 * 19 and all(found.checks.values()) and not found.note
    assert "38 of 38" in found.verdict
    found.require("the report")
    assert json.loads(json.dumps(found.to_metrics())) == {"passed": 38, "failed": 0, "verdict": found.verdict}


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (changed("copy", content_note_f1=0.97), "content_note_f1"),
        (changed("unrelated", content_note_f1=0.6), "unrelated loses most notes"),
        (changed("oracle", content_note_f1=0.3), "oracle is nearer to copy"),
        (changed("oracle", content_jaccard=0.7), "content_jaccard"),
        (changed("copy", style_target_rate=0.95), "style_target_rate"),
        (changed("unrelated", style_target_rate=0.2), "the classifier tells copy from unrelated"),
        (changed("oracle", style_beyond_eq=0.2), "oracle is near unrelated"),
        (changed("eq_affine", style_beyond_eq=0.8), "eq_affine does not pass for the target"),
        (changed("oracle", feature_lsd=11.0), "skill is scaled by it"),
        (changed("unrelated", paired_lsd=1.0), "paired_lsd"),
        (changed("oracle", score_f1=0.01), "oracle plays more of the score"),
        (changed("unrelated", energy_lost=0.0), "oracle loses fewer notes"),
    ],
)
def test_a_metric_that_is_broken_is_named(values, said):
    found = calibrate(table(values))
    assert any(said in sentence for sentence in found.failed) and "CALIBRATION FAILED" in found.verdict
    assert found.to_metrics()["failed"] == len(found.failed) == list(found.checks.values()).count(False)
    with pytest.raises(RetimbreError, match="metrics/evaluation.json") as error:
        found.require("metrics/evaluation.json.")
    assert said in str(error.value)


def test_a_judge_that_is_broken_in_one_direction_only_is_found():
    rows = table(RIGHT)
    broken = (rows.direction == DIRECTIONS[1]) & (rows.system == "copy") & (rows.metric == "style_beyond_eq")
    rows.loc[broken, "value"] = 1.0
    found = calibrate(rows)
    assert found.failed and all(sentence.startswith(DIRECTIONS[1]) for sentence in found.failed)


def test_few_items_are_a_note_and_no_failure():
    found = calibrate(table(changed("copy", content_note_f1=0.0), items=LEAST_ITEMS - 1))
    assert not found.failed
    assert "not enough items" in found.verdict and f"{LEAST_ITEMS} are needed" in found.note
    found.require("nowhere")


def test_without_a_true_target_the_rest_is_checked():
    others = {s: metrics for s, metrics in RIGHT.items() if s != "oracle"}
    unpaired = {
        s: {m: v for m, v in metrics.items() if not m.endswith("lsd")} for s, metrics in others.items()
    }
    found = calibrate(table(unpaired))
    assert 0 < len(found.checks) < len(calibrate(table(RIGHT)).checks) and not found.failed
    assert calibrate(table({"copy": {"quality_clip": 0.0}})).note == "no control rows to check"
