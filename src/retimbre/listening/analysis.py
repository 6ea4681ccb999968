"""From answers to results: ``analysis.json`` and ``analysis.html``. The protocol fixed what is computed."""

import json
import math
from collections.abc import Iterable
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas

from retimbre.errors import RetimbreError
from retimbre.evaluation.results.statistics import holm
from retimbre.evaluation.results.table import read_table
from retimbre.listening import measures, screening
from retimbre.listening.bundle import read_frozen, read_key
from retimbre.listening.questions import PUBLISHED
from retimbre.listening.responses import Plan, read_answers
from retimbre.paths import write_atomically

RATINGS = (*screening.RATED, "multi")
STRENGTH_DRAWS = 300  # of the Bradley-Terry bootstrap
CONTROLS = ("oracle", "copy", "target", "unrelated", "anchor")
MEAN = ("system", "mean", "low", "high", "n")


def ordered(systems: Iterable[str], params: dict[str, Any]) -> list[str]:
    """Systems, then baselines, then controls."""
    return sorted(systems, key=[*params["systems"], *params["baselines"], *CONTROLS].index)


def ratings(
    table: pandas.DataFrame, params: dict[str, Any], draws: int, seed: int, models: bool = True
) -> dict[str, Any]:
    """question -> means with intervals per system, histograms, and contrasts to the best baseline."""
    found: dict[str, Any] = {}
    for question in RATINGS:
        own = table[table.question == question].astype({"value": float})
        if own.empty:
            continue
        means = own.groupby("system").value.mean()
        drawn = measures.cluster_means(own, draws, seed)
        rows = []
        for name in ordered(means.index, params):
            values = own.value[own.system == name]
            low, high = measures.interval(drawn[name])
            histogram = [int((values == v).sum()) for v in range(1, 6)] if question != "multi" else []
            row = dict(zip(MEAN, (name, means[name], low, high, len(values)), strict=True))
            rows.append(row | {"histogram": histogram})
        found[question] = {"systems": rows, "contrasts": []}
        baselines = means.index.intersection(params["baselines"])
        if baselines.empty or not models:
            continue
        best = means[baselines].idxmax()
        compared = own[own.system.isin([*params["systems"], *params["baselines"]])]
        mixed = measures.mixed_contrasts(compared, best)
        ordinal = measures.ordinal_contrasts(compared, best) if question != "multi" else {}
        for name in means.index.intersection(params["systems"]):
            low, high = measures.interval(drawn[name] - drawn[best])
            row = {"system": name, "baseline": best, "difference": means[name] - means[best]}
            row |= {"low": low, "high": high}
            row["model_difference"], row["p"] = mixed.get(name, (math.nan, math.nan))
            found[question]["contrasts"].append(row | {"ordinal_log_odds": ordinal.get(name, math.nan)})
    contrasts = [contrast for result in found.values() for contrast in result["contrasts"]]
    for contrast, p in zip(contrasts, holm([c["p"] for c in contrasts]), strict=True):
        contrast["p_holm"] = p
    return found


def mean_rows(
    table: pandas.DataFrame, params: dict[str, Any], draws: int, seed: int, **named: str
) -> list[dict]:
    """Rows ``named``, question, MEAN of all ratings, without tests."""
    return [
        named | {"question": question} | {name: row[name] for name in MEAN}
        for question, found in ratings(table, params, draws, seed, models=False).items()
        for row in found["systems"]
    ]


def identification(table: pandas.DataFrame, params: dict[str, Any], answers: list[str]) -> dict[str, Any]:
    """How often each system was heard as the wanted instrument, against chance, and what was heard."""
    own = table[table.question == "instrument"]
    if own.empty:
        return {}
    rows, heard = [], []
    for system in ordered(own.system.unique(), params):
        mine = own[own.system == system]
        right = int((mine.value == mine.wanted).sum())
        rows.append({"system": system} | measures.proportion(right, len(mine), 1 / len(answers)))
        for target, part in mine.groupby("wanted"):
            counts = {a: int((part.value == a).sum()) for a in answers}
            heard.append({"system": system, "wanted": target} | counts)
    return {"systems": rows, "answers": answers, "heard": heard}


def preference(table: pandas.DataFrame, params: dict[str, Any], seed: int) -> dict[str, Any]:
    """Every pair with an exact test; strengths of all versions when there are more than two."""
    own = table[table.question == "preference"]
    if own.empty:
        return {}
    systems = ordered({*own.system, *own.rival}, params)
    wins = np.stack([  # (listeners, S, S): how often the row was preferred to the column
        pandas.crosstab(answers.system, answers.rival).reindex(index=systems, columns=systems, fill_value=0)
        for _, answers in own.groupby("session")
    ])  # fmt: skip
    total = wins.sum(axis=0)
    pairs = []
    for a, b in combinations(range(len(systems)), 2):
        if n := int(total[a, b] + total[b, a]):
            names = {"system": systems[a], "rival": systems[b]}
            pairs.append(names | measures.proportion(int(total[a, b]), n, 0.5))
    strengths = []
    if len(systems) > 2:
        picked = np.random.default_rng(seed).integers(0, len(wins), (STRENGTH_DRAWS, len(wins)))
        strength_of = [measures.bradley_terry(wins[p].sum(axis=0)) for p in picked]
        drawn = pandas.DataFrame(strength_of, columns=systems)
        for system, strength in zip(systems, measures.bradley_terry(total), strict=True):
            low, high = measures.interval(drawn[system])
            strengths.append({"system": system, "strength": strength, "low": low, "high": high})
    return {"pairs": pairs, "strengths": strengths}


def reliability(table: pandas.DataFrame) -> dict[str, Any]:
    """Agreement between listeners (per question), and of listeners with themselves."""
    agreement = []
    for question in RATINGS:
        own = table[(table.question == question) & table.repeat_of.isna()].astype({"value": float})
        if len(own):
            single, mean = measures.icc(own)
            alpha = measures.agreement(own)
            agreement.append({"question": question, "alpha": alpha, "icc_single": single, "icc_mean": mean})
    twice = screening.repeats(table)[["first", "second"]].astype(float)
    correlation, n = measures.spearman(twice)
    difference = (twice["first"] - twice["second"]).abs().mean()
    again = {"n": n, "spearman": correlation, "mean_difference": difference}
    return {"agreement": agreement, "repeats": again}


def validity(table: pandas.DataFrame, measured: pandas.DataFrame | None) -> list[dict[str, Any]]:
    """Rank correlation of each objective metric with the human means, per clip and per system.

    ``measured``: the long table of the evaluation; a clip is a system and an item. Instrument answers count
    as 1 where the wanted one was named.
    """
    if measured is None:
        return []
    named = table.question == "instrument"
    score = table.value.where(~named, table.value == table.wanted)
    humans = table.assign(score=score)[table.question.isin(RATINGS) | named].astype({"score": float})
    means = humans.groupby(["question", "system", "item"]).score.mean().reset_index()
    metrics = measured.assign(item=measured.direction + "." + measured["item"])
    both = means.merge(metrics[["system", "item", "metric", "value"]], on=["system", "item"])
    rows = []
    for (question, metric), own in both.groupby(["question", "metric"]):
        per_clip, clips = measures.spearman(own[["score", "value"]])
        per_system, count = measures.spearman(own.groupby("system")[["score", "value"]].mean())
        row = {"question": question, "metric": metric, "per_clip": per_clip, "clips": clips}
        rows.append(row | {"per_system": per_system, "systems": count})

    def order(row: dict[str, Any]) -> tuple:
        return row["question"], -np.nan_to_num(abs(row["per_clip"]), nan=-1), row["metric"]

    return sorted(rows, key=order)


def subgroups(
    table: pandas.DataFrame, people: pandas.DataFrame, params: dict[str, Any], draws: int, seed: int
) -> list[dict[str, Any]]:
    """Means of systems and baselines in parts of the answers. Exploratory: no tests, no corrections."""
    people = people[["musician", "device"]].assign(
        headphones=people.headphones_pass.map({True: "passed", False: "failed"})
    )
    compared = table[table.system.isin([*params["systems"], *params["baselines"]])].join(people, on="session")
    rows = []
    for group in ("musician", "device", "headphones", "direction", "stratum"):
        parts = compared.groupby(group)
        if parts.ngroups > 1:
            for value, part in parts:
                rows += mean_rows(part, params, draws, seed, group=group, value=str(value))
    return rows


def published(table: pandas.DataFrame, params: dict[str, Any], draws: int, seed: int) -> list[dict[str, Any]]:
    """Our means on the dissertation's two questions beside those that it printed."""
    rows = []
    for direction, printed in PUBLISHED.items():
        means = dict(zip(("style", "similar"), printed, strict=True))
        for row in mean_rows(table[table.direction == direction], params, draws, seed, direction=direction):
            rows.append(row | {"published": means[row["question"]]})
    return rows


def _finite(value: Any) -> Any:
    """Plain values for JSON: six digits, None for NaN."""
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_finite(v) for v in value]
    if isinstance(value, float):  # numpy's too
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value


def evaluate(
    answers: pandas.DataFrame,
    key: pandas.DataFrame,
    plan: Plan,
    frozen: dict[str, Any],
    measured: pandas.DataFrame | None,
    draws: int,
    seed: int,
) -> dict[str, Any]:
    """All results of the protocol, with and without the exclusions, as plain values (None: undefined)."""
    params = frozen["params"]
    table, people = screening.with_clips(answers, key, plan), screening.listeners(answers)
    if table.empty:
        raise RetimbreError("the answers hold no page of the study yet: wait for listeners who get further.")
    table["wanted"] = table["item"].map({item["name"]: item["target_domain"] for item in frozen["items"]})
    reasons = screening.screen(table, params["clip_s"])
    kept = [session for session, why in reasons.items() if not why]
    asked = [q for block in plan.blocks.values() for q in block["questions"] if q["key"] == "instrument"]
    instruments = [value for question in asked for value, _ in question["options"]]

    def results(part: pandas.DataFrame) -> dict[str, Any]:
        first = part[part.repeat_of.isna()]  # repetitions measure reliability, and must not count twice
        return {
            "listeners": part.session.nunique(),
            "answers": len(first),
            "ratings": ratings(first, params, draws, seed),
            "identification": identification(first, params, instruments),
            "preference": preference(first, params, seed),
        }

    everybody = results(table)
    screened = table[table.session.isin(kept)] if kept else table
    first = screened[screened.repeat_of.isna()]
    counted = {reason: sum(reason in why for why in reasons.values()) for reason in screening.REASONS}
    strict = everybody if len(kept) == len(reasons) else results(screened) if kept else None
    return _finite(
        {
            "study": frozen["name"],
            "study_hash": plan.hash,
            "simulated": bool(people.simulated.any()),
            "preset": params["preset"],
            "planned_listeners": params["listeners"],
            "listeners": {"all": len(reasons), "kept": len(kept), "excluded": counted},
            "with_exclusions": strict,
            "without_exclusions": everybody,
            "reliability": reliability(screened),
            "validity": validity(first, measured),
            "subgroups": subgroups(first, people, params, draws, seed),
            "published": published(first, params, draws, seed) if params["preset"] == "dissertation" else [],
        }
    )


def analyse(folder: Path, metrics: Path | None = None, draws: int = 2000, seed: int = 0) -> dict[str, Any]:
    """Analyse the answers of a study and write ``analysis.json`` and ``analysis.html`` into its folder.

    ``metrics``: ``per_item.parquet`` of the evaluation; without it the validity of metrics is left out.
    Raises RetimbreError: no study, no answers, answers of another study.
    """
    from retimbre.listening.pictures import write_page

    if draws < 100:
        raise RetimbreError(f"--draws {draws} is too few for an interval: give 100 or more.")
    frozen, key, plan = read_frozen(folder), read_key(folder), Plan.load(folder)
    answers = read_answers(folder, plan)
    measured = read_table(metrics) if metrics is not None and metrics.exists() else None
    result = evaluate(answers, key, plan, frozen, measured, draws, seed)
    with write_atomically(folder / "analysis.json") as file:
        json.dump(result, file, indent=1, ensure_ascii=False)
        file.write("\n")
    write_page(folder / "analysis.html", result, frozen)
    return result


def as_text(result: dict[str, Any]) -> str:
    """The main results as lines for a terminal."""
    people, part = result["listeners"], result["with_exclusions"] or result["without_exclusions"]
    lines = ["SIMULATED ANSWERS: these are not people"] if result["simulated"] else []
    lines.append(f"{result['study']}: listeners {people['all']}, {people['kept']} kept by the frozen rules")
    if result["with_exclusions"] is None:
        lines.append("nobody is kept: what follows is WITHOUT the exclusions")

    def show(row: dict[str, Any], name: str) -> str:
        values = (row[name], row["low"], row["high"])
        return "-" if None in values else "{:.2f} [{:.2f}, {:.2f}]".format(*values)

    for question, found in part["ratings"].items():
        means = ", ".join(f"{r['system']} {show(r, 'mean')}" for r in found["systems"])
        lines.append(f"{question}: {means}")
        for c in found["contrasts"]:
            p = "p -" if c["p_holm"] is None else f"p {c['p_holm']:.3g} (Holm)"
            lines.append(f"  {c['system']} - {c['baseline']}: {show(c, 'difference')}, {p}")
    if named := part["identification"].get("systems"):
        shares = ", ".join(f"{r['system']} {show(r, 'share')}" for r in named)
        lines.append(f"instrument named right: {shares}")
    for r in part["preference"].get("pairs", []):
        wins = f"{r['k']} of {r['n']}, {show(r, 'share')}, exact p {r['p']:.3g}"
        lines.append(f"preferred: {r['system']} over {r['rival']} {wins}")
    for r in result["published"]:
        printed = f"the dissertation printed {r['published']}"
        lines.append(f"{r['direction']} {r['question']}: {r['system']} {show(r, 'mean')}, {printed}")
    return "\n".join(lines)
