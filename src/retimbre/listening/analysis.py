"""From answers to results: ``analysis.json`` and ``analysis.html``. What is computed was fixed in the protocol; here it is only done."""

import json
import math
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas

from retimbre.errors import RetimbreError
from retimbre.evaluation.results.table import read_table
from retimbre.listening import measures, screening
from retimbre.listening.bundle import Key, read_frozen, read_key
from retimbre.listening.questions import PUBLISHED
from retimbre.listening.responses import Plan, read_records
from retimbre.paths import write_atomically

RATINGS = ("content", "likeness", "quality", "style", "similar", "multi")
STRENGTH_DRAWS = 300  # of the Bradley-Terry bootstrap
CONTROLS = ("oracle", "copy", "target", "unrelated", "anchor")


def _first_answers(table: pandas.DataFrame) -> pandas.DataFrame:
    """Without the repetitions: they measure reliability, and must not count twice."""
    return table[table.repeat_of.isna()]


def ordered(systems: Iterable[str], params: dict[str, Any]) -> list[str]:
    """Systems, then baselines, then controls."""
    places = [*params["systems"], *params["baselines"], *CONTROLS]
    return sorted(systems, key=lambda s: (places.index(s) if s in places else len(places), s))


def ratings(table: pandas.DataFrame, params: dict[str, Any], draws: int, seed: int, models: bool = True) -> dict[str, Any]:
    """question -> means with intervals per system, histograms, and contrasts to the best baseline."""
    found: dict[str, Any] = {}
    for question in RATINGS:
        own = table[table.question == question].assign(value=lambda t: t.value.astype(float))
        if own.empty:
            continue
        names, means, drawn = measures.cluster_means(own.value, own.session, own["item"], own.system, draws, seed)
        place = {name: n for n, name in enumerate(names)}
        rows = []
        for name in ordered(names, params):
            low, high = measures.interval(drawn[:, place[name]])
            values = own[own.system == name].value
            histogram = [int((values == v).sum()) for v in range(1, 6)] if question != "multi" else []
            mean = float(means[place[name]])
            rows.append({"system": name, "mean": mean, "low": low, "high": high, "n": len(values), "histogram": histogram})
        baselines = [b for b in params["baselines"] if b in place]
        contrasts: list[dict[str, Any]] = []
        if baselines:
            best = max(baselines, key=lambda b: means[place[b]])
            judged = own[own.system.isin([*params["systems"], *params["baselines"]])]
            mixed = measures.mixed_contrasts(judged, best) if models else {}
            ordinal = measures.ordinal_contrasts(judged, best) if models and question != "multi" else {}
            for system in (s for s in params["systems"] if s in place):
                low, high = measures.interval(drawn[:, place[system]] - drawn[:, place[best]])
                estimate, p = mixed.get(system, (math.nan, math.nan))
                log_odds, _ = ordinal.get(system, (math.nan, math.nan))
                difference = float(means[place[system]] - means[place[best]])
                row = {"system": system, "baseline": best, "difference": difference, "low": low, "high": high}
                contrasts.append(row | {"model_difference": estimate, "p": p, "ordinal_log_odds": log_odds})
        found[question] = {"systems": rows, "contrasts": contrasts}
    p_values = {f"{q} {c['system']}": c["p"] for q, f in found.items() for c in f["contrasts"]}
    corrected = measures.holm(p_values)
    for question, result in found.items():
        for contrast in result["contrasts"]:
            contrast["p_holm"] = corrected[f"{question} {contrast['system']}"]
    return found


def identification(table: pandas.DataFrame, plan: dict[str, Any], answers: list[str]) -> dict[str, Any]:
    """How often each system was heard as the wanted instrument, against chance, and what was heard."""
    own = table[table.question == "instrument"]
    if own.empty:
        return {}
    wanted = {item["name"]: item["target_domain"] for item in plan["items"]}
    rows = []
    for system in ordered(own.system.unique(), plan["params"]):
        mine = own[own.system == system]
        hits = int((mine.value == mine["item"].map(wanted)).sum())
        rows.append({"system": system, **asdict(measures.proportion(hits, len(mine), 1 / len(answers)))})
    matrix: dict[str, dict[str, list[int]]] = {}
    for (system, target), mine in own.assign(target=own["item"].map(wanted)).groupby(["system", "target"]):
        matrix.setdefault(str(system), {})[str(target)] = [int((mine.value == a).sum()) for a in answers]
    return {"systems": rows, "answers": answers, "heard": matrix}


def _wins(pairs: pandas.DataFrame, systems: list[str]) -> np.ndarray:
    """How often row was preferred to column, (S, S)."""
    place = {s: n for n, s in enumerate(systems)}
    wins = np.zeros((len(systems), len(systems)))
    np.add.at(wins, (pairs.system.map(place).to_numpy(int), pairs.rival.map(place).to_numpy(int)), 1)
    return wins


def preference(table: pandas.DataFrame, params: dict[str, Any], seed: int, strengths: bool = True) -> dict[str, Any]:
    """Every pair with an exact test; strengths of all versions when there are more than two."""
    own = table[table.question == "preference"]
    if own.empty:
        return {}
    systems = ordered(set(own.system) | set(own.rival), params)
    wins = _wins(own, systems)
    pairs = []
    for a, first in enumerate(systems):
        for b in range(a + 1, len(systems)):
            n = int(wins[a, b] + wins[b, a])
            if n:
                pairs.append({"system": first, "rival": systems[b], **asdict(measures.proportion(int(wins[a, b]), n, 0.5))})
    result: dict[str, Any] = {"systems": systems, "wins": wins.astype(int).tolist(), "pairs": pairs, "strengths": []}
    if strengths and len(systems) > 2:
        rng = np.random.default_rng(seed)
        by_listener = np.stack([_wins(group, systems) for _, group in own.groupby("session")])
        drawn = []
        for _ in range(STRENGTH_DRAWS):
            drawn.append(measures.bradley_terry(by_listener[rng.integers(0, len(by_listener), len(by_listener))].sum(axis=0)))
        for n, (system, value) in enumerate(zip(systems, measures.bradley_terry(wins), strict=True)):
            low, high = measures.interval(np.asarray(drawn)[:, n])
            result["strengths"].append({"system": system, "strength": float(value), "low": low, "high": high})
    return result


def reliability(table: pandas.DataFrame) -> dict[str, Any]:
    """Agreement between listeners and of listeners with themselves."""
    first = _first_answers(table)
    found: dict[str, Any] = {}
    for question in RATINGS:
        own = first[first.question == question]
        if len(own):
            single, mean = measures.icc(own)
            found[question] = {"krippendorff_alpha": measures.agreement(own), "icc_single": single, "icc_mean": mean}
    twice = screening.repeats(table)
    correlation, n = measures.spearman(twice["first"].tolist(), twice["second"].tolist())
    gap = float((twice["first"] - twice["second"]).abs().mean()) if n else math.nan
    found["repeated pages"] = {"n": n, "spearman": correlation, "mean_difference": gap}
    return found


def validity(table: pandas.DataFrame, measured: pandas.DataFrame | None, plan: dict[str, Any]) -> list[dict[str, Any]]:
    """Rank correlation of each objective metric with the human means, per clip (system and item) and per system.

    ``measured``: the long table of the evaluation. Instrument answers count as 1 where the wanted one was named.
    """
    if measured is None:
        return []
    wanted = {item["name"]: item["target_domain"] for item in plan["items"]}
    humans = table[table.question.isin([*RATINGS, "instrument"])].copy()
    right = humans.value.astype(str) == humans["item"].map(wanted)
    humans["score"] = [float(r) if q == "instrument" else float(v) for q, v, r in zip(humans.question, humans.value, right, strict=True)]
    means = humans.groupby(["question", "system", "item"]).score.mean().reset_index()
    measured = measured[measured.metric != "rtf"]  # computing time is heard by nobody
    metrics = measured.assign(item=measured.direction + "." + measured["item"])[["system", "item", "metric", "value"]]
    joined = means.merge(metrics, on=["system", "item"])
    rows = []
    for (question, metric), own in joined.groupby(["question", "metric"]):
        per_clip, clips = measures.spearman(own.score.tolist(), own.value.tolist())
        systems = own.groupby("system")[["score", "value"]].mean()
        per_system, count = measures.spearman(systems.score.tolist(), systems.value.tolist())
        row = {"question": str(question), "metric": str(metric), "per_clip": per_clip, "clips": clips}
        rows.append(row | {"per_system": per_system, "systems": count})
    return sorted(rows, key=lambda r: (r["question"], -abs(r["per_clip"]) if math.isfinite(r["per_clip"]) else 1, r["metric"]))


def subgroups(table: pandas.DataFrame, people: pandas.DataFrame, params: dict[str, Any], draws: int, seed: int) -> list[dict[str, Any]]:
    """Means of the judged systems in parts of the answers. Exploratory: no tests, no corrections."""
    joined = table.join(people[["musician", "device", "headphones_pass"]], on="session")
    joined["headphones_pass"] = joined.headphones_pass.map({True: "passed", False: "failed"})
    rows = []
    judged = [*params["systems"], *params["baselines"]]
    for column in ("musician", "device", "headphones_pass", "direction", "stratum"):
        values = [v for v in joined[column].dropna().unique() if v != ""]
        if len(values) < 2:
            continue
        for value in sorted(values):
            part = joined[(joined[column] == value) & joined.system.isin(judged)]
            for question, found in ratings(part, params | {"baselines": []}, draws, seed, models=False).items():
                for row in found["systems"]:
                    own = {k: row[k] for k in ("system", "mean", "low", "high", "n")}
                    rows.append({"group": column, "value": str(value), "question": question, **own})
    return rows


def published(table: pandas.DataFrame, params: dict[str, Any], draws: int, seed: int) -> list[dict[str, Any]]:
    """Our means on the dissertation's two questions beside those that it printed."""
    rows = []
    for direction, (style, similar) in PUBLISHED.items():
        own = table[table.direction == direction]
        for question, printed in (("style", style), ("similar", similar)):
            for row in ratings(own[own.question == question], params, draws, seed, models=False).get(question, {}).get("systems", []):
                mine = {k: row[k] for k in ("system", "mean", "low", "high", "n")}
                rows.append({"direction": direction, "question": question, "published": printed, **mine})
    return rows


def _finite(value: Any) -> Any:
    """Plain values for JSON, without NaN."""
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    if isinstance(value, float | np.floating):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value


def evaluate(
    records: list[Any],
    key: dict[str, Key],
    served: dict[str, Any],
    plan: dict[str, Any],
    measured: pandas.DataFrame | None,
    draws: int,
    seed: int,
) -> dict[str, Any]:
    """All results of the protocol, with and without the exclusions, as plain values (None where undefined)."""
    params = plan["params"]
    table, people = screening.answer_table(records, key, served["pages"]), screening.listeners(records)
    if table.empty:
        raise RetimbreError("the answers hold no page of the study yet: wait for listeners who get beyond the first pages.")
    reasons = screening.screen(table, params["clip_s"])
    kept = [s for s, why in reasons.items() if not why]
    answers = next((values(q) for b in served["blocks"].values() for q in b["questions"] if q["key"] == "instrument"), [])

    def results(part: pandas.DataFrame, models: bool) -> dict[str, Any]:
        first = _first_answers(part)
        return {
            "listeners": int(part.session.nunique()),
            "answers": len(first),
            "ratings": ratings(first, params, draws, seed, models),
            "identification": identification(first, plan, answers),
            "preference": preference(first, params, seed),
        }

    screened = table[table.session.isin(kept)]
    main = screened if len(screened) else table
    first = _first_answers(main)
    counted = {reason: sum(reason in why for why in reasons.values()) for reason in screening.REASONS}
    return _finite(
        {
            "study": plan["name"],
            "study_hash": served["study_hash"],
            "simulated": bool(people.simulated.any()),
            "preset": params["preset"],
            "planned_listeners": params["listeners"],
            "listeners": {"all": len(reasons), "kept": len(kept), "excluded": counted},
            "with_exclusions": results(screened, True) if len(screened) else None,
            "without_exclusions": results(table, len(screened) == 0 or len(kept) < len(reasons)),
            "reliability": reliability(main),
            "validity": validity(first, measured, plan),
            "subgroups": subgroups(first, people, params, draws, seed),
            "published": published(first, params, draws, seed) if params["preset"] == "dissertation" else [],
        }
    )


def values(question: dict[str, Any]) -> list[str]:
    """The answers that a served question offers."""
    return [value for value, _ in question["options"]]


def analyse(folder: Path, metrics: Path | None = None, draws: int = 2000, seed: int = 0) -> dict[str, Any]:
    """Analyse the answers of a study and write ``analysis.json`` and ``analysis.html`` into its folder.

    ``metrics``: ``per_item.parquet`` of the evaluation; without it the validity of metrics is left out. Raises RetimbreError: no
    study, no answers, answers of another study.
    """
    if draws < 100:
        raise RetimbreError(f"--draws {draws} is too few for an interval: give 100 or more.")
    plan, key, served = read_frozen(folder), read_key(folder), Plan.load(folder)
    records = read_records(folder)
    for record in records:
        try:
            served.check(record)
        except ValueError as error:
            raise RetimbreError(f"{folder / 'responses/responses.jsonl'}: trial {record.trial} of {record.session} {error}.") from None
    measured = read_table(metrics) if metrics is not None and metrics.exists() else None
    result = evaluate(records, key, served.served, plan, measured, draws, seed)
    with write_atomically(folder / "analysis.json") as file:
        json.dump(result, file, indent=1, ensure_ascii=False)
        file.write("\n")
    from retimbre.listening.pictures import write_page

    write_page(folder / "analysis.html", result, plan)
    return result


def as_text(result: dict[str, Any]) -> str:
    """The main results as lines for a terminal."""
    lines = ["SIMULATED ANSWERS: these are not people"] if result["simulated"] else []
    people = result["listeners"]
    lines.append(
        f"{result['study']}: {people['all']} {'listener' if people['all'] == 1 else 'listeners'}, {people['kept']} kept by the frozen rules"
    )
    part = result["with_exclusions"] or result["without_exclusions"]
    if result["with_exclusions"] is None:
        lines.append("nobody is kept: what follows is WITHOUT the exclusions")

    def show(row: dict[str, Any], name: str) -> str:
        known = all(row[k] is not None for k in (name, "low", "high"))
        return f"{row[name]:.2f} [{row['low']:.2f}, {row['high']:.2f}]" if known else "-"

    for question, found in part["ratings"].items():
        lines.append(f"{question}: " + ", ".join(f"{r['system']} {show(r, 'mean')}" for r in found["systems"]))
        for c in found["contrasts"]:
            p = "p -" if c["p_holm"] is None else f"p {c['p_holm']:.3g} (Holm)"
            lines.append(f"  {c['system']} - {c['baseline']}: {show(c, 'difference')}, {p}")
    if part["identification"]:
        lines.append("instrument named right: " + ", ".join(f"{r['system']} {show(r, 'share')}" for r in part["identification"]["systems"]))
    for r in part["preference"].get("pairs", []):
        lines.append(f"preferred: {r['system']} over {r['rival']} {r['k']} of {r['n']}, {show(r, 'share')}, exact p {r['p']:.3g}")
    for r in result["published"]:
        lines.append(f"{r['direction']} {r['question']}: {r['system']} {show(r, 'mean')}, the dissertation printed {r['published']}")
    return "\n".join(lines)
