"""One entry for each metric: complete, with one direction, and docs/metrics.md is made of it."""

import pytest

from retimbre.metrics import catalogue
from retimbre.metrics.catalogue import BEGIN, CATALOGUE, END, FAILURES, FAMILIES, HEADLINE, metric
from tests.toys import ROOT


@pytest.mark.parametrize("entry", CATALOGUE.values(), ids=CATALOGUE)
def test_entries_are_complete(entry):
    assert entry.family in FAMILIES and entry.better in catalogue.SIGNS
    assert entry.label and entry.meaning.endswith(".") and "|" not in entry.label + entry.unit


def test_labels_and_names_are_told_apart():
    assert len({m.label for m in CATALOGUE.values()}) == len(CATALOGUE)
    names = [name for m in CATALOGUE.values() for name in m.names]
    assert len(set(names)) == len(names)


def test_what_is_ranked_has_a_direction_and_what_only_describes_has_none():
    assert all(CATALOGUE[name].better != "none" for name in (*HEADLINE, *FAILURES))
    assert all(m.better == "none" for name, m in CATALOGUE.items() if name.endswith("_real"))
    assert CATALOGUE["quality_clip"].better == "down"
    assert FAILURES == ("fail_muted", "fail_level", "fail_unchanged", "fail_collapsed")


def test_an_unknown_metric_keeps_its_name_and_claims_nothing():
    entry = metric("content_new_thing")
    assert (entry.label, entry.better) == ("content new thing", "none")
    assert catalogue.known_first(["x", "skill", "paired_lsd", "skill_low"]) == ["paired_lsd", "skill", "x"]


def test_docs_are_up_to_date():
    text = (ROOT / "docs/metrics.md").read_text(encoding="utf-8")
    between = text.partition(BEGIN)[2].partition(END)[0]
    assert between.strip() == catalogue.to_markdown().strip(), "run `python -m retimbre.metrics.catalogue`"
