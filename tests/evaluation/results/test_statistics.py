"""Intervals and tests: against scipy and published examples, coverage in simulations, groups, NaN."""

import numpy as np
import pytest
import scipy.stats

from retimbre.evaluation.results.statistics import (
    bootstrap_mean,
    hierarchical_difference,
    holm,
    paired_difference,
    permutation_p,
    permutation_p_of_runs,
    wilson,
)

VALUES = np.random.default_rng(1).normal(5, 2, 40)


@pytest.fixture
def rng():
    return np.random.default_rng(2)


def test_agrees_with_scipy():
    ours = bootstrap_mean(VALUES, 4000, seed=3)
    settings = {"n_resamples": 4000, "method": "percentile", "random_state": 3}
    theirs = scipy.stats.bootstrap((VALUES,), np.mean, **settings).confidence_interval
    assert ours.mean == pytest.approx(VALUES.mean())
    assert (ours.low, ours.high) == pytest.approx(tuple(theirs), abs=0.08)


def test_is_seeded():
    assert bootstrap_mean(VALUES, seed=1) == bootstrap_mean(VALUES, seed=1)
    assert bootstrap_mean(VALUES, seed=1) != bootstrap_mean(VALUES, seed=2)


def test_covers_the_true_mean_about_as_often_as_it_says(rng):
    found = (bootstrap_mean(rng.normal(size=30), 300, seed=k) for k in range(200))
    hits = [i.low < 0 < i.high for i in found]
    assert 0.88 < np.mean(hits) <= 0.98


def test_groups_widen_the_interval_of_repeated_items():
    twice, groups = np.repeat(VALUES, 2), np.repeat(np.arange(40), 2)
    naive, honest = bootstrap_mean(twice), bootstrap_mean(twice, groups=groups)
    single = bootstrap_mean(VALUES)
    assert naive.high - naive.low < 0.85 * (honest.high - honest.low)
    assert honest.high - honest.low == pytest.approx(single.high - single.low, rel=0.15)


def test_undefined_values_are_left_out():
    got = bootstrap_mean(np.array([1.0, np.nan, 3.0]))
    assert (got.mean, got.n) == (2.0, 2)
    assert np.isnan(bootstrap_mean(np.array([np.nan])).mean)
    assert bootstrap_mean(np.array([4.0])).low == bootstrap_mean(np.array([4.0])).high == 4.0


def test_paired_difference_sees_what_means_hide(rng):
    noise = rng.normal(0, 10, 24)
    got = paired_difference(noise - 0.3 + rng.normal(0, 0.1, 24), noise)
    assert got.low < -0.3 < got.high < 0
    assert paired_difference(VALUES, VALUES).mean == paired_difference(VALUES, VALUES).high == 0


def test_paired_difference_needs_pairs():
    with pytest.raises(ValueError, match="one length"):
        paired_difference(VALUES, VALUES[:-1])
    assert paired_difference(np.array([np.nan, 2.0]), np.array([1.0, 1.0])).n == 1


# ------------------------------------------------------------------------------- several trainings


def trainings(rng, seeds, effect, seed_sd, item_sd=1.0, noise_sd=0.3):
    """Two sides of ``seeds`` trainings on 24 items (12 pieces in 2 directions), b = a - effect."""
    pieces = np.tile(np.arange(12), 2)
    items = rng.normal(0, item_sd, 12)[pieces]
    sides = [
        items + rng.normal(0, seed_sd, (seeds, 1)) + rng.normal(0, noise_sd, (seeds, 24)) for _ in range(2)
    ]
    return sides[0] + effect, sides[1], pieces


def test_one_training_a_side_is_the_paired_bootstrap(rng):
    a, b = VALUES, VALUES - 0.5 + rng.normal(0, 0.2, 40)
    ours, theirs = hierarchical_difference(a[None], b[None], draws=4000), paired_difference(a, b, draws=4000)
    assert ours.mean == pytest.approx(theirs.mean)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.01)
    assert ours.n == theirs.n


def test_the_hierarchical_interval_covers_seeds_and_the_flat_one_does_not():
    """Effect 0.5, seeds that differ by 0.5: an interval of 95 % holds the effect in 95 of 100 simulations."""
    rng, hits, naive = np.random.default_rng(5), [], []
    for k in range(150):
        a, b, pieces = trainings(rng, 6, 0.5, 0.5)
        found = hierarchical_difference(a, b, pieces, draws=400, seed=k)
        hits.append(found.low < 0.5 < found.high)
        flat = paired_difference(a[0], b[0], 200, groups=pieces)
        naive.append(flat.low < 0.5 < flat.high)
    assert 0.88 <= np.mean(hits) <= 0.99
    assert np.mean(naive) < 0.6, "one training says little about the next"


def test_strata_keep_their_shares(rng):
    strata = np.repeat(["mono", "poly"], 12)
    values = np.where(strata == "mono", 10.0, 0.0)[None] + rng.normal(0, 0.1, (1, 24))
    within = hierarchical_difference(values, np.zeros((1, 24)), strata=strata)
    across = hierarchical_difference(values, np.zeros((1, 24)))
    assert within.high - within.low < 0.2 < 2 < across.high - across.low


def test_hierarchical_needs_complete_rows_of_the_same_items():
    for a, b in (
        (np.ones(3), np.ones((1, 3))),
        (np.ones((1, 3)), np.ones((1, 2))),
        (np.array([[1.0, np.nan]]), np.ones((1, 2))),
    ):
        with pytest.raises(ValueError, match="one row per training"):
            hierarchical_difference(a, b)


# ------------------------------------------------------------------------------------------- tests


def test_paired_permutation_counts_all_signs():
    """Eight pieces that all improve: 2 of the 256 sign changes are as extreme."""
    better = np.arange(1.0, 9)
    assert permutation_p(better, np.zeros(8)) == pytest.approx(2 / 256)
    assert permutation_p(better, better) == 1
    assert np.isnan(permutation_p(np.array([1.0]), np.array([0.0])))
    twice, groups = np.repeat(better, 2), np.repeat(np.arange(8), 2)
    # Both directions of a piece change places together.
    assert permutation_p(twice, np.zeros(16), groups) == pytest.approx(2 / 256)
    assert permutation_p(twice, np.zeros(16)) < 1e-3


def test_permutation_test_is_right_when_there_is_no_effect():
    rng = np.random.default_rng(2)
    p = [permutation_p(*rng.normal(size=(2, 8)), seed=k) for k in range(300)]
    assert 0.02 <= np.mean(np.array(p) < 0.05) <= 0.09


def test_permutation_of_trainings_has_a_floor():
    assert permutation_p_of_runs(np.arange(3.0), np.arange(3.0) + 100) == pytest.approx(0.1)
    assert permutation_p_of_runs(np.arange(5.0), np.arange(5.0) + 100) == pytest.approx(2 / 252)
    assert np.isnan(permutation_p_of_runs(np.arange(1.0), np.arange(5.0)))


def test_holm_by_hand():
    """Holm (1979): sorted p times 4, 3, 2, 1, never falling."""
    assert holm([0.01, 0.04, 0.03, 0.005]).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    corrected = holm([0.02, np.nan, 0.5])
    assert corrected[[0, 2]].tolist() == pytest.approx([0.04, 0.5]) and np.isnan(corrected[1])
    assert len(holm([])) == 0


def test_wilson_of_the_dissertations_listeners():
    """111 of 236 listeners (piano to guitar): 0.41 to 0.53, not different from a coin."""
    found = wilson(111, 236)
    assert (round(found.low, 2), round(found.high, 2)) == (0.41, 0.53)
    theirs = scipy.stats.binomtest(111, 236).proportion_ci(method="wilson")
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high))
    assert wilson(0, 10).low == pytest.approx(0, abs=1e-12) and np.isnan(wilson(0, 0).mean)
