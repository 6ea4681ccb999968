"""Simulated listeners go through the same file as real ones, and the analysis finds what was put in, and stamps it."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from retimbre import cli
from retimbre.errors import RetimbreError
from retimbre.listening import analysis, bundle, responses, screening, simulation
from retimbre.listening.responses import Plan, Store
from retimbre.params import Listening


@pytest.fixture(scope="module")
def studied(tmp_path_factory: pytest.TempPathFactory, evaluation: Path) -> Path:
    from conftest import RATE, make_settings

    chosen = make_settings(items=8, listeners=20, pages_per_condition=2, repeats=2)
    folder = bundle.build(evaluation, chosen, RATE, tmp_path_factory.mktemp("reports"))
    assert simulation.simulate(folder, 20, effect=1.0, seed=1)[0] == 20
    return folder


@pytest.fixture(scope="module")
def result(studied: Path, evaluation: Path) -> dict:
    return analysis.analyse(studied, evaluation / "per_item.parquet", draws=400)


def test_known_effects_are_recovered(result: dict) -> None:
    part = result["with_exclusions"]
    for question in ("content", "likeness", "quality"):
        for contrast in part["ratings"][question]["contrasts"]:
            assert contrast["baseline"] == "eq_match"
            assert contrast["difference"] == pytest.approx(1.0, abs=0.45)
            assert contrast["low"] > 0 and contrast["p_holm"] < 0.05 and contrast["ordinal_log_odds"] > 0
            assert contrast["p_holm"] >= contrast["p"]
    means = {r["system"]: r["mean"] for r in part["ratings"]["content"]["systems"]}
    assert means["unrelated"] < 2 < means["eq_match"] < means["oracle"] and means["copy"] > 4
    likeness = {r["system"]: r["mean"] for r in part["ratings"]["likeness"]["systems"]}
    assert likeness["copy"] < 2 and likeness["unrelated"] > 4
    shares = {r["system"]: r["share"] for r in part["identification"]["systems"]}
    assert shares["target"] > 0.75 and shares["copy"] < 0.2
    pairs = {(r["system"], r["rival"]): r for r in part["preference"]["pairs"]}
    assert pairs["cyclegan", "eq_match"]["share"] > 0.6 and pairs["cyclegan", "oracle"]["share"] < 0.4
    strength = {r["system"]: r["strength"] for r in part["preference"]["strengths"]}
    assert strength["oracle"] > max(strength["cyclegan"], strength["knn"]) and strength["eq_match"] == min(strength.values())


def test_metrics_are_held_against_people(result: dict) -> None:
    rows = {(r["question"], r["metric"]): r for r in result["validity"]}
    assert rows["content", "content_note_f1"]["per_clip"] > 0.5 and rows["content", "content_note_f1"]["systems"] == 6
    assert ("content", "rtf") not in rows, "nobody hears computing time"
    assert result["reliability"]["content"]["krippendorff_alpha"] > 0.3
    assert result["reliability"]["repeated pages"]["n"] == 40
    assert {r["group"] for r in result["subgroups"]} >= {"musician", "direction", "stratum"}


def test_everything_is_stamped(result: dict, studied: Path) -> None:
    assert result["simulated"] is True and analysis.as_text(result).startswith("SIMULATED")
    page = (studied / "analysis.html").read_text()
    assert 'class="stamp"' in page and "<title>Listening test tt4 (SIMULATED)" in page
    assert "http://" not in page and "https://" not in page
    first, _, rest = page.partition("<summary>All other metrics")
    assert "<td>content_note_f1</td>" in first and "<td>content_note_f1</td>" not in rest
    assert "<td>content_rpa</td>" in rest and "<td>content_rpa</td>" not in first, "not picked by their result"
    assert json.loads((studied / "analysis.json").read_text()) == result
    assert not any(
        isinstance(v, float) and not math.isfinite(v) for v in json.loads((studied / "analysis.json").read_text(), parse_constant=float)
    )


def test_no_effect_gives_no_contrast(evaluation: Path, settings: Callable[..., Listening], tmp_path: Path) -> None:
    """Whole runs through the store, without models: the bootstrap contrasts of all questions leave 0 out rarely."""
    folder = bundle.build(evaluation, settings(items=8, listeners=12, pages_per_condition=2), 16000, tmp_path)
    plan, key, frozen = Plan.load(folder), bundle.read_key(folder), bundle.read_frozen(folder)
    hits = tests = 0
    for run in range(15):
        (folder / "responses/responses.jsonl").unlink(missing_ok=True)
        simulation.simulate(folder, 12, effect=0.0, seed=run)
        table = screening.answer_table(responses.read_records(folder), key, plan.pages)
        found = analysis.ratings(table[table.repeat_of.isna()], frozen["params"], 200, run, models=False)
        contrasts = [c for f in found.values() for c in f["contrasts"]]
        hits += sum(not c["low"] <= 0 <= c["high"] for c in contrasts)
        tests += len(contrasts)
    assert tests == 90 and hits / tests <= 0.1


def test_same_seed_same_answers_and_no_mixing_with_people(built: Path) -> None:
    from test_responses import answers_of

    simulation.simulate(built, 3, seed=4)
    first = (built / "responses/responses.jsonl").read_bytes()
    with pytest.raises(RetimbreError, match="was simulated into .* before"):
        simulation.simulate(built, 3, seed=4)
    (built / "responses/responses.jsonl").unlink()
    simulation.simulate(built, 3, seed=4)
    assert (built / "responses/responses.jsonl").read_bytes() == first
    plan = Plan.load(built)
    with Store(built, plan) as store:
        store.add([responses.Record(**answers_of(plan, 1))])
    with pytest.raises(RetimbreError, match="holds answers of people"):
        simulation.simulate(built, 3, seed=5)
    with pytest.raises(RetimbreError, match="--listeners 0"):
        simulation.simulate(built, 0)


def test_screening_follows_the_rules(studied: Path) -> None:
    plan, key = Plan.load(studied), bundle.read_key(studied)
    table = screening.answer_table(responses.read_records(studied), key, plan.pages)
    assert sum(bool(why) for why in screening.screen(table, 4.0).values()) <= 2, "honest listeners are kept"
    session = table.session.iloc[0]
    mine = table.session == session

    def reasons(changed: "np.ndarray | object") -> list[str]:
        return screening.screen(changed, 4.0)[session]

    assert reasons(table.assign(rt_ms=table.rt_ms.where(~mine, 3000))) == ["too fast"]
    wrong = table.copy()
    wrong["value"] = wrong.value.mask(mine & (table.system == "unrelated") & (table.question == "content"), 5)
    assert "control pages" in reasons(wrong)
    same = table.copy()
    same["value"] = same.value.mask(mine & table.question.isin(screening.RATED), 3)
    assert "all the same" in reasons(same)
    twice = table.copy()
    again = mine & table.repeat_of.notna()
    for _, row in table[again].iterrows():
        twice.loc[mine & (table.trial == row.trial), "value"] = 5
        twice.loc[mine & (table.trial == row.repeat_of), "value"] = 1
    assert "repeated pages" in reasons(twice)


def test_the_dissertations_means_are_printed_beside_ours(
    evaluation: Path, settings: Callable[..., Listening], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    chosen = settings(study="diss", preset="dissertation", systems=["cyclegan"], baselines=[], items=4)
    folder = bundle.build(evaluation, chosen, 16000, tmp_path)
    assert cli.main(["listen", "simulate", "--study", str(folder), "--listeners", "6"]) is None
    cli.main(["listen", "analyse", "--study", str(folder), "--draws", "100", "--evaluation", str(evaluation)])
    printed = capsys.readouterr().out
    assert "SIMULATED" in printed and "the dissertation printed 2.72" in printed
    found = json.loads((folder / "analysis.json").read_text())["published"]
    assert {(r["direction"], r["question"], r["published"]) for r in found} == {
        ("piano_to_guitar", "style", 2.72), ("piano_to_guitar", "similar", 2.81),
        ("guitar_to_piano", "style", 3.37), ("guitar_to_piano", "similar", 2.85),
    }  # fmt: skip


def test_analysis_refuses_what_it_cannot_use(built: Path) -> None:
    with pytest.raises(RetimbreError, match="holds no answers"):
        analysis.analyse(built)
    simulation.simulate(built, 2)
    with pytest.raises(RetimbreError, match="--draws 5 is too few"):
        analysis.analyse(built, draws=5)
    path = built / "responses/responses.jsonl"
    path.write_text(path.read_text().replace(Plan.load(built).hash, "0" * 16))
    with pytest.raises(RetimbreError, match="belongs to study tt4"):
        analysis.analyse(built)


def test_delete_from_the_command(built: Path, capsys: pytest.CaptureFixture) -> None:
    simulation.simulate(built, 2, seed=9)
    session = responses.read_records(built)[0].session
    cli.main(["listen", "delete", session, "--study", str(built)])
    assert "pages deleted" in capsys.readouterr().out
    assert session not in {r.session for r in responses.read_records(built)}
    with pytest.raises(SystemExit):
        cli.main(["listen", "delete", "nobody", "--study", str(built)])
    assert "has no session nobody" in capsys.readouterr().err
