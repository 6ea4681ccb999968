"""``report.html``: everything a run has to show in one file that opens from disk, without a network.

Sound is embedded as MP3, spectra as PNG, charts as SVG that takes over the page's colours, light or dark. No
script is needed to read or hear it; a few lines of script filter and sort the pairs, and pause one player when
another starts. This module fills the template; what is shown comes from :mod:`retimbre.evaluation.report.gallery`.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pandas
import yaml
from jinja2 import Environment, FileSystemLoader, select_autoescape

import retimbre
from retimbre.evaluation.bench.calibration import Calibration
from retimbre.evaluation.report import legend
from retimbre.evaluation.report.media import MAGMA, uri
from retimbre.evaluation.report.pairs import KINDS, Pair, ranking
from retimbre.evaluation.report.rainbowgram import RANGE_DB, hue_circle
from retimbre.evaluation.results.statistics import Interval
from retimbre.evaluation.results.table import intervals
from retimbre.paths import write_atomically

TEMPLATE, STYLE, SCRIPT = "report.html.j2", "report.css", "report.js"
PACKAGES = ("torch", "numpy", "scipy", "scikit-learn", "librosa", "mir_eval", "basic-pitch", "swift-f0", "onnxruntime", "soundfile",
            "pyloudnorm", "auraloss", "torchmetrics", "pandas", "matplotlib", "dvc", "mlflow")  # fmt: skip
BROKEN_DOWN = {"direction": "direction", "stratum": "texture", "range": "the target's range"}
BREAKDOWN = ("content_note_f1", "style_beyond_eq", "skill", "paired_lsd")
TEXTURES = {"mono": "single line", "poly": "several voices", "in": "in range", "out": "out of range"}


@dataclass(frozen=True)
class Chart:
    """An ``<svg>`` element with its caption; ``name`` is that of the file in ``pictures/``."""

    name: str
    svg: str
    caption: str


@dataclass(frozen=True)
class Contents:
    """What a report shows beside the numbers; every part may be missing.

    ``real``: judges' verdicts on real recordings, metric -> interval; ``confusion``: rows (actual, predicted);
    ``left_out``: pairs that did not fit; ``verdicts``: a sentence per classifier question; ``calibration``: of
    the controls; ``range_db``: of the spectra's one scale.
    """

    pairs: Sequence[Pair] = ()
    left_out: int = 0
    scatters: Sequence[Chart] = ()
    forests: Sequence[Chart] = ()
    classifier: Sequence[Chart] = ()
    embedding: Sequence[Chart] = ()
    curves: Sequence[Chart] = ()
    real: Mapping[str, Interval] = field(default_factory=dict)
    confusion: pandas.DataFrame | None = None
    verdicts: Sequence[str] = ()
    calibration: Calibration | None = None
    range_db: float = 60.0


def versions() -> dict[str, str]:
    """Python, this package and those whose version can move a number, as far as they are installed."""
    found = {"Python": ".".join(map(str, sys.version_info[:3])), "retimbre": retimbre.__version__}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def time_ticks(seconds: float) -> list[tuple[float, str]]:
    """About four round times on an axis of so many seconds: share of the width, and label."""
    step = next((s for s in (0.25, 0.5, 1, 2, 5, 10, 20, 30) if seconds / s <= 5), 60)
    places = [i * step for i in range(int(seconds / step + 1e-6) + 1)]
    return [(p / seconds, f"{p:g} s" if p == 0 else f"{p:g}") for p in places]


def _rows(table: pandas.DataFrame, metrics: Sequence[str], draws: int, seed: int) -> list[dict[str, Any]]:
    """Groups of rows, a cell (Interval or None) for each of ``metrics``."""
    ends = [f"{m}_{end}" for m in metrics for end in ("low", "high")]
    found = intervals(table[table.metric.isin([*metrics, *ends])], draws, seed)
    for (system, metric), mean in list(found.items()):  # some metrics of whole sets come with an interval of their own
        if (low := found.get((system, f"{metric}_low"))) and (high := found.get((system, f"{metric}_high"))):
            found[system, metric] = Interval(mean.mean, low.mean, high.mean, max(2, mean.n))
    clips = table[table["item"] != "all"].groupby("system")[["direction", "item"]].apply(lambda x: len(x.drop_duplicates()))
    groups: dict[str, list[dict[str, Any]]] = {}
    for system in legend.in_order(table.system.unique()):
        cells = [found.get((system, metric)) for metric in metrics]
        if any(cells):
            row = {"system": system, "about": legend.about(system), "cells": cells, "clips": int(clips.get(system, 0))}
            groups.setdefault(legend.group_of(system), []).append(row)
    return [{"name": name, "rows": rows} for name, rows in groups.items()]


def _table(table: pandas.DataFrame, metrics: Sequence[str], caption: str, draws: int, seed: int) -> dict[str, Any]:
    """A table of results for the template."""
    columns = [(m, legend.column(m)) for m in metrics]
    return {"caption": caption, "columns": columns, "groups": _rows(table, metrics, draws, seed)}


def _breakdown(table: pandas.DataFrame, by: str, draws: int, seed: int) -> dict[str, Any] | None:
    """Results by the values of a column, a few metrics each; None when it has one value only."""
    rows = table[table["item"] != "all"]
    rows = rows[~rows[by].isin(["any", ""])] if by in rows else rows[:0]
    if by not in rows or rows[by].nunique() < 2:
        return None
    levels = sorted(rows[by].unique(), key=list(dict.fromkeys(rows[by])).index)
    metrics = [m for m in BREAKDOWN if m in set(rows.metric)]
    found = {level: intervals(rows[(rows[by] == level) & rows.metric.isin(metrics)], draws, seed) for level in levels}
    lines: dict[str, list[dict[str, Any]]] = {}
    for system in legend.in_order(rows.system.unique()):
        cells = [found[level].get((system, metric)) for metric in metrics for level in levels]
        lines.setdefault(legend.group_of(system), []).append({"system": system, "about": legend.about(system), "cells": cells})
    counts = {level: int(rows[rows[by] == level][["direction", "item"]].drop_duplicates().shape[0]) for level in levels}
    names = [f"{TEXTURES.get(str(level), legend.spoken(str(level)))} ({counts[level]})" for level in levels]
    groups = [{"name": name, "rows": of} for name, of in lines.items()]
    return {"by": BROKEN_DOWN[by], "levels": names, "columns": [(m, legend.column(m)) for m in metrics], "groups": groups}


def _extremes(table: pandas.DataFrame, pairs: Sequence[Pair], count: int = 3) -> dict[str, Any]:
    """The best and the worst pairs of every direction by the ranking metric."""
    metric, ranks = ranking(table)
    shown = {(p.direction, p.item): p for p in pairs}
    lists = []
    for direction in dict.fromkeys(d for d, _ in ranks):
        best_first = sorted((k for k in ranks if k[0] == direction), key=lambda k: (-ranks[k], k[1]))
        chosen = [k for k in best_first if k in shown]
        most = min(count, len(chosen) // 2)
        if most:
            best, worst = chosen[:most], chosen[-most:][::-1]
            lists.append({"direction": direction, "best": [shown[k] for k in best], "worst": [shown[k] for k in worst]})
    return {"metric": metric, "column": legend.column(metric), "system": legend.main_system(table), "lists": lists}


def _confusion(answers: pandas.DataFrame | None) -> dict[str, Any] | None:
    """Counts and shares of the classifier's answers."""
    if answers is None or answers.empty:
        return None
    classes = list(dict.fromkeys(answers.actual))
    rows = []
    for actual in classes:
        counts = [int(((answers.actual == actual) & (answers.predicted == called)).sum()) for called in classes]
        rows.append({"actual": actual, "cells": [(n, n / max(1, sum(counts))) for n in counts]})
    return {"classes": classes, "rows": rows, "windows": len(answers), "accuracy": float((answers.actual == answers.predicted).mean())}


def _gradient(colours: Any, steps: int) -> str:
    """CSS colour stops of a colour map (n, 3) in 0..255."""
    picked = [colours[round(i * (len(colours) - 1) / (steps - 1))] for i in range(steps)]
    return ", ".join("#" + "".join(f"{round(float(c)):02x}" for c in rgb) for rgb in picked)


def _options(pairs: Sequence[Pair]) -> dict[str, list[str]]:
    """What the pairs can be filtered by: only what tells any two apart."""
    values = {
        "direction": list(dict.fromkeys(p.direction for p in pairs)),
        "stratum": list(dict.fromkeys(p.stratum for p in pairs)),
        "range": sorted({p.range for p in pairs}),
        "system": legend.in_order(r.name for p in pairs for r in p.recordings if r.name not in ("source", "target")),
    }
    return {name: found for name, found in values.items() if len(found) > 1}


def write_report(
    path: str | Path,
    table: pandas.DataFrame,
    contents: Contents,
    params: Mapping[str, Any],
    notes: Sequence[str] = (),
    title: str = "Timbre transfer: what was reached",
    draws: int = 1000,
    seed: int = 0,
) -> None:
    """Write the report, atomically.

    ``table``: the long table (:mod:`retimbre.evaluation.results.table`, with skill); ``params``: the whole params file as a
    mapping; ``notes``: sentences shown on top (what to beware of); ``draws``, ``seed``: of the bootstrap intervals.
    """
    loader, escape = FileSystemLoader(Path(__file__).parent), select_autoescape(["html", "j2"])
    environment = Environment(loader=loader, autoescape=escape, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"number": legend.number, "spoken": legend.spoken, "about": legend.about}
    environment.filters["png"] = lambda data: uri(data, "image/png")
    environment.filters["time_ticks"] = time_ticks
    environment.filters["texture"] = lambda name: TEXTURES.get(name, "")
    measured = legend.known_first(table.metric.unique())
    headline = [m for m in legend.HEADLINE if m in measured]
    directions = list(table.direction.unique())
    real = dict(contents.real)
    for metric in headline:  # distances of real recordings to real recordings are in the table, under a name of their own
        if len(values := table[table.metric == f"{metric}_real"].value):
            real[metric] = Interval(float(values.mean()), float(values.mean()), float(values.mean()), 1)
    families = {name: [m for m in measured if legend.family_of(m) == key] for key, name in legend.FAMILIES.items()}
    by_direction = [_table(table[table.direction == d], headline, legend.spoken(d), draws, seed) for d in directions]
    values = {
        "style": STYLE,
        "script": SCRIPT,
        "title": title,
        "notes": list(notes),
        "calibration": contents.calibration,
        "verdict": contents.calibration.verdict.removeprefix("calibration: ") if contents.calibration else "",
        "headline": _table(table, headline, "Mean over " + " and ".join(map(legend.spoken, directions)), draws, seed),
        "real": [real.get(m) for m in headline] if real else [],
        "by_direction": by_direction if len(directions) > 1 else [],
        "families": [_table(table, metrics, name, draws, seed) for name, metrics in families.items() if metrics],
        "explained": [(m, legend.column(m)) for m in headline],
        "directions": directions,
        "pieces": int(table[table["item"] != "all"]["item"].nunique()),
        "breakdowns": {by: _breakdown(table, by, draws, seed) for by in BROKEN_DOWN},
        "broken_down": BROKEN_DOWN,
        "extremes": _extremes(table, contents.pairs),
        "contents": contents,
        "kinds": KINDS,
        "has_pictures": any(r.pictures for p in contents.pairs for r in p.recordings),
        "options": _options(contents.pairs),
        "confusion": _confusion(contents.confusion),
        "magma": _gradient(MAGMA, 12),
        "hues": _gradient(255 * hue_circle(49), 25),
        "rainbow_db": RANGE_DB,
        "column": legend.column,
        "params": yaml.safe_dump(dict(params), sort_keys=False, allow_unicode=True),
        "versions": versions(),
    }
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with write_atomically(path) as file:
        file.write(environment.get_template(TEMPLATE).render(values))
