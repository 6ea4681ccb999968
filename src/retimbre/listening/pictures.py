"""Pictures of answers and the page ``analysis.html``: one file, offline, for light and dark screens."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from retimbre.evaluation.report import figures
from retimbre.metrics.catalogue import HEADLINE
from retimbre.paths import write_atomically

STEPS = ("#a8324a", "#dd9a8d", "#d9d9d9", "#8fbcd4", "#0b6e99")  # answers 1 to 5
TITLES = {
    "content": "Content: notes and rhythm kept",
    "likeness": "Likeness to the wanted instrument",
    "quality": "Sound quality",
    "style": "Similar to the wanted instrument (dissertation's question 1)",
    "similar": "Similar to clip A (dissertation's question 2)",
    "multi": "Versions side by side, 0 to 100",
}


def _bars(names: list[str], low: float, high: float, label: str) -> tuple[Figure, Axes]:
    """Empty picture with room for one horizontal bar per name, the first on top."""
    figure, axes = figures.new_figure(5.0, 0.36 * len(names) + 1.0)
    axis = axes[0, 0]
    axis.set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
    axis.invert_yaxis()
    axis.set_xlim(low, high)
    axis.set_xlabel(label)
    axis.grid(axis="x")
    axis.set_axisbelow(True)
    return figure, axis


def mean_bars(
    rows: list[dict[str, Any]], mean: str, params: dict[str, Any], low: float, high: float, label: str
) -> Figure:
    """Means with 95 % intervals; ``rows``: system, ``mean``, low, high, n (chance: a dotted line)."""
    table = pandas.DataFrame(rows).astype({name: float for name in (mean, "low", "high")})
    figure, axis = _bars([f"{row.system} (n={row.n})" for row in table.itertuples()], low, high, label)
    kinds = dict.fromkeys(params["baselines"], figures.GOLD) | dict.fromkeys(params["systems"], figures.BLUE)
    colours = [kinds.get(system, figures.SOFT) for system in table.system]
    axis.barh(table.index, table[mean] - low, left=low, height=0.62, color=colours)
    errors = [table[mean] - table.low, table.high - table[mean]]
    axis.errorbar(table[mean], table.index, xerr=errors, fmt="none", ecolor=figures.INK, capsize=3)
    if "chance" in table:
        axis.axvline(table.chance[0], color=figures.INK, linestyle=":", linewidth=1)
    return figure


def answer_histograms(rows: list[dict[str, Any]]) -> Figure:
    """Share of each answer 1 to 5, one stacked bar per system; ``rows``: system, histogram (5)."""
    label = "share of answers 1 (red) to 5 (blue), with counts"
    figure, axis = _bars([row["system"] for row in rows], 0, 1, label)
    counts = np.array([row["histogram"] for row in rows])
    shares = counts / counts.sum(axis=1, keepdims=True)
    left = np.cumsum(shares, axis=1) - shares
    for n, colour in enumerate(STEPS):
        bars = axis.barh(range(len(rows)), shares[:, n], left=left[:, n], height=0.66, color=colour)
        shown = zip(counts[:, n], shares[:, n], strict=True)
        labels = [str(count) if share >= 0.06 else "" for count, share in shown]
        axis.bar_label(bars, labels, label_type="center", color="white" if n in (0, 4) else "black")
    return figure


def page_pictures(part: dict[str, Any], params: dict[str, Any]) -> dict[str, dict[str, str]]:
    """Pictures of one set of results by question: ``means`` and ``histograms``, SVG for the page."""

    def svg(figure: Figure, kind: str, question: str, rows: list[dict[str, Any]], value: str) -> str:
        label = "; ".join(f"{row['system']} {cell(row, value)}" for row in rows)
        return figures.to_svg(figure, f"{kind}-{question}", label)

    found: dict[str, dict[str, str]] = {"means": {}, "histograms": {}}
    for question, result in part["ratings"].items():
        rows, span = result["systems"], (0, 100) if question == "multi" else (1, 5)
        bars = mean_bars(rows, "mean", params, *span, "mean answer, 95 % interval over listeners and items")
        found["means"][question] = svg(bars, "mean", question, rows, "mean")
        if question != "multi":
            picture = answer_histograms(rows)
            found["histograms"][question] = svg(picture, "answers", question, rows, "histogram")
    if part["identification"]:
        rows, label = part["identification"]["systems"], "share that named it, Wilson 95 % (dotted: chance)"
        bars = mean_bars(rows, "share", params, 0, 1, label)
        found["means"]["instrument"] = svg(bars, "mean", "instrument", rows, "share")
    return found


def number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}".replace("-", "−")


def cell(row: dict[str, Any], column: str) -> str:
    """Text of a table's cell; columns ``interval`` and ``wins`` are made of several values of the row."""
    if column == "interval":
        return "–" if row["low"] is None else f"{number(row['low'])} to {number(row['high'])}"
    if column == "wins":
        return f"{row['k']} of {row['n']}"
    value = row[column]
    if column in ("p", "p_holm") and value is not None:
        return "< 0.001" if value < 0.001 else f"{value:.3f}"
    return number(value) if isinstance(value, float | None) else str(value)


def write_page(path: Path, result: dict[str, Any], frozen: dict[str, Any]) -> None:
    """Write ``analysis.html`` from what ``analysis.evaluate`` returned, in the style of the report."""
    loader = FileSystemLoader([Path(__file__).parent, Path(figures.__file__).parent])
    blocks = {"trim_blocks": True, "lstrip_blocks": True}
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, **blocks)
    environment.filters |= {"number": number, "cell": cell}
    part = result["with_exclusions"] or result["without_exclusions"]
    pictures = page_pictures(part, frozen["params"])
    page = environment.get_template("analysis.html.j2").render(
        r=result, part=part, pictures=pictures, plan=frozen, titles=TITLES, headline=HEADLINE
    )
    with write_atomically(path) as file:
        file.write(page)
