"""The draw of a study: the same for the same params, stratified, balanced, and refused in one sentence."""

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pandas
import pytest
from pydantic import ValidationError

from retimbre.errors import RetimbreError
from retimbre.listening import questions, study
from retimbre.listening.params import Listening

Settings = Callable[..., Listening]
HEAD = ",".join(study.COLUMNS)


def rows(
    evaluation: Path, folder: Path, drop: Callable[[pandas.DataFrame], pandas.Series]
) -> pandas.DataFrame:
    folder.mkdir()
    table = pandas.read_csv(evaluation / "outputs.csv", dtype=str)
    table[~drop(table)].to_csv(folder / "outputs.csv", index=False)
    shutil.copytree(evaluation / "audio", folder / "audio", copy_function=lambda a, b: Path(b).hardlink_to(a))
    return study.read_outputs(folder)


def test_same_params_same_study_and_seed_matters(evaluation: Path, settings: Settings) -> None:
    outputs = study.read_outputs(evaluation)
    first, again = study.draw(outputs, settings()), study.draw(outputs[::-1], settings())
    assert first.hash == again.hash and first.orders == again.orders
    other = study.draw(outputs, settings(seed=5))
    assert other.hash != first.hash and other.orders != first.orders


def test_items_are_half_per_direction_with_strata_taking_turns(evaluation: Path, settings: Settings) -> None:
    drawn = study.draw(study.read_outputs(evaluation), settings(items=8))
    assert Counter((i.direction, i.stratum) for i in drawn.items) == {
        (d, s): 2 for d in ("piano_to_guitar", "guitar_to_piano") for s in ("mono", "poly")
    }
    for item in drawn.items:
        assert item.example != item.name and item.example.startswith(item.direction), (
            "the example is other music"
        )


@pytest.mark.parametrize("n", [1, 2, 4, 5, 6])
def test_latin_rows_balance_places_and_neighbours(n: int) -> None:
    rows = [study.latin_row(k, n) for k in range(n if n % 2 == 0 else 2 * n)]
    assert all(sorted(row) == list(range(n)) for row in rows)
    for place in range(n):
        assert len(set(Counter(row[place] for row in rows).values())) == 1
    neighbours = Counter(pair for row in rows for pair in zip(row, row[1:], strict=False))
    if n > 1:
        assert len(neighbours) == n * (n - 1) and len(set(neighbours.values())) == 1


def test_orders_hear_every_condition_and_balance_items_and_sides(
    evaluation: Path, settings: Settings
) -> None:
    chosen = settings(items=4, listeners=40, pages_per_condition=2, repeats=2)
    drawn = study.draw(study.read_outputs(evaluation), chosen)
    pages = {p.page: p for p in drawn.pages}
    heard: Counter = Counter()
    left: Counter = Counter()
    for order in drawn.orders:
        own = [pages[name] for name, repeats in order if repeats is None]
        assert len(own) == len({p.page for p in own}), "a page twice without being a repetition"
        per = Counter((p.block, p.condition) for p in own)
        assert set(per.values()) == {2} and set(per) == {(p.block, p.condition) for p in drawn.pages}
        blocks = [p.block for p in own]
        assert sum(a != b for a, b in zip(blocks, blocks[1:], strict=False)) == 4, "blocks are whole"
        again = [(n, r) for n, (_, r) in enumerate(order, 1) if r is not None]
        assert len(again) == 2
        for trial, first in again:
            assert order[trial - 1][0] == order[first - 1][0] and trial > first + 1
            assert pages[order[first - 1][0]].condition in (*chosen.systems, *chosen.baselines)
        heard.update((p.block, p.condition, p.slots[-1].item) for p in own)
        left.update((p.condition, p.slots[-2].system) for p in own if p.block == "preference")
    assert max(heard.values()) - min(heard.values()) <= 2, "every clip is heard about equally often"
    for condition in {c for c, _ in left}:
        counts = [n for (c, _), n in left.items() if c == condition]
        assert len(counts) == 2 and abs(counts[0] - counts[1]) <= 8, (
            "each version stands first about equally often"
        )


def test_the_dissertations_preset_has_eight_and_eight_pairs(evaluation: Path, settings: Settings) -> None:
    chosen = settings(preset="dissertation", systems=["cyclegan"], baselines=[], items=12, repeats=0)
    drawn = study.draw(study.read_outputs(evaluation), chosen)
    pages = {p.page: p for p in drawn.pages}
    assert {b.name for b in drawn.blocks} == {"to_guitar", "to_piano"}
    for order in drawn.orders:
        own = [pages[name] for name, _ in order]
        assert Counter(p.block for p in own) == {"to_guitar": 6, "to_piano": 6}, "every item once"
        assert {p.condition for p in own} == {"cyclegan", "target"}, "generated and real pairs are mixed"
    assert [q.key for q in drawn.blocks[0].questions] == ["style", "similar"]


def test_notes_are_rated_and_compared_without_an_original(evaluation: Path, settings: Settings) -> None:
    """The outputs have sources and copies, too; of these nothing is heard."""
    chosen = settings(preset="notes", blocks=["quality", "preference"], clip_s=0.5)
    drawn = study.draw(study.read_outputs(evaluation), chosen)
    assert drawn.real == drawn.original == "target"
    heard = {block: {s.system for p in drawn.pages if p.block == block for s in p.slots} for block in
             ("quality", "preference")}  # fmt: skip
    assert heard == {
        "quality": {"cyclegan", "knn", "eq_match", "target", "anchor"},
        "preference": {"cyclegan", "knn", "eq_match", "target"},
    }
    assert {s.slot for p in drawn.pages for s in p.slots} == {"B", "1", "2"}
    assert [text[:2] for text in drawn.frozen()["hypotheses"]] == ["H4", "H5"]
    for changes, sentence in (
        ({"preset": "notes"}, "has content, which preset notes does not ask"),
        ({"clip_s": 3}, "must be 4 or more but for preset notes"),
    ):
        with pytest.raises(ValidationError, match=sentence):
            settings(**changes)


def test_data_without_paired_targets(evaluation: Path, settings: Settings, tmp_path: Path) -> None:
    """One's own folders have no true target and no oracle: other recordings of the instrument stand in."""
    outputs = rows(evaluation, tmp_path / "e", lambda t: t.system.isin(["target", "oracle"]))
    drawn = study.draw(outputs, settings())
    assert drawn.real == "unrelated"
    used = {s.system for p in drawn.pages for s in p.slots}
    assert used == {"source", "copy", "unrelated", "anchor", "cyclegan", "knn", "eq_match"}


@pytest.mark.parametrize(
    ("drop", "changes", "sentence"),
    [
        (lambda t: t.system == "knn", {}, "has no system knn"),
        (
            lambda t: (t.system == "knn") & t["item"].str.startswith("bach"),
            {"items": 8},
            "3 complete items of guitar_to_piano .* lacks knn",
        ),
        (lambda t: t.system == "", {"items": 40}, "listening.items needs 20"),
        (lambda t: t.system == "", {"max_minutes": 4}, "listening.max_minutes is 4"),
        (
            lambda t: t.system == "",
            {"blocks": ["preference"], "systems": ["knn"], "baselines": [], "seed": 1},
            None,
        ),
    ],
)
def test_what_cannot_be_drawn(
    evaluation: Path, settings: Settings, tmp_path: Path, drop: Callable, changes: dict, sentence: str | None
) -> None:
    outputs = rows(evaluation, tmp_path / "e", drop)
    if sentence is None:
        assert study.draw(outputs, settings(**changes)).pages, "one system against the oracle is a preference"
        return
    with pytest.raises(RetimbreError, match=sentence):
        study.draw(outputs, settings(**changes))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (None, "does not exist"),
        ("", "is not a table"),
        ("a,b\n1,2\n", "has no column direction"),
        (f"{HEAD}\na_to_b,a,b,x,any,copy,../../etc/passwd,0\n", "outside its folder"),
        (f"{HEAD}\n" + 2 * "a_to_b,a,b,x,any,copy,x.flac,0\n", "twice"),
    ],
)
def test_broken_tables(tmp_path: Path, text: str | None, sentence: str) -> None:
    if text is not None:
        (tmp_path / "outputs.csv").write_text(text)
    with pytest.raises(RetimbreError, match=sentence):
        study.read_outputs(tmp_path)


def test_control_failures_stand_in_the_words_of_the_rule() -> None:
    assert f"at least {questions.CONTROL_FAILURES} control pages" in questions.EXCLUSION[0]
    assert f"more than {questions.REPEAT_DIFFERENCE} points" in questions.EXCLUSION[1]
