"""Estimates and tests on listeners' answers, by scipy, statsmodels, krippendorff and choix; conventions:

* A table has a row per answer; columns ``value`` (float), ``session`` (the listener), ``item``, ``system``.
* Listeners and items are drawn from larger populations, so intervals resample both.
* Intervals are 95 %. What cannot be computed (one listener, no spread) is NaN, never a number that looks like
  a result.
"""

import math
import warnings

import numpy as np
import pandas

LEVEL = 0.95
RIDGE = 0.01


def proportion(k: int, n: int, chance: float) -> dict[str, float]:
    """Share ``k`` of ``n`` > 0, its Wilson interval, the exact two-sided binomial p against ``chance``."""
    from scipy.stats import binomtest

    test = binomtest(k, n, chance)
    low, high = test.proportion_ci(LEVEL, "wilson")
    found = {"k": k, "n": n, "share": k / n, "low": float(low), "high": float(high)}
    return found | {"chance": chance, "p": float(test.pvalue)}


def cluster_means(table: pandas.DataFrame, draws: int, seed: int) -> pandas.DataFrame:
    """Means of the systems in two-way cluster bootstrap draws, (draws, systems); NaN without an answer.

    Listeners and items are resampled independently and an answer counts as often as both were drawn
    together (the pigeonhole bootstrap of Owen, 2007). All systems share the draws, so differences of
    columns are paired.
    """
    rng = np.random.default_rng(seed)
    weight = np.ones((draws, len(table)))
    for cluster in ("session", "item"):
        member, names = pandas.factorize(table[cluster], sort=True)
        weight *= rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=draws)[:, member]
    of_system = pandas.get_dummies(table.system).astype(float)  # (answers, S)
    sums, totals = (weight * table.value.to_numpy()) @ of_system.to_numpy(), weight @ of_system.to_numpy()
    return pandas.DataFrame(sums, columns=of_system.columns) / totals


def interval(drawn: pandas.Series) -> tuple[float, float]:
    """Percentile interval of bootstrap draws, NaN left out."""
    low, high = drawn.quantile([(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def mixed_contrasts(table: pandas.DataFrame, reference: str) -> dict[str, tuple[float, float]]:
    """system -> (difference to ``reference``, p) of a mixed model, listener and item effects crossed.

    Empty when the model cannot be fitted.
    """
    from statsmodels.regression.mixed_linear_model import MixedLM

    if table.session.nunique() < 2 or table["item"].nunique() < 2 or table.value.nunique() < 2:
        return {}
    data = table[["value", "system", "session", "item"]].assign(everything=1)  # one group: they cross
    effects = {"listener": "0 + C(session)", "item": "0 + C(item)"}
    formula = f"value ~ C(system, Treatment(reference={reference!r}))"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a variance component at zero is no failure here
        try:
            groups = {"groups": "everything", "re_formula": "0", "vc_formula": effects}
            fit = MixedLM.from_formula(formula, data, **groups).fit()
        except (np.linalg.LinAlgError, ValueError):
            return {}
    found = {}
    for name in fit.fe_params.index:
        if "[T." in name and math.isfinite(fit.pvalues[name]):
            found[name.split("[T.")[1].rstrip("]")] = (float(fit.fe_params[name]), float(fit.pvalues[name]))
    return found


def ordinal_contrasts(table: pandas.DataFrame, reference: str) -> dict[str, float]:
    """system -> log-odds difference to ``reference`` of a proportional-odds model, to check the mixed one.

    It knows nothing of listeners and items, so it decides nothing. Empty when it cannot be fitted.
    """
    from statsmodels.miscmodels.ordinal_model import OrderedModel

    systems = pandas.get_dummies(table.system).astype(float).drop(columns=reference)
    if systems.empty or table.value.nunique() < 2:
        return {}
    values = table.value.astype(pandas.CategoricalDtype(sorted(table.value.unique()), ordered=True))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            fit = OrderedModel(values, systems, distr="logit").fit(method="bfgs", disp=False, maxiter=200)
        except (np.linalg.LinAlgError, ValueError):
            return {}
    return {str(system): float(fit.params[system]) for system in systems}


def bradley_terry(wins: np.ndarray) -> np.ndarray:
    """Strengths (S,) in log-odds with mean 0 from ``wins`` (S, S), how often row was preferred to column.

    A little regularised (``RIDGE``), so that a version that always won has a finite strength (Bradley &
    Terry 1952; choix).
    """
    import choix

    return choix.ilsr_pairwise_dense(wins.astype(float), alpha=RIDGE) if wins.any() else np.zeros(len(wins))


def agreement(table: pandas.DataFrame) -> float:
    """Krippendorff's alpha for ordinal ratings; units are clips (system and item), coders are listeners."""
    import krippendorff

    wide = table.pivot_table(index="session", columns=["system", "item"], values="value", aggfunc="first")
    if table.value.nunique() < 2 or not (wide.count() > 1).any():
        return math.nan
    return float(krippendorff.alpha(reliability_data=wide.to_numpy(), level_of_measurement="ordinal"))


def icc(table: pandas.DataFrame) -> tuple[float, float]:
    """Intraclass correlations of one rating and of the mean of all, ICC(1,1) and ICC(1,k), of clips.

    One-way random effects with unequal numbers of raters, from the F of the analysis of variance (Shrout &
    Fleiss 1979; k is the harmonic-type mean k0).
    """
    from scipy.stats import f_oneway

    groups = [values.to_numpy() for _, values in table.groupby(["system", "item"]).value]
    sizes = np.array([len(group) for group in groups])
    n, total = len(sizes), sizes.sum()
    if n < 2 or total <= n or table.value.nunique() < 2:
        return math.nan, math.nan
    with warnings.catch_warnings(), np.errstate(divide="ignore"):
        warnings.simplefilter("ignore")  # raters who agree everywhere: F is infinite, and both are 1
        f = float(f_oneway(*groups).statistic)
    k = (total - np.square(sizes).sum() / total) / (n - 1)
    return (1.0 if math.isinf(f) else (f - 1) / (f - 1 + k)), 1 - 1 / f if f else math.nan


def spearman(pairs: pandas.DataFrame) -> tuple[float, int]:
    """Rank correlation of two columns and the number of complete rows; NaN for under three or no spread."""
    kept = pairs.astype(float).dropna()
    return float(kept.rank().corr(min_periods=3).iloc[0, 1]), len(kept)
