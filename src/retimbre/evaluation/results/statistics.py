"""Intervals and tests over test items, and over trainings and test items.

What an interval covers: :func:`bootstrap_mean` and :func:`paired_difference` the draw of test *pieces*, with
the trained model held fixed; they say nothing about another training seed, and with one training the words
"one training run" belong beside them. :func:`hierarchical_difference` covers seeds and pieces. Whole pieces
are drawn (``groups``), since the two directions of a piece are not independent. Intervals are percentile
intervals of 95 %.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.stats

MOST_PERMUTATIONS = 9999  # beyond this many they are drawn; below, all are counted and p is exact
PERCENTILES = (2.5, 97.5)
NAN = float("nan")


@dataclass(frozen=True)
class Interval:
    """A mean over ``n`` items with its interval."""

    mean: float
    low: float
    high: float
    n: int


def bootstrap_mean(
    values: np.ndarray, draws: int = 1000, seed: int = 0, groups: Sequence | None = None
) -> Interval:
    """Mean and bootstrap interval of ``values`` (n,), resampling items (or whole ``groups`` (n,) of items).

    Values that are not finite are left out. With no value everything is NaN, with one value the interval is
    that value. Efron & Tibshirani (1993), chapter 13.
    """
    values = np.asarray(values, np.float64)
    known = np.isfinite(values)
    if not known.any():
        return Interval(NAN, NAN, NAN, 0)
    x, groups = values[known], np.arange(len(values)) if groups is None else np.asarray(groups)
    _, member = np.unique(groups[known], return_inverse=True)
    sums, sizes = np.bincount(member, x), np.bincount(member)
    picked = np.random.default_rng(seed).integers(0, len(sums), (draws, len(sums)))
    low, high = np.percentile(sums[picked].sum(axis=1) / sizes[picked].sum(axis=1), PERCENTILES)
    return Interval(float(x.mean()), float(low), float(high), len(x))


def paired_difference(
    a: np.ndarray, b: np.ndarray, draws: int = 1000, seed: int = 0, groups: Sequence | None = None
) -> Interval:
    """Difference a - b on the same items, both (n,) in one order; items with a NaN are left out."""
    a, b = (np.asarray(x, np.float64) for x in (a, b))
    if a.shape != b.shape:
        raise ValueError(f"values must be lists of one length, not of shapes {a.shape} and {b.shape}")
    return bootstrap_mean(a - b, draws, seed, groups)


# ------------------------------------------------------------------------------- several trainings


def _matrix(values: np.ndarray, n: int | None = None) -> np.ndarray:
    x = np.asarray(values, np.float64)
    if x.ndim != 2 or 0 in x.shape or (n is not None and x.shape[1] != n) or not np.isfinite(x).all():
        raise ValueError(f"values: finite, one row per training, one column per item, not of shape {x.shape}")
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
) -> Interval:
    """Mean difference a - b of two systems trained several times; interval over trainings and items.

    ``a`` (S_a, n), ``b`` (S_b, n): one row per training, one column per item, the same items in the same
    order. Each draw takes trainings of either side, and pieces (``groups`` (n,)) within ``strata`` (n,), the
    same pieces for both sides. With one training per side this is the paired bootstrap over pieces, and with
    fewer than five the interval is still too narrow. Davison & Hinkley (1997), section 3.8.
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
    totals = _seed_draws(sums_a, weights, draws, rng) - _seed_draws(sums_b, weights, draws, rng)
    means = totals / (weights @ sizes)
    low, high = np.percentile(means, PERCENTILES)
    return Interval(float((a.mean(axis=0) - b.mean(axis=0)).mean()), float(low), float(high), n)


# ------------------------------------------------------------------------------------------- tests


def _permutation_p(a: np.ndarray, b: np.ndarray, seed: int, kind: str) -> float:
    result = scipy.stats.permutation_test(
        (a, b),
        lambda x, y, axis: x.mean(axis=axis) - y.mean(axis=axis),
        permutation_type=kind,
        vectorized=True,
        n_resamples=MOST_PERMUTATIONS,
        rng=np.random.default_rng(seed),
    )
    return float(result.pvalue)


def permutation_p(a: np.ndarray, b: np.ndarray, groups: Sequence | None = None, seed: int = 0) -> float:
    """Two-sided p of a paired permutation test of mean a = mean b, both (n,): the two sides of whole pieces
    change places. Items with a NaN are left out.

    Exact when there are at most ``MOST_PERMUTATIONS`` permutations (13 pieces); NaN with fewer than two
    pieces.
    """
    a, b = (np.asarray(x, np.float64) for x in (a, b))
    known = np.isfinite(a - b)
    groups = np.arange(len(a)) if groups is None else np.asarray(groups)
    _, member = np.unique(groups[known], return_inverse=True)
    x, y = (np.bincount(member, v[known]) for v in (a, b))
    return _permutation_p(x, y, seed, "samples") if len(x) > 1 else NAN


def permutation_p_of_runs(a: np.ndarray, b: np.ndarray, seed: int = 0) -> float:
    """Two-sided p of a permutation test over trainings: means of runs (S_a,) and (S_b,), labels shuffled.

    Never below 2 / C(S_a + S_b, S_a): 0.1 with three a side, 0.008 with five. NaN with fewer than two a side.
    """
    if min(len(a), len(b)) < 2:
        return NAN
    return _permutation_p(np.asarray(a), np.asarray(b), seed, "independent")


def holm(p: Sequence[float]) -> np.ndarray:
    """Holm's corrected p values of several tests, in the order given; NaN stay NaN and do not count."""
    from statsmodels.stats.multitest import multipletests  # half a second, which scoring does without

    p = np.asarray(p, np.float64)
    corrected, known = np.full(p.shape, np.nan), np.isfinite(p)
    if known.any():
        corrected[known] = multipletests(p[known], method="holm")[1]
    return corrected


def wilson(successes: int, n: int) -> Interval:
    """A share with Wilson's interval; NaN without trials."""
    from statsmodels.stats.proportion import proportion_confint

    if n == 0:
        return Interval(NAN, NAN, NAN, 0)
    low, high = proportion_confint(successes, n, method="wilson")
    return Interval(successes / n, float(low), float(high), n)
