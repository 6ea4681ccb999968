"""Estimates and tests on listeners' answers. Pure functions on arrays and tables; conventions:

* ``listener`` and ``item`` are labels, one per answer; both are drawn from larger populations, so intervals resample both.
* Intervals are 95 %. A test that cannot be made (one listener, no spread) gives NaN, never a number that looks like a result.
"""

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas

LEVEL = 0.95


@dataclass(frozen=True)
class Proportion:
    """``k`` of ``n``, with the Wilson interval and the exact two-sided binomial p against ``chance``."""

    k: int
    n: int
    share: float
    low: float
    high: float
    chance: float
    p: float


def proportion(k: int, n: int, chance: float) -> Proportion:
    """Wilson (1927) interval, Clopper's exact binomial test. n = 0 gives NaN."""
    if not 0 <= k <= n or not 0 < chance < 1:
        raise ValueError(f"{k} of {n} against {chance}: k must be 0 to n and chance between 0 and 1")
    if n == 0:
        nan = float("nan")
        return Proportion(0, 0, nan, nan, nan, chance, nan)
    from scipy.stats import binomtest
    from statsmodels.stats.proportion import proportion_confint

    low, high = proportion_confint(k, n, alpha=1 - LEVEL, method="wilson")
    return Proportion(k, n, k / n, float(low), float(high), chance, float(binomtest(k, n, chance).pvalue))


def _multiplicities(labels: np.ndarray, draws: int, rng: np.random.Generator) -> np.ndarray:
    """How often each answer's label is drawn, (draws, answers)."""
    names, member = np.unique(labels, return_inverse=True)
    counts = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=draws)
    return counts[:, member]


def cluster_means(
    values: np.ndarray, listener: np.ndarray, item: np.ndarray, system: np.ndarray, draws: int = 2000, seed: int = 0
) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Systems, their means (S,), and their means in two-way cluster bootstrap draws (draws, S); NaN where a draw has no answer.

    Listeners and items are resampled independently and an answer counts as often as both were drawn together (the pigeonhole
    bootstrap of Owen, 2007). All systems share the draws, so differences of columns are paired.
    """
    values = np.asarray(values, np.float64)
    rng = np.random.default_rng(seed)
    names, member = np.unique(np.asarray(system, str), return_inverse=True)
    weight = _multiplicities(np.asarray(listener, str), draws, rng) * _multiplicities(np.asarray(item, str), draws, rng)
    one_hot = np.eye(len(names))[member]  # (answers, S)
    totals, sums = weight @ one_hot, (weight * values) @ one_hot
    with np.errstate(invalid="ignore", divide="ignore"):
        drawn = np.where(totals > 0, sums / totals, np.nan)
    means = (values @ one_hot) / one_hot.sum(axis=0)
    return [str(n) for n in names], means, drawn


def interval(drawn: np.ndarray) -> tuple[float, float]:
    """Percentile interval of bootstrap draws (draws,), NaN left out."""
    kept = drawn[np.isfinite(drawn)]
    if len(kept) == 0:
        return float("nan"), float("nan")
    low, high = np.quantile(kept, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def mixed_contrasts(table: pandas.DataFrame, reference: str) -> dict[str, tuple[float, float]]:
    """system -> (difference to ``reference``, p) of a linear mixed model with crossed random effects of listener and item.

    ``table``: columns value, system, session, item. Empty when the model cannot be fitted.
    """
    from statsmodels.regression.mixed_linear_model import MixedLM

    if table.session.nunique() < 2 or table["item"].nunique() < 2 or table.value.nunique() < 2:
        return {}
    data = pandas.DataFrame({name: table[name].astype(str).to_numpy() for name in ("system", "session", "item")})
    data["value"] = table.value.astype(float).to_numpy()
    data["everything"] = 1  # one group: listeners and items cross
    effects = {"listener": "0 + C(session)", "item": "0 + C(item)"}
    formula = f"value ~ C(system, Treatment(reference={reference!r}))"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a variance component at zero is no failure here
        try:
            fit = MixedLM.from_formula(formula, data, groups="everything", re_formula="0", vc_formula=effects).fit(reml=True)
        except (np.linalg.LinAlgError, ValueError):
            return {}
    found = {}
    for name in fit.fe_params.index:
        if "[T." in name and math.isfinite(fit.pvalues[name]):
            found[name.split("[T.")[1].rstrip("]")] = (float(fit.fe_params[name]), float(fit.pvalues[name]))
    return found


def ordinal_contrasts(table: pandas.DataFrame, reference: str) -> dict[str, tuple[float, float]]:
    """system -> (log-odds difference to ``reference``, p) of a proportional-odds model; a check of the mixed model.

    It knows nothing of listeners and items, so its p-values are not used for decisions.
    """
    from statsmodels.miscmodels.ordinal_model import OrderedModel

    systems = [s for s in sorted(table.system.unique()) if s != reference]
    if not systems or table.value.nunique() < 2:
        return {}
    dummies = pandas.DataFrame({s: (table.system == s).astype(float).to_numpy() for s in systems})
    values = pandas.Series(pandas.Categorical(table.value.to_numpy(), ordered=True))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            fit = OrderedModel(values, dummies, distr="logit").fit(method="bfgs", disp=False, maxiter=200)
            return {s: (float(fit.params[s]), float(fit.pvalues[s])) for s in systems}
        except (np.linalg.LinAlgError, ValueError):
            return {}


def holm(p: Mapping[str, float]) -> dict[str, float]:
    """Holm (1979) corrected p-values; NaN stays NaN and is not counted."""
    names = [n for n, value in p.items() if math.isfinite(value)]
    if not names:
        return dict(p)
    from statsmodels.stats.multitest import multipletests

    corrected = multipletests([p[n] for n in names], method="holm")[1]
    return {**p, **{n: float(c) for n, c in zip(names, corrected, strict=True)}}


def bradley_terry(wins: np.ndarray, ridge: float = 0.01) -> np.ndarray:
    """Strengths (S,) with mean 0 from ``wins`` (S, S), the number of times that row was preferred to column (Bradley & Terry 1952).

    ``ridge``: a little regularisation (choix's ``alpha``), so that a version that always won has a finite strength.
    """
    import choix

    strength = choix.ilsr_pairwise_dense(np.asarray(wins, np.float64), alpha=ridge) if np.any(wins) else np.zeros(len(wins))
    return strength - strength.mean()


def agreement(table: pandas.DataFrame) -> float:
    """Krippendorff's alpha for ordinal ratings; units are clips (system and item), coders are listeners. NaN when undefined."""
    import krippendorff

    data = table.assign(unit=table.system + "|" + table["item"], value=table.value.astype(float))
    wide = data.pivot_table(index="session", columns="unit", values="value", aggfunc="first").to_numpy()
    if wide.shape[0] < 2 or len(np.unique(wide[np.isfinite(wide)])) < 2 or not (np.isfinite(wide).sum(axis=0) > 1).any():
        return float("nan")
    return float(krippendorff.alpha(reliability_data=wide, level_of_measurement="ordinal"))


def icc(table: pandas.DataFrame) -> tuple[float, float]:
    """Intraclass correlations of a single rating and of the mean of k, ICC(1,1) and ICC(1,k), of clips (system and item).

    One-way random effects with unequal numbers of raters (Shrout & Fleiss 1979; k is the harmonic-type mean k0).
    """
    unit = (table.system + "|" + table["item"]).to_numpy()
    groups = [g.to_numpy(np.float64) for _, g in table.value.astype(float).groupby(unit)]
    groups = [g for g in groups if len(g)]
    n, total = len(groups), sum(len(g) for g in groups)
    if n < 2 or total <= n:
        return float("nan"), float("nan")
    grand = np.concatenate(groups).mean()
    between = sum(len(g) * (g.mean() - grand) ** 2 for g in groups) / (n - 1)
    within = sum(np.square(g - g.mean()).sum() for g in groups) / (total - n)
    k = (total - sum(len(g) ** 2 for g in groups) / total) / (n - 1)
    if between == 0:
        return float("nan"), float("nan")
    return float((between - within) / (between + (k - 1) * within)), float((between - within) / between)


def spearman(a: Sequence[float], b: Sequence[float]) -> tuple[float, int]:
    """Rank correlation over pairs in which both are finite, and their number; NaN for fewer than three or without spread."""
    from scipy.stats import spearmanr

    x, y = np.asarray(a, np.float64), np.asarray(b, np.float64)
    keep = np.isfinite(x) & np.isfinite(y)
    x, y = x[keep], y[keep]
    if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return float("nan"), len(x)
    return float(spearmanr(x, y).statistic), len(x)
