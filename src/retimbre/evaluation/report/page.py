"""``report.html``: everything a run has to show in one file that opens from disk, without a network.

Charts are SVG that takes over the page's colours, light or dark. Sounds (MP3) and spectra (WebP) lie at its
end as text that no browser reads; a few lines of script make one playable or visible when it comes near, so
the page opens at once. They also filter and sort the pairs, and pause one player when another starts;
everything else needs no script. This module fills the template; what is shown comes from
:mod:`retimbre.evaluation.report.gallery`.
"""

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas
import yaml
from jinja2 import Environment, FileSystemLoader, select_autoescape

import retimbre
from retimbre import provenance
from retimbre.evaluation.bench.calibration import Calibration
from retimbre.evaluation.report import legend
from retimbre.evaluation.report.figures import counted
from retimbre.evaluation.report.media import MAGMA, Media
from retimbre.evaluation.report.pairs import KINDS, Pair, ranking
from retimbre.evaluation.report.rainbowgram import RANGE_DB, hue_circle
from retimbre.evaluation.report.summary import Answer
from retimbre.evaluation.results.rows import RECORDINGS, about, group_of, in_order, main_system, shown_first
from retimbre.evaluation.results.statistics import Interval
from retimbre.evaluation.results.table import intervals
from retimbre.metrics.catalogue import BOUNDS, FAILURES, FAMILIES, HEADLINE, known_first, metric
from retimbre.paths import write_atomically

TEMPLATE, STYLE, SCRIPT = "report.html.j2", "report.css", "report.js"
EXTREMES = 3  # best and worst pairs of a direction that are linked to
BROKEN_DOWN = {"direction": "direction", "stratum": "texture", "range": "the target's range"}
BREAKDOWN = ("content_note_f1", "style_beyond_eq", "skill", "paired_lsd")
TEXTURES = {"mono": "single line", "poly": "several voices", "in": "in range", "out": "out of range"}


@dataclass(frozen=True)
class Chart:
    """An ``<svg>`` element with its caption; ``name`` is that of the file in ``pictures/``.

    ``view``: ``first`` or ``all`` where a chart of the systems shown first and one of all take turns.
    """

    name: str
    svg: str
    caption: str
    view: str = ""


@dataclass(frozen=True)
class Contents:
    """Parts of a report beside the numbers; every one may be missing.

    ``summary``: what the run says, on top; ``left_out``: pairs that did not fit; ``real``: what the
    classifiers say of real recordings, metric -> interval; ``confusion``: rows (actual, predicted);
    ``verdicts``: a sentence per classifier question; ``calibration``: of the controls; ``range_db``: of the
    spectra's one scale.
    """

    summary: Sequence[Answer] = ()
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
    """Python, this package and the libraries whose version can move a number."""
    known = provenance.versions((*provenance.LIBRARIES, "pandas", "matplotlib", "dvc", "mlflow"))
    own = {"Python": platform.python_version(), "retimbre": retimbre.__version__}
    return own | dict(pair.split("=") for pair in known.split())


def time_ticks(seconds: float) -> list[tuple[float, str]]:
    """About four round times on an axis of so many seconds: share of the width, and label."""
    step = next((s for s in (0.25, 0.5, 1, 2, 5, 10, 20, 30) if seconds / s <= 5), 60)
    places = [i * step for i in range(int(seconds / step + 1e-6) + 1)]
    return [(p / seconds, f"{p:g} s" if p == 0 else f"{p:g}") for p in places]


def _grouped(lines: Mapping[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of a table by group: row -> what the template shows of it."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for system in in_order(lines):
        row = {"system": system, "about": about(system), **lines[system]}
        groups.setdefault(group_of(system), []).append(row)
    return [{"name": name, "rows": rows} for name, rows in groups.items()]


def _table(
    table: pandas.DataFrame, metrics: Sequence[str], caption: str, draws: int, seed: int
) -> dict[str, Any]:
    """Results for the template: a cell (Interval or None) for each row and each of ``metrics``."""
    ends = [name + bound for name in metrics for bound in BOUNDS]
    found = intervals(table[table.metric.isin([*metrics, *ends])], draws, seed)
    # Some metrics of whole sets come with an interval of their own.
    for (system, name), mean in list(found.items()):
        if (low := found.get((system, f"{name}_low"))) and (high := found.get((system, f"{name}_high"))):
            found[system, name] = Interval(mean.mean, low.mean, high.mean, max(2, mean.n))
    items = table[table["item"] != "all"].drop_duplicates(["system", "direction", "item"])
    clips = items.system.value_counts()
    lines = {}
    for system in table.system.unique():
        cells = [found.get((system, name)) for name in metrics]
        if any(cells):
            lines[system] = {"cells": cells, "clips": int(clips.get(system, 0))}
    columns = [(name, metric(name)) for name in metrics]
    return {"caption": caption, "columns": columns, "groups": _grouped(lines)}


def _breakdown(table: pandas.DataFrame, by: str, draws: int, seed: int) -> dict[str, Any] | None:
    """Results by the values of a column, a few metrics each; None when it has one value only."""
    rows = table[(table["item"] != "all") & ~table[by].isin(["any", ""])]
    levels = list(rows[by].unique())
    if len(levels) < 2:
        return None
    metrics = [name for name in BREAKDOWN if name in set(rows.metric)]
    shown = rows[rows.metric.isin(metrics)]
    found = {level: intervals(shown[shown[by] == level], draws, seed) for level in levels}
    lines = {
        system: {"cells": [found[level].get((system, name)) for name in metrics for level in levels]}
        for system in rows.system.unique()
    }
    counts = rows.drop_duplicates(["direction", "item"])[by].value_counts()
    names = [f"{TEXTURES.get(level, legend.spoken(level))} ({counts[level]})" for level in levels]
    columns = [(name, metric(name)) for name in metrics]
    return {"by": BROKEN_DOWN[by], "levels": names, "columns": columns, "groups": _grouped(lines)}


def _extremes(table: pandas.DataFrame, pairs: Sequence[Pair]) -> dict[str, Any]:
    """The best and the worst pairs of every direction by the ranking metric."""
    name, ranks = ranking(table)
    shown = {(p.direction, p.item): p for p in pairs}
    lists = []
    for direction in dict.fromkeys(d for d, _ in ranks):
        best_first = sorted((k for k in ranks if k[0] == direction), key=lambda k: (-ranks[k], k[1]))
        chosen = [k for k in best_first if k in shown]
        most = min(EXTREMES, len(chosen) // 2)
        if most:
            best, worst = ([shown[k] for k in keys] for keys in (chosen[:most], chosen[-most:][::-1]))
            lists.append({"direction": direction, "best": best, "worst": worst})
    return {"column": metric(name), "system": main_system(table), "lists": lists}


def _confusion(answers: pandas.DataFrame | None) -> dict[str, Any] | None:
    """Counts and shares of the classifier's answers."""
    if answers is None or answers.empty:
        return None
    counts = counted(answers)
    rows = [
        {"actual": name, "cells": [(int(n), n / max(1, row.sum())) for n in row]}
        for name, row in counts.iterrows()
    ]
    right = float((answers.actual == answers.predicted).mean())
    return {"classes": list(counts), "rows": rows, "windows": len(answers), "accuracy": right}


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
        "system": in_order(r.name for p in pairs for r in p.recordings if r.name not in RECORDINGS),
    }
    return {name: found for name, found in values.items() if len(found) > 1}


def write_report(
    path: str | Path,
    table: pandas.DataFrame,
    contents: Contents,
    params: Mapping[str, Any],
    title: str = "Timbre transfer: what was reached",
    draws: int = 1000,
    seed: int = 0,
) -> None:
    """Write the report, atomically.

    ``table``: the long table (:mod:`retimbre.evaluation.results.table`, with skill); ``params``: the whole
    params file as a mapping; ``draws``, ``seed``: of the bootstrap intervals.
    """
    loader, escape = FileSystemLoader(Path(__file__).parent), select_autoescape(["html", "j2"])
    environment = Environment(loader=loader, autoescape=escape, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"number": legend.number, "spoken": legend.spoken, "about": about}
    media = Media()
    environment.filters["medium"] = media.name
    environment.filters["time_ticks"] = time_ticks
    environment.filters["texture"] = lambda name: TEXTURES.get(name, "")
    measured = known_first(table.metric.unique())
    headline = [name for name in (*HEADLINE, *FAILURES) if name in measured]
    directions = list(table.direction.unique())
    real = dict(contents.real)
    for name in headline:  # distances of recordings to recordings are in the table, under a name of their own
        if len(known := table[table.metric == f"{name}_real"].value):
            real[name] = Interval(*[float(known.mean())] * 3, 1)
    families = {title: [m for m in measured if metric(m).family == key] for key, title in FAMILIES.items()}
    by_direction = [
        _table(table[table.direction == d], headline, legend.spoken(d), draws, seed) for d in directions
    ]
    caption = "Mean over " + " and ".join(map(legend.spoken, directions))
    values = {
        "style": STYLE,
        "script": SCRIPT,
        "title": title,
        "first": [*RECORDINGS, *shown_first(table)],
        "systems": list(table.system.unique()),
        "media": media,
        "calibration": contents.calibration,
        "verdict": contents.calibration.verdict.removeprefix("calibration: ") if contents.calibration else "",
        "headline": _table(table, headline, caption, draws, seed),
        "real": [real.get(m) for m in headline] if real else [],
        "by_direction": by_direction if len(directions) > 1 else [],
        "families": [_table(table, of, title, draws, seed) for title, of in families.items() if of],
        "explained": [(name, metric(name)) for name in headline],
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
        "column": metric,
        "params": yaml.safe_dump(dict(params), sort_keys=False, allow_unicode=True),
        "versions": versions(),
    }
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with write_atomically(path) as file:
        file.write(environment.get_template(TEMPLATE).render(values))
