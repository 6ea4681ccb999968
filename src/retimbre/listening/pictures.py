"""Pictures of answers and the page ``analysis.html``: one file, offline, for light and dark screens."""

import base64
from pathlib import Path
from typing import Any

import numpy as np
import pandas
from jinja2 import Environment, FileSystemLoader
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from retimbre.evaluation.report.figures import BLUE, GOLD, SOFT, to_png
from retimbre.metrics.headline import HEADLINE_METRICS
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
    """An empty picture with room for one horizontal bar per name, the first on top."""
    figure = Figure(figsize=(5.0, 0.36 * len(names) + 1.0), layout="constrained")
    axis = figure.subplots()
    axis.set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
    axis.invert_yaxis()
    axis.set_xlim(low, high)
    axis.set_xlabel(label)
    axis.grid(axis="x", alpha=0.3)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
    return figure, axis


def mean_bars(
    rows: list[dict[str, Any]], mean: str, params: dict[str, Any], low: float, high: float, label: str
) -> Figure:
    """Means with 95 % intervals; ``rows``: system, ``mean``, low, high, n (chance: a dotted line)."""
    table = pandas.DataFrame(rows).astype({name: float for name in (mean, "low", "high")})
    figure, axis = _bars([f"{row.system} (n={row.n})" for row in table.itertuples()], low, high, label)
    kinds = {**dict.fromkeys(params["baselines"], GOLD), **dict.fromkeys(params["systems"], BLUE)}
    colours = [kinds.get(system, SOFT) for system in table.system]
    errors = [table[mean] - table.low, table.high - table[mean]]
    axis.barh(
        table.index,
        table[mean] - low,
        left=low,
        height=0.62,
        color=colours,
        alpha=0.85,
        xerr=errors,
        capsize=3,
    )
    if "chance" in table:
        axis.axvline(table.chance[0], color="black", linestyle=":", linewidth=1)
    return figure


def answer_histograms(rows: list[dict[str, Any]]) -> Figure:
    """Share of each answer 1 to 5, one stacked bar per system; ``rows``: system, histogram (5)."""
    figure, axis = _bars([row["system"] for row in rows], 0, 1, "share of answers (counts inside)")
    counts = np.array([row["histogram"] for row in rows])
    shares = counts / counts.sum(axis=1, keepdims=True)
    left = np.cumsum(shares, axis=1) - shares
    for n, colour in enumerate(STEPS):
        bars = axis.barh(
            range(len(rows)), shares[:, n], left=left[:, n], height=0.66, color=colour, label=str(n + 1)
        )
        labels = [
            str(count) if share >= 0.06 else ""
            for count, share in zip(counts[:, n], shares[:, n], strict=True)
        ]
        axis.bar_label(
            bars, labels, label_type="center", fontsize=8, color="white" if n in (0, 4) else "black"
        )
    figure.legend(title="answer", loc="outside right upper", fontsize=8, title_fontsize=8)
    return figure


def page_pictures(part: dict[str, Any], params: dict[str, Any]) -> dict[str, Any]:
    """All pictures of one set of results as data URIs."""

    def uri(figure: Figure) -> str:
        return "data:image/png;base64," + base64.b64encode(to_png(figure)).decode()

    found: dict[str, Any] = {"means": {}, "histograms": {}}
    for question, result in part["ratings"].items():
        span = (0, 100) if question == "multi" else (1, 5)
        label = "mean answer, 95 % interval over listeners and items"
        found["means"][question] = uri(mean_bars(result["systems"], "mean", params, *span, label))
        if question != "multi":
            found["histograms"][question] = uri(answer_histograms(result["systems"]))
    if part["identification"]:
        label = "share that named it, Wilson 95 % interval (dotted: chance)"
        found["recognised"] = uri(mean_bars(part["identification"]["systems"], "share", params, 0, 1, label))
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
    return str(value) if isinstance(value, int | str) else number(value)


def write_page(path: Path, result: dict[str, Any], frozen: dict[str, Any]) -> None:
    """Write ``analysis.html`` from what ``analysis.evaluate`` returned."""
    loader = FileSystemLoader(Path(__file__).parent)
    environment = Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"number": number, "cell": cell}
    part = result["with_exclusions"] or result["without_exclusions"]
    page = environment.get_template("analysis.html.j2").render(
        r=result,
        part=part,
        pictures=page_pictures(part, frozen["params"]),
        plan=frozen,
        titles=TITLES,
        headline=HEADLINE_METRICS,
    )
    with write_atomically(path) as file:
        file.write(page)
