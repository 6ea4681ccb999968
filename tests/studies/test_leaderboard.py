"""The leaderboard: its rows are valid, its page says what its results say, a failed row says so."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

from retimbre import params
from retimbre.errors import RetimbreError
from studies.leaderboard import study, tables
from tests.toys import ROOT

ROWS = study.read()


@pytest.mark.parametrize("name", [row.name for row in ROWS.values() if row.system])
def test_a_row_is_valid_at_both_sizes(name: str) -> None:
    for row in (ROWS[name], study.read(tables.GPU)[name]):
        p = study.params_of(row, ROOT)
        assert hasattr(p, study.catalogue.section_name(row.system))


def test_the_page_is_made_of_the_figures_and_these_of_the_results() -> None:
    found = json.loads(tables.FIGURES.read_text(encoding="utf-8"))
    assert found == json.loads(json.dumps(tables.summarise(ROWS))), "run `make leaderboard`"
    assert tables.PAGE.read_text(encoding="utf-8") == tables.page(found, ROWS), "run `make leaderboard`"
    assert tables.PLOT.is_file()


def test_results_are_of_the_rows_as_they_are() -> None:
    for which in study.SETS:
        folder = study.results(which)
        for path in folder.glob("*.json") if folder.is_dir() else ():
            assert path.stem in ROWS, f"{path} is of no row"
            assert study.result_of(ROWS[path.stem], which), f"{path} is of other params: run the row again"


@pytest.fixture
def moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Results of two rows in a folder of their own."""
    for row, values in (("copy", [0.5, 0.7, 0.6, 1.0]), ("oracle", [1.0, None, 0.9, 1.0])):
        items = ["a_to_b/x", "a_to_b/y", "b_to_a/x", "b_to_a/y"]
        cost = {"parameters": 0, "steps": 0, "training_cpu_minutes": 0.0, "seconds_per_second": 0.0}
        monkeypatch.setattr(study, "HERE", tmp_path)
        study.write_result(ROWS[row], "main", cost | {"items": items, "values": {tables.CONTENT: values}})
    return tmp_path


def test_a_failed_row_takes_no_other_with_it(moved: Path) -> None:
    study.write_result(ROWS["cyclegan"], "main", {"failed": "error: it diverged."})
    found = tables.summarise(ROWS)
    assert list(found["main"]) == ["copy", "oracle", "cyclegan"]
    assert found["main"]["copy"]["means"][tables.CONTENT][0] == pytest.approx(0.7)
    assert found["main"]["oracle"]["directions"] == {
        "a_to_b": {tables.CONTENT: 1.0}, "b_to_a": {tables.CONTENT: 0.95}
    }  # fmt: skip
    page = tables.page(found, ROWS)
    assert "| [cyclegan](systems/cyclegan.md) |  | failed: error: it diverged. |" in page
    assert "0.7 [" in page and "Not measured yet." in page


def test_a_result_of_other_params_does_not_count(moved: Path) -> None:
    assert study.result_of(ROWS["copy"], "main")
    other = study.Row("copy", "", {"model": {"steps": 1}})
    assert study.result_of(other, "main") is None


def test_a_row_without_code_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(study.ROWS, tmp_path)
    given = yaml.safe_load(study.ROWS.read_text(encoding="utf-8"))
    given["rows"]["nothing"] = {"system": "nothing"}
    (tmp_path / "rows.yaml").write_text(yaml.safe_dump(given))
    monkeypatch.setattr(study, "ROWS", tmp_path / "rows.yaml")
    with pytest.raises(RetimbreError, match="nothing names no system: use one of resynthesis"):
        study.read()


def test_names_in_the_picture_lie_over_no_other_and_over_no_point() -> None:
    near = [("a_name", "systems", x, 0.4, 0.6, y, 0.8, 1.0) for x in (0.5, 0.51) for y in (0.9, 0.91, 0.89)]
    found, wide = tables.places(near), len("a_name") * tables.LETTER
    for i, (x, y) in enumerate(found):
        for u, v in found[:i]:
            assert abs(y - v) > 0.02 or abs(x - u) >= wide
        assert not any(x < point[2] < x + wide and y < point[5] < y + 0.02 for point in near)


def test_a_profile_takes_the_place_of_sizes_for_two_cores() -> None:
    ours, published = ROWS["timbretron"], study.read(tables.GPU)["timbretron"]
    assert ours.changes["model"]["gan_loss"] == published.changes["model"]["gan_loss"] == "wgan_gp"
    assert published.changes["model"]["steps"] > ours.changes["model"]["steps"]
    assert params.parse(params.overlay(yaml.safe_load((ROOT / "params.yaml").read_text()), ours.changes))
