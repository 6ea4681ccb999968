"""Rows of the table: groups, order, the main one, and a sentence on each."""

import pandas
import pytest

from retimbre.evaluation.results import rows
from retimbre.systems import catalogue
from retimbre.vocoders.kinds import KINDS

MAIN = catalogue.DEFAULTS[0]


def table(*systems):
    return pandas.DataFrame({"system": systems})


def test_groups_and_their_order():
    given = ["vocoder_istft", MAIN, "gram", "copy", "nmf", f"{MAIN}_wavenet", "oracle"]
    assert rows.in_order(given) == ["copy", "oracle", "gram", "nmf", MAIN, f"{MAIN}_wavenet", "vocoder_istft"]
    given = [*given, f"{MAIN}_scrambled"]
    assert rows.in_order(given)[:3] == ["copy", "oracle", f"{MAIN}_scrambled"], "a control"


def test_the_main_system_is_the_first_default_one_that_is_there():
    assert rows.main_system(table("copy", "nmf", "other", MAIN)) == MAIN
    assert rows.main_system(table(f"{MAIN}_scrambled", *reversed(catalogue.DEFAULTS))) == MAIN
    assert rows.main_system(table("copy", *catalogue.DEFAULTS[1:], "nmf")) == catalogue.DEFAULTS[1]
    assert rows.main_system(table("copy", "nmf", "other")) == "other"
    assert rows.main_system(table("copy", "nmf", "vocoder_istft")) == "nmf"
    assert rows.main_system(table("copy", "vocoder_istft")) is None


def test_six_rows_are_shown_first_the_best_baselines_where_there_is_room():
    every = [*rows.CONTROLS, "cepstral", "nmf", "gram", MAIN, f"{MAIN}_scrambled", f"{MAIN}_istft"]
    every += ["vocoder_istft", *catalogue.DEFAULTS[1:]]
    skill = {"nmf": 0.1, "gram": 0.3}
    results = pandas.DataFrame(
        [(s, "skill", skill.get(s, 0.0)) for s in every], columns=["system", "metric", "value"]
    )
    assert rows.shown_first(results) == ["copy", "eq_match", "oracle", "gram", *catalogue.DEFAULTS]
    assert rows.shown_first(results.assign(metric="other"))[3] == "cepstral", (
        "in order where there is no skill"
    )
    few = results[results.system.isin(["copy", "gram", f"{MAIN}_istft", MAIN])]
    assert rows.shown_first(few) == ["copy", "gram", MAIN]


@pytest.mark.parametrize(
    "name", [*rows.CONTROLS, *rows.RECORDINGS, *rows.BASELINES, *catalogue.names(), f"{MAIN}_scrambled"]
)
def test_every_row_has_a_sentence(name):
    assert rows.about(name).endswith((".", ":"))


def test_the_way_to_audio_is_said():
    for kind in KINDS:
        spoken = kind.replace("_", " ")
        assert spoken in rows.about(f"vocoder_{kind}") and spoken in rows.about(f"{MAIN}_{kind}")
    assert "source's phases" in rows.about(f"{MAIN}_source_phase") and "few" in rows.about(f"{MAIN}_wavenet")
    assert rows.about("unknown") == ""
