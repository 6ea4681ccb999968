"""Intervals and comparisons over test items.

What an interval covers: the draw of test *pieces*, with the trained model held fixed. It says nothing
about another training seed; with one training, write "one training run" beside it.
"""

from dataclasses import dataclass

import numpy as np


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
