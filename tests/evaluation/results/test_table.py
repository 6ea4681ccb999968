"""The long table and its summaries, on a small table whose answers are known."""

import json

import pytest

from retimbre.errors import RetimbreError
from retimbre.evaluation.results import table as t

DIRECTIONS = ("piano_to_guitar", "guitar_to_piano")


def records(values):
    """system -> metric -> (list for the first direction, list for the second)."""
    return [
        {"system": s, "direction": d, "item": f"tune{i}", "stratum": "mono", "metric": m, "value": v}
        for s, by_metric in values.items()
        for m, lists in by_metric.items()
        for d, numbers in zip(DIRECTIONS, lists, strict=True)
        for i, v in enumerate(numbers)
    ]


TABLE = t.make_table(
    records(
        {
            "copy": {"feature_lsd": ([10, 9], [8, 10])},
            "oracle": {"feature_lsd": ([5, 6], [5, 5])},
            "cyclegan": {
                "feature_lsd": ([7.5, 7.5], [7, 7]),
                "content_note_f1": ([0.8, float("nan")], [0.70012345, 0.7]),
            },
        }
    )
)


def test_summary_shows_both_directions_and_weighs_them_equally():
    summary = t.summarise(TABLE)
    directions = {"feature_lsd_piano_to_guitar": 9.5, "feature_lsd_guitar_to_piano": 9.0}
    assert summary["copy"] == {"feature_lsd": 9.25} | directions
    assert summary["cyclegan"]["content_note_f1"] == 0.75
    assert summary["cyclegan"]["content_note_f1_guitar_to_piano"] == 0.7001
    assert "content_note_f1" not in summary["copy"]
    json.dumps(summary, allow_nan=False)


def test_skill_is_0_for_copy_1_for_oracle_and_the_ratio_of_means_between():
    summary = t.summarise(t.add_skill(TABLE))
    assert summary["copy"]["skill"] == pytest.approx(0)
    assert summary["oracle"]["skill"] == pytest.approx(1)
    assert summary["cyclegan"]["skill_piano_to_guitar"] == pytest.approx((9.5 - 7.5) / (9.5 - 5.5), abs=1e-4)
    assert summary["cyclegan"]["skill_guitar_to_piano"] == pytest.approx((9.0 - 7.0) / (9.0 - 5.0), abs=1e-4)


def test_no_skill_without_an_oracle():
    assert "skill" not in set(t.add_skill(TABLE[TABLE.system != "oracle"]).metric)


def test_the_shifted_skill_is_of_shifted_distances():
    assert "skill_shifted" not in set(t.add_skill(TABLE).metric), "none was measured"
    shifted = TABLE[TABLE.metric == "feature_lsd"].assign(metric="feature_lsd_shifted")
    shifted.loc[shifted.system == "cyclegan", "value"] -= 1
    both = t.add_skill(t.pandas.concat([TABLE, shifted]))
    summary = t.summarise(both)["cyclegan"]
    assert summary["skill_piano_to_guitar"] == pytest.approx(0.5)
    assert summary["skill_shifted_piano_to_guitar"] == pytest.approx(0.75)


def test_intervals_and_comparison():
    found = t.intervals(TABLE, draws=200)
    assert found["copy", "feature_lsd"].n == 4
    assert found["copy", "feature_lsd"].low <= 9.25 <= found["copy", "feature_lsd"].high
    difference = t.compare(TABLE, "feature_lsd", "cyclegan", "copy")
    assert (difference.mean, difference.n) == (pytest.approx(-2.0), 4)
    assert difference.high < 0
    assert t.compare(TABLE, "content_note_f1", "cyclegan", "copy").n == 0


def test_the_summary_is_one_level_without_ends_of_intervals_and_directions_only_of_the_headline():
    extra = [
        {"system": "cyclegan", "direction": d, "item": "all", "metric": m, "value": 1.0}
        for d in DIRECTIONS
        for m in ("style_kad_clf_low",)
    ]
    more = [{**r, "metric": "paired_mel_l1_db"} for r in records({"cyclegan": {"x": ([1, 2], [3, 4])}})]
    summary = t.summarise(t.make_table([*extra, *more]))
    assert summary == {"cyclegan": {"paired_mel_l1_db": 2.5}}


def test_records_get_their_vocoder_and_range():
    skills = records({"cyclegan": {"skill": ([1], [2])}})
    known = {"cyclegan": "griffin_lim"}, {(DIRECTIONS[0], "tune0"): "out"}
    made = t.make_table(t.annotate(skills, *known))
    assert list(made.vocoder) == ["griffin_lim"] * 2 and list(made.range) == ["out", "any"]


def test_parquet_round_trip(tmp_path):
    t.write_table(tmp_path / "data" / "per_item.parquet", TABLE)
    again = t.read_table(tmp_path / "data" / "per_item.parquet")
    assert again.equals(TABLE)
    assert tuple(again.columns) == t.COLUMNS


def test_user_mistakes(tmp_path):
    with pytest.raises(RetimbreError, match="dvc repro evaluate"):
        t.read_table(tmp_path / "none.parquet")
    TABLE.drop(columns="item").to_parquet(tmp_path / "other.parquet")
    with pytest.raises(RetimbreError, match="no column item"):
        t.read_table(tmp_path / "other.parquet")
    with pytest.raises(ValueError, match="twice"):
        t.make_table(records({"copy": {"skill": ([1], [1])}}) * 2)
    with pytest.raises(ValueError, match="need the columns"):
        t.make_table([{"system": "copy", "metric": "skill", "value": 1.0}])
