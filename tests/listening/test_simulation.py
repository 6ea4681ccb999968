"""Simulated listeners go the way of real ones; the analysis finds what was put in, and stamps it."""

import argparse
import json
import re
from collections.abc import Callable
from pathlib import Path

import pandas
import pytest

from retimbre.errors import RetimbreError
from retimbre.listening import analysis, bundle, cli, responses, screening, simulation
from retimbre.listening.params import Listening
from retimbre.listening.responses import Plan, Store


def listen(verb: str, study: Path, *options: str) -> None:
    """``retimbre listen VERB``."""
    parser = argparse.ArgumentParser()
    cli.add_parser(parser.add_subparsers())
    args = parser.parse_args(["listen", verb, "--study", str(study), *options])
    args.run(args)


@pytest.fixture(scope="module")
def studied(tmp_path_factory: pytest.TempPathFactory, evaluation: Path) -> Path:
    from tests.listening.conftest import RATE, make_settings

    chosen = make_settings(items=8, listeners=20, pages_per_condition=2, repeats=2)
    folder = bundle.build(evaluation, chosen, RATE, tmp_path_factory.mktemp("reports"))
    assert simulation.simulate(folder, 20, effect=1.0, seed=1)[0] == 20
    return folder


@pytest.fixture(scope="module")
def result(studied: Path, evaluation: Path) -> dict:
    return analysis.analyse(studied, evaluation / "per_item.parquet", draws=400)


def answers_on_clips(folder: Path) -> pandas.DataFrame:
    plan = Plan.load(folder)
    return screening.with_clips(responses.read_answers(folder, plan), bundle.read_key(folder), plan)


def by_system(rows: list[dict], name: str) -> dict[str, float]:
    return {row["system"]: row[name] for row in rows}


def test_known_effects_are_recovered(result: dict) -> None:
    part = result["with_exclusions"]
    for question in ("content", "likeness", "quality"):
        assert [c["system"] for c in part["ratings"][question]["contrasts"]] == ["cyclegan", "knn"]
        for contrast in part["ratings"][question]["contrasts"]:
            assert contrast["baseline"] == "eq_match"
            assert contrast["difference"] == pytest.approx(1.0, abs=0.45)
            assert contrast["low"] > 0 and contrast["p_holm"] < 0.05 and contrast["ordinal_log_odds"] > 0
            assert contrast["p_holm"] >= contrast["p"]
    means = by_system(part["ratings"]["content"]["systems"], "mean")
    assert means["unrelated"] < 2 < means["eq_match"] < means["oracle"] and means["copy"] > 4
    likeness = by_system(part["ratings"]["likeness"]["systems"], "mean")
    assert likeness["copy"] < 2 and likeness["unrelated"] > 4
    shares = by_system(part["identification"]["systems"], "share")
    assert shares["target"] > 0.75 and shares["copy"] < 0.2
    pairs = {(r["system"], r["rival"]): r for r in part["preference"]["pairs"]}
    assert pairs["cyclegan", "eq_match"]["share"] > 0.6 and pairs["cyclegan", "oracle"]["share"] < 0.4
    strength = by_system(part["preference"]["strengths"], "strength")
    assert strength["oracle"] > max(strength["cyclegan"], strength["knn"])
    assert strength["eq_match"] == min(strength.values()) and sum(strength.values()) == pytest.approx(
        0, abs=1e-4
    )


def test_what_was_heard_counts_every_answer(result: dict) -> None:
    found = result["with_exclusions"]["identification"]
    heard = pandas.DataFrame(found["heard"]).groupby("system")[found["answers"]].sum().sum(axis=1)
    assert heard.to_dict() == by_system(found["systems"], "n")


def test_metrics_are_held_against_people(result: dict) -> None:
    rows = {(r["question"], r["metric"]): r for r in result["validity"]}
    assert rows["content", "content_note_f1"]["per_clip"] > 0.5
    assert rows["content", "content_note_f1"]["systems"] == 6
    assert next(r for r in result["reliability"]["agreement"] if r["question"] == "content")["alpha"] > 0.3
    assert result["reliability"]["repeats"]["n"] == 40
    assert {r["group"] for r in result["subgroups"]} == {"musician", "device", "direction", "stratum"}


def test_everything_is_stamped(result: dict, studied: Path) -> None:
    assert result["simulated"] is True and analysis.as_text(result).startswith("SIMULATED")
    page = (studied / "analysis.html").read_text()
    assert 'class="stamp"' in page and "<title>Listening test tt4 (SIMULATED)" in page
    assert not re.search(r"(src|href|url)\W*https?:", page), "it asks nobody for anything"
    first, _, rest = page.partition("<summary>All other metrics")
    assert "<td>content_note_f1</td>" in first and "<td>content_note_f1</td>" not in rest
    assert "<td>content_rpa</td>" in rest and "<td>content_rpa</td>" not in first, (
        "not picked by their result"
    )

    def no_nan(constant: str) -> None:
        raise AssertionError(constant)

    assert json.loads((studied / "analysis.json").read_text(), parse_constant=no_nan) == result


def test_no_effect_gives_no_contrast(
    evaluation: Path, settings: Callable[..., Listening], tmp_path: Path
) -> None:
    """Whole runs through the store: the intervals of system - baseline leave 0 out rarely."""
    chosen = settings(items=8, listeners=12, pages_per_condition=2)
    folder = bundle.build(evaluation, chosen, 16000, tmp_path)
    hits = []
    for run in range(15):
        (folder / responses.ANSWERS).unlink(missing_ok=True)
        simulation.simulate(folder, 12, effect=0.0, seed=run)
        first = answers_on_clips(folder).query("repeat_of.isna()")
        for question in ("content", "likeness", "quality"):
            own = first[first.question == question].astype({"value": float})
            drawn = analysis.measures.cluster_means(own, 200, run)
            for system in ("cyclegan", "knn"):
                low, high = analysis.measures.interval(drawn[system] - drawn.eq_match)
                hits.append(not low <= 0 <= high)
    assert len(hits) == 90 and sum(hits) <= 9


def test_same_seed_same_answers_and_no_mixing_with_people(built: Path) -> None:
    from test_responses import SESSION, answers_of

    plan = Plan.load(built)
    simulation.simulate(built, 3, seed=4)
    first = responses.read_answers(built, plan)
    with pytest.raises(RetimbreError, match="was simulated into .* before"):
        simulation.simulate(built, 3, seed=4)
    (built / responses.ANSWERS).unlink()
    simulation.simulate(built, 3, seed=4)
    assert responses.read_answers(built, plan).equals(first)
    with Store(built, plan) as store:
        store.add(responses.Record(**answers_of(plan, 1, store.start(SESSION))))
    with pytest.raises(RetimbreError, match="holds answers of people"):
        simulation.simulate(built, 3, seed=5)
    with pytest.raises(RetimbreError, match="--listeners 0"):
        simulation.simulate(built, 0)


def test_screening_follows_the_rules(studied: Path) -> None:
    table = answers_on_clips(studied)
    assert sum(bool(why) for why in screening.screen(table, 4.0).values()) <= 2, "honest listeners are kept"
    session = table.session.iloc[0]
    mine = table.session == session

    def reasons(changed: pandas.DataFrame) -> list[str]:
        return screening.screen(changed, 4.0)[session]

    def answering(rows: pandas.Series, value: int) -> pandas.DataFrame:
        return table.assign(value=table.value.mask(mine & rows, value))

    assert reasons(table) == []
    assert reasons(table.assign(rt_ms=table.rt_ms.where(~mine, 3000))) == ["too fast"]
    assert "control pages" in reasons(
        answering((table.system == "unrelated") & (table.question == "content"), 5)
    )
    assert "all the same" in reasons(answering(table.question.isin(screening.RATED), 3))
    again = table[mine & table.repeat_of.notna()]
    twice = answering(table.trial.isin(again.trial), 5)
    twice["value"] = twice.value.mask(mine & table.trial.isin(again.repeat_of), 1)
    assert "repeated pages" in reasons(twice)


def test_the_dissertations_means_are_printed_beside_ours(
    evaluation: Path, settings: Callable[..., Listening], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    chosen = settings(study="diss", preset="dissertation", systems=["cyclegan"], baselines=[], items=4)
    folder = bundle.build(evaluation, chosen, 16000, tmp_path)
    listen("simulate", folder, "--listeners", "6")
    listen("analyse", folder, "--draws", "100", "--evaluation", str(evaluation))
    printed = capsys.readouterr().out
    assert "SIMULATED" in printed and "the dissertation printed 2.72" in printed
    found = json.loads((folder / "analysis.json").read_text())["published"]
    assert {(r["direction"], r["question"], r["published"]) for r in found} == {
        ("piano_to_guitar", "style", 2.72), ("piano_to_guitar", "similar", 2.81),
        ("guitar_to_piano", "style", 3.37), ("guitar_to_piano", "similar", 2.85),
    }  # fmt: skip


def test_analysis_refuses_what_it_cannot_use(
    built: Path, settings: Callable, evaluation: Path, tmp_path: Path
) -> None:
    with pytest.raises(RetimbreError, match="holds no answers"):
        analysis.analyse(built)
    simulation.simulate(built, 2)
    with pytest.raises(RetimbreError, match="--draws 5 is too few"):
        analysis.analyse(built, draws=5)
    other = bundle.build(evaluation, settings(study="other"), 16000, tmp_path / "others")
    (built / responses.ANSWERS).parent.rename(other / "responses")
    with pytest.raises(RetimbreError, match="belongs to the study"):
        analysis.analyse(other)


def test_export_and_delete_from_the_command(built: Path, capsys: pytest.CaptureFixture) -> None:
    simulation.simulate(built, 2, seed=9)
    session = responses.read_answers(built, Plan.load(built)).session[0]
    listen("export", built)
    header, *rows = capsys.readouterr().out.splitlines()
    assert header == ",".join(responses.EXPORT_COLUMNS) and any(session in row for row in rows)
    listen("delete", built, session)
    assert "pages deleted" in capsys.readouterr().out
    listen("export", built)
    assert session not in capsys.readouterr().out
    with pytest.raises(RetimbreError, match="has no session nobody"):
        listen("delete", built, "nobody")
