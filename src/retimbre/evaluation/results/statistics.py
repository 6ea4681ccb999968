"""Intervals and tests over test items, and over trainings and test items.

What an interval covers: :func:`bootstrap_mean` and :func:`paired_difference` the draw of test *pieces*, with
the trained model held fixed; they say nothing about another training seed, and with one training the
words "one training run" belong beside them. The ``hierarchical_`` ones cover seeds and pieces. Whole
pieces are drawn (``groups``), since the two directions of a piece are not independent.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.stats

MOST_PERMUTATIONS = 9999  # beyond this many they are drawn; below, all are counted and p is exact


@dataclass(frozen=True)
class Interval:
    """A mean with a bootstrap percentile interval over ``n`` items."""

    mean: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Difference:
    """Mean paired difference a - b over ``n`` items, its interval, and the share of items in which a is above b."""

    mean: float
    low: float
    high: float
    n: int
    share_above: float


def _finite(*columns: np.ndarray) -> list[np.ndarray]:
    """The columns without the rows in which any is NaN or infinite."""
    arrays = [np.asarray(c, np.float64) for c in columns]
    if len({a.shape for a in arrays}) != 1 or arrays[0].ndim != 1:
        raise ValueError(f"values must be lists of one length, not of shapes {[a.shape for a in arrays]}")
    keep = np.logical_and.reduce([np.isfinite(a) for a in arrays])
    return [a[keep] for a in arrays]


def _resample(values: np.ndarray, draws: int, seed: int, groups: np.ndarray) -> np.ndarray:
    """Means of ``draws`` resamples, (draws,). Whole groups are drawn, since the two directions of a piece are not independent."""
    rng = np.random.default_rng(seed)
    _, member = np.unique(groups, return_inverse=True)
    sums, sizes = np.bincount(member, values), np.bincount(member)
    picked = rng.integers(0, len(sums), (draws, len(sums)))
    return sums[picked].sum(axis=1) / sizes[picked].sum(axis=1)


def bootstrap_mean(values: np.ndarray, draws: int = 1000, seed: int = 0, level: float = 0.95, groups: np.ndarray | None = None) -> Interval:
    """Mean and percentile bootstrap interval of ``values`` (n,), resampling items (or whole ``groups`` (n,) of items).

    NaN values are left out. With no value everything is NaN, with one value the interval is that value.
    Efron & Tibshirani (1993), chapter 13.
    """
    groups = np.arange(len(values)) if groups is None else np.asarray(groups)
    (x,) = _finite(values)
    if len(x) == 0:
        return Interval(float("nan"), float("nan"), float("nan"), 0)
    means = _resample(x, draws, seed, groups[np.isfinite(np.asarray(values, np.float64))])
    tail = 50 * (1 - level)
    low, high = np.percentile(means, [tail, 100 - tail])
    return Interval(float(x.mean()), float(low), float(high), len(x))


def paired_difference(
    a: np.ndarray, b: np.ndarray, draws: int = 1000, seed: int = 0, level: float = 0.95, groups: np.ndarray | None = None
) -> Difference:
    """Difference a - b of two systems on the same items, both (n,) in the same order; items with a NaN are left out."""
    groups = np.arange(len(a)) if groups is None else np.asarray(groups)
    x, y = _finite(a, b)
    if len(x) == 0:
        return Difference(float("nan"), float("nan"), float("nan"), 0, float("nan"))
    keep = np.isfinite(np.asarray(a, np.float64)) & np.isfinite(np.asarray(b, np.float64))
    means = _resample(x - y, draws, seed, groups[keep])
    tail = 50 * (1 - level)
    low, high = np.percentile(means, [tail, 100 - tail])
    return Difference(float((x - y).mean()), float(low), float(high), len(x), float((x > y).mean()))


# ------------------------------------------------------------------------------- several trainings


def _matrix(values: np.ndarray, n: int | None = None) -> np.ndarray:
    x = np.asarray(values, np.float64)
    if x.ndim != 2 or 0 in x.shape or (n is not None and x.shape[1] != n) or not np.isfinite(x).all():
        raise ValueError(f"values are finite, one row per training and one column per item, not of shape {x.shape}")
    return x


def _seed_draws(sums: np.ndarray, weights: np.ndarray, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Sums over items of resampled trainings: (S, groups) and (draws, groups) to (draws,).

    The deviations of S trainings from their mean are widened by sqrt(S / (S - 1)): the bootstrap's spread is
    that much too small, which matters with few (Hesterberg 2015, section 3.2).
    """
    count = len(sums)
    if count > 1:
        centre = sums.mean(axis=0)
        sums = centre + (sums - centre) * np.sqrt(count / (count - 1))
    picked = rng.multinomial(count, np.full(count, 1 / count), draws) / count  # (draws, S)
    return np.einsum("ds,ds->d", picked, weights @ sums.T)


def hierarchical_difference(
    a: np.ndarray,
    b: np.ndarray,
    groups: Sequence | None = None,
    strata: Sequence | None = None,
    draws: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Difference:
    """Mean difference a - b of two systems that were trained several times, and its interval over trainings and items.

    ``a`` (S_a, n), ``b`` (S_b, n): one row per training, one column per item, the same items in the same
    order. Each draw takes trainings of either side, and pieces (``groups`` (n,)) within ``strata`` (n,), the
    same pieces for both sides. With one training per side this is the paired bootstrap over pieces, and
    with fewer than five the interval is still too narrow. ``share_above``: share of items in which the mean
    over trainings of a is above that of b. Davison & Hinkley (1997), section 3.8.
    """
    a = _matrix(a)
    b, n, rng = _matrix(b, a.shape[1]), a.shape[1], np.random.default_rng(seed)
    groups = np.arange(n) if groups is None else np.asarray(groups)
    strata = np.zeros(n, int) if strata is None else np.asarray(strata)
    cells = np.array([f"{s}\0{g}" for s, g in zip(strata, groups, strict=True)])
    names, first, member = np.unique(cells, return_index=True, return_inverse=True)
    sums_a, sums_b = (np.stack([np.bincount(member, row, len(names)) for row in x]) for x in (a, b))
    sizes, stratum_of = np.bincount(member), strata[first]
    weights = np.zeros((draws, len(names)))
    for stratum in np.unique(stratum_of):
        inside = np.flatnonzero(stratum_of == stratum)
        weights[:, inside] = rng.multinomial(len(inside), np.full(len(inside), 1 / len(inside)), draws)
    means = (_seed_draws(sums_a, weights, draws, rng) - _seed_draws(sums_b, weights, draws, rng)) / (weights @ sizes)
    tail = 50 * (1 - level)
    low, high = np.percentile(means, [tail, 100 - tail])
    difference = a.mean(axis=0) - b.mean(axis=0)
    return Difference(float(difference.mean()), float(low), float(high), n, float((difference > 0).mean()))


# ------------------------------------------------------------------------------------------- tests


def permutation_p(a: np.ndarray, b: np.ndarray, groups: Sequence | None = None, seed: int = 0) -> float:
    """Two-sided p of a paired permutation test of mean a = mean b, both (n,): the two sides of whole pieces change places.

    Exact when there are at most ``MOST_PERMUTATIONS`` permutations (13 pieces); NaN with fewer than two pieces. scipy.
    """
    a, b = _finite(a, b)
    _, member = np.unique(np.arange(len(a)) if groups is None else np.asarray(groups), return_inverse=True)
    x, y = (np.bincount(member, v) for v in (a, b))
    if len(x) < 2:
        return float("nan")
    options = dict(vectorized=True, n_resamples=MOST_PERMUTATIONS, rng=np.random.default_rng(seed))
    result = scipy.stats.permutation_test((x, y), lambda p, q, axis: (p - q).mean(axis=axis), permutation_type="samples", **options)
    return float(result.pvalue)


def permutation_p_of_runs(a: np.ndarray, b: np.ndarray, seed: int = 0) -> float:
    """Two-sided p of a permutation test over trainings: the means of runs (S_a,) and (S_b,), whose labels are shuffled.

    Never below 2 / C(S_a + S_b, S_a): 0.1 with three a side, 0.008 with five. NaN with fewer than two a side. scipy.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if min(len(a), len(b)) < 2:
        return float("nan")
    options = dict(vectorized=True, n_resamples=MOST_PERMUTATIONS, rng=np.random.default_rng(seed))
    result = scipy.stats.permutation_test((a, b), lambda x, y, axis: x.mean(axis=axis) - y.mean(axis=axis), **options)
    return float(result.pvalue)


def holm(p: Sequence[float]) -> np.ndarray:
    """Holm's corrected p values of several tests, in the order given; NaN stay NaN and do not count. statsmodels."""
    from statsmodels.stats.multitest import multipletests  # half a second, which scoring does without

    p = np.asarray(p, np.float64)
    corrected, known = np.full(p.shape, np.nan), np.isfinite(p)
    if known.any():
        corrected[known] = multipletests(p[known], method="holm")[1]
    return corrected


@dataclass(frozen=True)
class McNemar:
    """Two classifiers on the same items: how many only the first and only the second gets right, and the exact two-sided p."""

    only_a: int
    only_b: int
    p: float


def exact_mcnemar(a_right: np.ndarray, b_right: np.ndarray) -> McNemar:
    """Exact McNemar test of two classifiers' right answers, bool (n,) on the same items (statsmodels).

    Items of one recording are not independent: give one answer per recording.
    """
    from statsmodels.stats.contingency_tables import mcnemar

    a, b = np.asarray(a_right, bool), np.asarray(b_right, bool)
    if a.shape != b.shape or a.ndim != 1:
        raise ValueError(f"answers must be lists of one length, not of shapes {a.shape} and {b.shape}")
    table = [[int((a & b).sum()), int((a & ~b).sum())], [int((~a & b).sum()), int((~a & ~b).sum())]]
    return McNemar(table[0][1], table[1][0], float(mcnemar(table, exact=True).pvalue))


def wilson(successes: int, n: int, level: float = 0.95) -> Interval:
    """A share with Wilson's interval (statsmodels); NaN without trials."""
    from statsmodels.stats.proportion import proportion_confint

    if n == 0:
        return Interval(float("nan"), float("nan"), float("nan"), 0)
    low, high = proportion_confint(successes, n, 1 - level, method="wilson")
    return Interval(successes / n, float(low), float(high), n)
