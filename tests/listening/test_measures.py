"""Estimates against known values and other libraries; coverage where nothing is known but the truth."""

import math

import numpy as np
import pandas
import pytest
from sklearn.linear_model import LogisticRegression

from retimbre.listening import measures, simulation


def test_proportion_is_wilsons_and_the_exact_tests() -> None:
    """31 of 48: Wilson's interval leaves 0.5 out, the exact test does not reject (evaluation design, 5.5)."""
    p = measures.proportion(31, 48, 0.5)
    assert (p["low"], p["high"]) == (pytest.approx(0.504, abs=1e-3), pytest.approx(0.766, abs=1e-3))
    assert p["p"] == pytest.approx(0.059, abs=1e-3)


def table(means: list[float], listeners: int, items: int, seed: int) -> pandas.DataFrame:
    """Ratings of a full design of listeners, items and systems s0, s1, ... with the simulation's spreads."""
    rng = np.random.default_rng(seed)
    shape = (listeners, items, len(means))
    person = rng.normal(0, simulation.LISTENER_SD, (listeners, 1, 1))
    latent = means + person + rng.normal(0, simulation.ITEM_SD, (1, items, 1))
    values = np.clip(np.rint(latent + rng.normal(0, simulation.NOISE_SD, shape)), 1, 5)
    labels = pandas.DataFrame(
        np.indices(shape).reshape(3, -1).T.astype(str), columns=["session", "item", "system"]
    )
    return labels.assign(value=values.ravel(), system="s" + labels.system)


def test_cluster_bootstrap_gives_the_plain_means_and_wider_intervals_than_independence() -> None:
    data = table([3.0, 3.5], 20, 10, 0)
    drawn = measures.cluster_means(data, 800, 0)
    assert drawn.mean().to_dict() == pytest.approx(data.groupby("system").value.mean().to_dict(), abs=0.05)
    low, high = measures.interval(drawn.s0)
    independent = 2 * 1.96 * data[data.system == "s0"].value.std() / math.sqrt(200)
    assert high - low > 1.5 * independent, "answers of one listener or item are not independent"
    assert drawn.equals(measures.cluster_means(data, 800, 0)) and not drawn.equals(
        measures.cluster_means(data, 800, 1)
    )


def test_no_effect_is_found_in_about_five_percent_of_runs_at_most() -> None:
    """The interval of a difference leaves 0 out rarely between equals, nearly always with one point."""

    def found(effect: float, runs: int) -> float:
        hits = 0
        for run in range(runs):
            drawn = measures.cluster_means(table([3.0, 3.0 + effect], 12, 8, run), 300, run)
            low, high = measures.interval(drawn.s1 - drawn.s0)
            hits += not low <= 0 <= high
        return hits / runs

    assert found(0.0, 150) <= 0.09
    assert found(1.0, 20) >= 0.95


def test_mixed_model_recovers_the_effect_and_refuses_what_it_cannot_fit() -> None:
    data = table([3.0, 3.6, 3.0], 10, 6, 1)
    found = measures.mixed_contrasts(data, "s0")
    assert found["s1"][0] == pytest.approx(0.6, abs=0.35) and found["s1"][1] < 0.01
    assert abs(found["s2"][0]) < 0.35
    raw = data.groupby("system").value.mean()
    assert found["s1"][0] == pytest.approx(raw["s1"] - raw["s0"], abs=0.02), "balanced: that of the means"
    assert measures.mixed_contrasts(data.assign(session="one"), "s0") == {}
    assert measures.mixed_contrasts(data.assign(value=3), "s0") == {}


def test_ordinal_model_is_logistic_regression_when_there_are_two_answers() -> None:
    data = table([3.0, 3.6], 12, 8, 2).assign(value=lambda t: (t.value >= 3).astype(int))
    estimate = measures.ordinal_contrasts(data, "s0")["s1"]
    x = (data.system == "s1").to_numpy(float)[:, None]
    reference = LogisticRegression(C=1e6).fit(x, data.value).coef_[0, 0]
    assert estimate == pytest.approx(reference, abs=0.02)
    assert measures.ordinal_contrasts(data.assign(value=1), "s0") == {}


def test_bradley_terry_recovers_strengths() -> None:
    truth = np.array([0.8, 0.0, -0.8])
    odds = 1 / (1 + np.exp(-(truth[:, None] - truth[None, :])))
    wins = np.rint(2000 * odds)
    np.fill_diagonal(wins, 0)
    assert measures.bradley_terry(wins) == pytest.approx(truth, abs=0.03)
    assert np.isfinite(measures.bradley_terry(np.array([[0, 9], [0, 0]]))).all(), (
        "one that always won is still finite"
    )


def test_agreement_and_icc_of_perfect_and_of_random_raters() -> None:
    units = [f"i{n}" for n in range(30)]
    rng = np.random.default_rng(0)
    rows = [
        (f"r{r}", u, "s", v) for u, v in zip(units, rng.integers(1, 6, 30), strict=True) for r in range(4)
    ]
    perfect = pandas.DataFrame(rows, columns=["session", "item", "system", "value"])
    assert measures.agreement(perfect) == pytest.approx(1) and measures.icc(perfect) == (1, 1)
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
    def of(a: list[float], b: list[float]) -> tuple[float, int]:
        return measures.spearman(pandas.DataFrame({"a": a, "b": b}))

    assert of([1, 2, math.nan, 3], [1, 4, 5, 9]) == (pytest.approx(1), 3)
    assert math.isnan(of([1, 2], [1, 2])[0]) and math.isnan(of([1, 1, 1], [1, 2, 3])[0])
