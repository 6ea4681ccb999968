"""Pictures of listeners' answers and the page ``analysis.html``: one file, offline, for light and dark screens."""

import base64
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader
from matplotlib.figure import Figure

from retimbre.evaluation.report.figures import to_png
from retimbre.metrics.headline import HEADLINE_METRICS
from retimbre.paths import write_atomically

SYSTEM, BASELINE, CONTROL = "#0b6e99", "#8a6d00", "#8c8c8c"
STEPS = ("#a8324a", "#dd9a8d", "#d9d9d9", "#8fbcd4", "#0b6e99")  # answers 1 to 5
TITLES = {
    "content": "Content: notes and rhythm kept",
    "likeness": "Likeness to the wanted instrument",
    "quality": "Sound quality",
    "style": "Similar to the wanted instrument (dissertation's question 1)",
    "similar": "Similar to clip A (dissertation's question 2)",
    "multi": "Versions side by side, 0 to 100",
}


def _colour(system: str, params: dict[str, Any]) -> str:
    return SYSTEM if system in params["systems"] else BASELINE if system in params["baselines"] else CONTROL


def _plain(axis: Any) -> None:
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(labelsize=9)


def mean_bars(
    rows: Sequence[dict[str, Any]], params: dict[str, Any], low: float, high: float, label: str, line: float | None = None
) -> Figure:
    """Means with 95 % intervals, one bar per system; ``rows``: system, mean, low, high, n."""
    figure = Figure(figsize=(5.0, 0.36 * len(rows) + 0.9), layout="constrained")
    axis = figure.subplots()
    for n, row in enumerate(rows):
        mean = row["mean"] if row["mean"] is not None else math.nan
        axis.barh(n, mean - low, left=low, height=0.62, color=_colour(row["system"], params), alpha=0.85)
        if row["low"] is not None:
            axis.plot([row["low"], row["high"]], [n, n], color="black", linewidth=1.6, marker="|", markersize=8)
    names = [f"{row['system'].replace('_', ' ')} (n={row['n']})" for row in rows]
    axis.set_yticks(range(len(rows)), names)
    axis.invert_yaxis()
    axis.set_xlim(low, high)
    axis.set_xlabel(label, fontsize=9)
    if line is not None:
        axis.axvline(line, color="black", linestyle=":", linewidth=1)
    axis.grid(axis="x", alpha=0.3)
    axis.set_axisbelow(True)
    _plain(axis)
    return figure


def answer_histograms(rows: Sequence[dict[str, Any]]) -> Figure:
    """Share of each answer 1 to 5, one stacked bar per system; ``rows``: system, histogram (5)."""
    figure = Figure(figsize=(5.0, 0.36 * len(rows) + 1.0), layout="constrained")
    axis = figure.subplots()
    for n, row in enumerate(rows):
        counts = np.asarray(row["histogram"], np.float64)
        shares = counts / max(counts.sum(), 1)
        left = 0.0
        for value, (share, colour) in enumerate(zip(shares, STEPS, strict=True), 1):
            axis.barh(n, share, left=left, height=0.66, color=colour, label=str(value) if n == 0 else None)
            if share >= 0.06:
                dark = value in (1, 5)
                text = f"{int(counts[value - 1])}"
                axis.text(left + share / 2, n, text, ha="center", va="center", fontsize=8, color="white" if dark else "black")
            left += share
    axis.set_yticks(range(len(rows)), [row["system"].replace("_", " ") for row in rows])
    axis.invert_yaxis()
    axis.set_xlim(0, 1)
    axis.set_xlabel("share of answers (counts inside)", fontsize=9)
    figure.legend(title="answer", loc="outside right upper", fontsize=8, title_fontsize=8)
    _plain(axis)
    return figure


def matrix(
    values: np.ndarray, rows: Sequence[str], columns: Sequence[str], y: str, x: str, notes: Sequence[Sequence[str]], middle: bool
) -> Figure:
    """A table of shares (R, C) in colour, NaN left white, with ``notes`` in the cells; ``middle``: 0.5 is the neutral colour."""
    size = (0.72 * len(columns) + 1.9, 0.4 * len(rows) + 1.3)
    figure = Figure(figsize=size, layout="constrained")
    axis = figure.subplots()
    axis.imshow(values, vmin=0, vmax=1, cmap="RdBu" if middle else "Blues", aspect="auto", alpha=0.85)
    for i in range(len(rows)):
        for j in range(len(columns)):
            value = values[i, j]
            if math.isfinite(value):
                strong = abs(value - 0.5) > 0.32 if middle else value > 0.6
                axis.text(j, i, notes[i][j], ha="center", va="center", fontsize=8, color="white" if strong else "black")
    axis.set_xticks(range(len(columns)), [c.replace("_", " ") for c in columns], rotation=30, ha="right")
    axis.set_yticks(range(len(rows)), [r.replace("_", " ") for r in rows])
    axis.set_xlabel(x, fontsize=9)
    axis.set_ylabel(y, fontsize=9)
    axis.tick_params(labelsize=9, length=0)
    return figure


def win_matrix(systems: Sequence[str], wins: Sequence[Sequence[int]]) -> Figure:
    """Share of answers in which the row was preferred to the column."""
    counts = np.asarray(wins, np.float64)
    total = counts + counts.T
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = np.where(total > 0, counts / total, np.nan)
    notes = [[f"{int(counts[i, j])} of {int(total[i, j])}" for j in range(len(systems))] for i in range(len(systems))]
    return matrix(shares, systems, systems, "preferred", "over", notes, middle=True)


def heard_matrix(heard: dict[str, dict[str, list[int]]], answers: Sequence[str], systems: Sequence[str]) -> Figure:
    """What was heard (columns) for each system and wanted instrument (rows), as shares of the row."""
    names = [(s, t) for s in systems for t in sorted(heard.get(s, {}))]
    counts = np.asarray([heard[s][t] for s, t in names], np.float64)
    shares = counts / counts.sum(axis=1, keepdims=True)
    notes = [[str(int(c)) for c in row] for row in counts]
    return matrix(shares, [f"{s}, to {t}" for s, t in names], answers, "played", "heard", notes, middle=False)


def _uri(figure: Figure) -> str:
    return "data:image/png;base64," + base64.b64encode(to_png(figure)).decode()


def page_pictures(part: dict[str, Any], params: dict[str, Any]) -> dict[str, Any]:
    """All pictures of one set of results as data URIs."""
    found: dict[str, Any] = {"means": {}, "histograms": {}}
    for question, result in part["ratings"].items():
        low, high = (0, 100) if question == "multi" else (1, 5)
        found["means"][question] = _uri(
            mean_bars(result["systems"], params, low, high, "mean answer, 95 % interval over listeners and items")
        )
        if question != "multi":
            found["histograms"][question] = _uri(answer_histograms(result["systems"]))
    if part["identification"]:
        own = part["identification"]
        rows = [row | {"mean": row["share"]} for row in own["systems"]]
        chance = rows[0]["chance"]
        found["recognised"] = _uri(mean_bars(rows, params, 0, 1, "share that named it, Wilson 95 % interval (dotted: chance)", chance))
        found["heard"] = _uri(heard_matrix(own["heard"], own["answers"], [r["system"] for r in rows]))
    if part["preference"]:
        found["wins"] = _uri(win_matrix(part["preference"]["systems"], part["preference"]["wins"]))
    return found


def _number(value: float | None, digits: int = 2) -> str:
    return "–" if value is None else f"{value:.{digits}f}".replace("-", "−")


def _p(value: float | None) -> str:
    return "–" if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"


def write_page(path: Path, result: dict[str, Any], plan: dict[str, Any]) -> None:
    """Write ``analysis.html`` from what ``analysis.evaluate`` returned."""
    environment = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"number": _number, "p": _p}
    part = result["with_exclusions"] or result["without_exclusions"]
    pictures = page_pictures(part, plan["params"])
    page = environment.get_template("analysis.html.j2").render(
        r=result, part=part, pictures=pictures, plan=plan, titles=TITLES, headline=HEADLINE_METRICS
    )
    with write_atomically(path) as file:
        file.write(page)
