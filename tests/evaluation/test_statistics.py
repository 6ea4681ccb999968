"""Bootstrap intervals: against scipy, coverage, groups, NaN."""

import numpy as np
import pytest
import scipy.stats

from retimbre.evaluation.statistics import bootstrap_mean, paired_difference

RNG = np.random.default_rng(1)
VALUES = RNG.normal(5, 2, 40)


def test_agrees_with_scipy():
    ours = bootstrap_mean(VALUES, 4000, seed=3)
    theirs = scipy.stats.bootstrap((VALUES,), np.mean, n_resamples=4000, method="percentile", random_state=3).confidence_interval
    assert ours.mean == pytest.approx(VALUES.mean())
    assert (ours.low, ours.high) == pytest.approx(tuple(theirs), abs=0.08)


def test_is_seeded():
    assert bootstrap_mean(VALUES, seed=1) == bootstrap_mean(VALUES, seed=1)
    assert bootstrap_mean(VALUES, seed=1) != bootstrap_mean(VALUES, seed=2)


def test_covers_the_true_mean_about_as_often_as_it_says():
    hits = [i.low < 0 < i.high for i in (bootstrap_mean(RNG.normal(size=30), 300, seed=k) for k in range(200))]
    assert 0.85 < np.mean(hits) <= 0.99


def test_groups_widen_the_interval_of_repeated_items():
    twice, groups = np.repeat(VALUES, 2), np.repeat(np.arange(40), 2)
    naive, honest, single = bootstrap_mean(twice), bootstrap_mean(twice, groups=groups), bootstrap_mean(VALUES)
    assert naive.high - naive.low < 0.85 * (honest.high - honest.low)
    assert honest.high - honest.low == pytest.approx(single.high - single.low, rel=0.15)


def test_undefined_values_are_left_out():
    got = bootstrap_mean(np.array([1.0, np.nan, 3.0]))
    assert (got.mean, got.n) == (2.0, 2)
    assert np.isnan(bootstrap_mean(np.array([np.nan])).mean)
    assert bootstrap_mean(np.array([4.0])).low == bootstrap_mean(np.array([4.0])).high == 4.0


def test_paired_difference_sees_what_means_hide():
    noise = RNG.normal(0, 10, 24)
    got = paired_difference(noise - 0.3 + RNG.normal(0, 0.1, 24), noise)
    assert got.low < -0.3 < got.high < 0
    assert got.share_above < 0.1
    assert paired_difference(VALUES, VALUES).mean == paired_difference(VALUES, VALUES).high == 0


def test_paired_difference_needs_pairs():
    with pytest.raises(ValueError, match="one length"):
        paired_difference(VALUES, VALUES[:-1])
    assert paired_difference(np.array([np.nan, 2.0]), np.array([1.0, 1.0])).n == 1
