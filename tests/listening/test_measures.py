"""Estimates against known values and other libraries; coverage where nothing is known but the truth."""

import math

import numpy as np
import pandas
import pytest
from scipy.stats import binomtest
from sklearn.linear_model import LogisticRegression

from retimbre.listening import measures, simulation


def test_proportion_is_wilsons_and_the_exact_tests() -> None:
    """31 of 48: the Wilson interval leaves 0.5 out, the exact test does not reject (evaluation design, section 5.5)."""
    p = measures.proportion(31, 48, 0.5)
    assert (p.low, p.high) == (pytest.approx(0.504, abs=1e-3), pytest.approx(0.766, abs=1e-3))
    assert p.p == pytest.approx(0.059, abs=1e-3) and p.p == pytest.approx(binomtest(31, 48).pvalue)
    assert math.isnan(measures.proportion(0, 0, 0.5).share)
    with pytest.raises(ValueError, match="k must be"):
        measures.proportion(3, 2, 0.5)


def table(means: list[float], listeners: int, items: int, seed: int) -> pandas.DataFrame:
    values, person, piece, system = simulation.draw_ratings(np.random.default_rng(seed), np.array(means), listeners, items)
    names = np.array([f"s{n}" for n in range(len(means))])
    return pandas.DataFrame({"value": values, "session": person.astype(str), "item": piece.astype(str), "system": names[system]})


def test_cluster_bootstrap_gives_the_plain_means_and_wider_intervals_than_independence() -> None:
    data = table([3.0, 3.5], 20, 10, 0)
    names, means, drawn = measures.cluster_means(data.value, data.session, data["item"], data.system, 800)
    assert names == ["s0", "s1"] and means == pytest.approx(data.groupby("system").value.mean().to_numpy())
    assert drawn.mean(axis=0) == pytest.approx(means, abs=0.05)
    low, high = measures.interval(drawn[:, 0])
    independent = 2 * 1.96 * data[data.system == "s0"].value.std() / math.sqrt(200)
    assert high - low > 1.5 * independent, "answers of one listener or item are not independent"
    again = measures.cluster_means(data.value, data.session, data["item"], data.system, 800)[2]
    assert np.array_equal(drawn, again)


def test_no_effect_is_found_in_about_five_percent_of_runs_at_most() -> None:
    """The interval of a difference between two equal systems leaves 0 out rarely; with an effect of one point nearly always."""

    def found(effect: float, runs: int) -> float:
        hits = 0
        for run in range(runs):
            data = table([3.0, 3.0 + effect], 12, 8, run)
            _, _, drawn = measures.cluster_means(data.value, data.session, data["item"], data.system, 300, run)
            low, high = measures.interval(drawn[:, 1] - drawn[:, 0])
            hits += not low <= 0 <= high
        return hits / runs

    assert found(0.0, 150) <= 0.09
    assert found(1.0, 20) >= 0.95


def test_exact_preference_test_keeps_its_level() -> None:
    wins = np.random.default_rng(0).binomial(48, 0.5, 400)
    assert np.mean([measures.proportion(int(k), 48, 0.5).p < 0.05 for k in wins]) <= 0.07


def test_mixed_model_recovers_the_effect_and_refuses_what_it_cannot_fit() -> None:
    data = table([3.0, 3.6, 3.0], 10, 6, 1)
    found = measures.mixed_contrasts(data, "s0")
    assert found["s1"][0] == pytest.approx(0.6, abs=0.35) and found["s1"][1] < 0.01
    assert abs(found["s2"][0]) < 0.35
    raw = data.groupby("system").value.mean()
    assert found["s1"][0] == pytest.approx(raw["s1"] - raw["s0"], abs=0.02), "balanced: the model's difference is that of the means"
    assert measures.mixed_contrasts(data.assign(session="one"), "s0") == {}
    assert measures.mixed_contrasts(data.assign(value=3), "s0") == {}


def test_ordinal_model_is_logistic_regression_when_there_are_two_answers() -> None:
    data = table([3.0, 3.6], 12, 8, 2).assign(value=lambda t: (t.value >= 3).astype(int))
    (estimate, p) = measures.ordinal_contrasts(data, "s0")["s1"]
    x = (data.system == "s1").to_numpy(float)[:, None]
    reference = LogisticRegression(C=1e6).fit(x, data.value).coef_[0, 0]
    assert estimate == pytest.approx(reference, abs=0.02) and p < 0.05
    assert measures.ordinal_contrasts(data.assign(value=1), "s0") == {}


def test_holm() -> None:
    assert measures.holm({"a": 0.01, "b": 0.04, "c": math.nan, "d": 0.03})["a"] == pytest.approx(0.03)
    assert measures.holm({"a": 0.01, "b": 0.04, "d": 0.03})["b"] == pytest.approx(0.06)
    assert math.isnan(measures.holm({"a": math.nan})["a"])


def test_bradley_terry_recovers_strengths() -> None:
    truth = np.array([0.8, 0.0, -0.8])
    odds = 1 / (1 + np.exp(-(truth[:, None] - truth[None, :])))
    wins = np.rint(2000 * odds)
    np.fill_diagonal(wins, 0)
    assert measures.bradley_terry(wins) == pytest.approx(truth, abs=0.03)
    assert np.isfinite(measures.bradley_terry(np.array([[0, 9], [0, 0]]))).all(), "one that always won is still finite"


def test_agreement_and_icc_of_perfect_and_of_random_raters() -> None:
    units = [f"i{n}" for n in range(30)]
    rng = np.random.default_rng(0)
    rows = [(f"r{r}", u, "s", v) for u, v in zip(units, rng.integers(1, 6, 30), strict=True) for r in range(4)]
    perfect = pandas.DataFrame(rows, columns=["session", "item", "system", "value"])
    assert measures.agreement(perfect) == pytest.approx(1) and measures.icc(perfect)[0] == pytest.approx(1)
    chance = perfect.assign(value=rng.integers(1, 6, len(perfect)))
    assert abs(measures.agreement(chance)) < 0.2 and abs(measures.icc(chance)[0]) < 0.2
    assert math.isnan(measures.agreement(perfect[perfect.session == "r0"]))


def test_icc_of_shrout_and_fleiss() -> None:
    """Table 2 of Shrout & Fleiss (1979): six targets, four judges, ICC(1,1) = 0.17 and ICC(1,4) = 0.44."""
    scores = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]
    rows = [(f"j{j}", f"t{t}", "s", v) for t, row in enumerate(scores) for j, v in enumerate(row)]
    single, mean = measures.icc(pandas.DataFrame(rows, columns=["session", "item", "system", "value"]))
    assert single == pytest.approx(0.17, abs=0.005) and mean == pytest.approx(0.44, abs=0.005)


def test_spearman_leaves_gaps_out() -> None:
    assert measures.spearman([1, 2, math.nan, 3], [1, 4, 5, 9]) == (pytest.approx(1), 3)
    assert math.isnan(measures.spearman([1, 2], [1, 2])[0]) and math.isnan(measures.spearman([1, 1, 1], [1, 2, 3])[0])
