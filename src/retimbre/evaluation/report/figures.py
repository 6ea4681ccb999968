"""The style of all pictures, how they are written, and those of trainings. matplotlib without a display.

Every function returns a ``Figure`` on white. :func:`save` and :func:`to_png` write it reproducibly, without
dates or versions inside; :func:`to_svg` makes it a part of an HTML page, whose colours and font it takes
over. Colours are told apart with any kind of colour vision (after Okabe & Ito 2008, darkened to be read on
white), and never carry meaning alone: markers or labels repeat it.
"""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from pathlib import Path

import matplotlib
import numpy as np
import pandas
from matplotlib.backend_bases import FigureCanvasBase
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

DPI = 110
NO_METADATA = {"Software": None}
INK, SOFT, GRID = "#1b1f24", "#57606a", "#d0d7de"
BLUE, ORANGE, GREEN, PURPLE, GOLD = "#0072b2", "#c44e00", "#00795a", "#8b3f8f", "#8a6d00"
COLOURS = (BLUE, ORANGE, GREEN, PURPLE, GOLD, SOFT)
MARKERS = "osD^vP*X<h>pd8H"
# What an HTML page puts in place of each colour: its own, which change in the dark.
VARIABLES = {
    INK: "--ink", SOFT: "--soft", GRID: "--line",
    BLUE: "--blue", ORANGE: "--orange", GREEN: "--green", PURPLE: "--purple", GOLD: "--gold",
}  # fmt: skip
LEGEND = {"frameon": False, "fontsize": 9.0, "labelcolor": INK}
STYLE = {
    "font.size": 10.0,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": SOFT,
    "axes.titlecolor": INK,
    "axes.titlesize": 10.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "grid.color": GRID,
    "svg.fonttype": "none",
}


def new_figure(
    width: float,
    height: float,
    rows: int = 1,
    columns: int = 1,
    layout: str | None = "constrained",
    **options: object,
) -> tuple[Figure, np.ndarray]:
    """A figure of so many inches in the common style, and its axes (rows, columns).

    ``layout`` None: the caller places the axes, which is faster.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout=layout)
        return figure, figure.subplots(rows, columns, squeeze=False, **options)


def save(figure: Figure, path: Path, dpi: int = DPI) -> Path:
    """Write a PNG (folders are made); returns the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(to_png(figure, dpi))
    return path


@contextmanager
def _laid_out(figure: Figure, canvas: type[FigureCanvasBase], dpi: float) -> Iterator[None]:
    """The figure with its axes where the layout puts them on ``canvas``; inside, nothing moves them.

    ``savefig`` would find the places by drawing everything once more.
    """
    engine, before = figure.get_layout_engine(), figure.dpi
    if engine is not None:
        canvas(figure)
        figure.dpi = dpi
        engine.execute(figure)
        figure.dpi = before
        figure.set_layout_engine(None)
    try:
        yield
    finally:
        figure.set_layout_engine(engine)


def to_png(figure: Figure, dpi: int = DPI) -> bytes:
    """The picture as PNG bytes, the same for the same figure."""
    buffer = io.BytesIO()
    with matplotlib.rc_context(STYLE), _laid_out(figure, FigureCanvasAgg, dpi):
        figure.savefig(buffer, format="png", dpi=dpi, metadata=NO_METADATA)
    return buffer.getvalue()


def to_svg(figure: Figure, name: str, label: str) -> str:
    """The picture as an ``<svg>`` element for an HTML page that defines the colours of :data:`VARIABLES`.

    ``name``: unique within the page (letters, digits, hyphens); ``label``: what it shows, for those who do
    not see it.
    """
    buffer = io.StringIO()
    nothing = {key: None for key in ("Date", "Creator", "Format", "Type")}
    style = matplotlib.rc_context(STYLE | {"svg.hashsalt": name})
    with style, _laid_out(figure, FigureCanvasSVG, FigureCanvasSVG.fixed_dpi):
        figure.savefig(buffer, format="svg", metadata=nothing, transparent=True)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    used = set(re.findall(r"#([A-Za-z][\w.-]*)\)", svg)) | set(re.findall(r'xlink:href="#([^"]+)"', svg))
    svg = re.sub(r' id="([^"]*)"', lambda m: f' id="{name}-{m[1]}"' if m[1] in used else "", svg)
    svg = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", svg)
    svg = re.sub(r'xlink:href="#([^"]+)"', rf'href="#{name}-\1"', svg)
    svg = re.sub(r"'DejaVu Sans'[^;\"]*", "system-ui, sans-serif", svg)
    for colour, variable in VARIABLES.items():
        svg = svg.replace(colour, f"var({variable})")
    svg = re.sub(r"\s*\n\s*", "\n", svg)
    svg = re.sub(r'="[^"]*"', lambda m: re.sub(r"(\.\d\d)\d+", r"\1", m[0]), svg)  # hundredths of a point
    (box,) = re.findall(r'viewBox="([^"]+)"', svg)[:1]
    head = f'<svg class="chart" role="img" aria-label="{escape(label)}" viewBox="{box}" '
    head += 'xmlns="http://www.w3.org/2000/svg">'
    return head + svg[svg.index(">") + 1 :].strip()


def confusion(answers: pandas.DataFrame) -> Figure:
    """Confusion matrix from rows (actual, predicted): counts, and colour by share of the actual class."""
    counts = counted(answers)
    shares = counts.div(counts.sum(axis=1), axis=0).to_numpy()
    classes, size = list(counts), 1.6 + 0.75 * len(counts)
    figure, axes = new_figure(size + 1.0, size)
    axis = axes[0, 0]
    image = axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (i, j), count in np.ndenumerate(counts.to_numpy()):
        colour = "white" if shares[i, j] > 0.55 else "black"
        text = f"{count}\n{shares[i, j]:.0%}"
        axis.text(j, i, text, ha="center", va="center", fontsize=9, color=colour)
    axis.set_xticks(range(len(classes)), classes, rotation=30 if len(classes) > 3 else 0, fontsize=9)
    axis.set_yticks(range(len(classes)), classes, fontsize=9)
    axis.set(xlabel="called", ylabel="really is")
    figure.colorbar(image, ax=axis, shrink=0.8, label="share of the row")
    return figure


def counted(answers: pandas.DataFrame) -> pandas.DataFrame:
    """Counts of rows (actual, predicted): a square table of the actual classes in their order."""
    classes = list(dict.fromkeys(answers.actual))
    counts = pandas.crosstab(answers.actual, answers.predicted)
    return counts.reindex(index=classes, columns=classes, fill_value=0)


def groups_of(history: pandas.DataFrame) -> dict[str, list[str]]:
    """Columns named ``group/value`` of a training's history by group."""
    groups: dict[str, list[str]] = {}
    for name in sorted(set(history) - {"step"}):
        groups.setdefault(name.split("/")[0], []).append(name)
    return groups


def curves(history: pandas.DataFrame, title: str = "") -> Figure:
    """Training history (``step`` and columns named ``group/value``): one panel per group."""
    groups = groups_of(history)
    columns = min(2, len(groups))
    named = [-(-len(names) // 2) for names in groups.values()]  # rows of the panels' legends
    rows = [max(named[i : i + columns]) for i in range(0, len(named), columns)]
    figure, axes = new_figure(4.4 * columns, 2.6 * len(rows) + 0.2 * sum(rows), len(rows), columns)
    for axis, (group, names) in zip(axes.flat, groups.items(), strict=False):
        for i, name in enumerate(names):
            known = history[["step", name]].dropna().to_numpy()
            line = {"color": COLOURS[i % len(COLOURS)], "linestyle": ("-", "--", ":", "-.")[i % 4]}
            axis.plot(
                *known.T,
                label=name.split("/")[-1],
                marker="." if len(known) == 1 else "",
                linewidth=1.3,
                **line,
            )
        axis.set(title=group, xlabel="step", ylabel=", ".join(dict.fromkeys(map(_unit, names))))
        axis.grid(alpha=0.5)
        axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.24), ncols=2, columnspacing=1.0, **LEGEND)
    for axis in axes.flat[len(groups) :]:
        axis.set_visible(False)
    if title:
        figure.suptitle(title, fontsize=11)
    figure.get_layout_engine().execute(figure)  # the ticks are those of the room that the legends leave
    return figure


def _unit(name: str) -> str:
    """The unit that a name ``group/value`` tells."""
    units = {
        "loss/": "value",
        "/loss": "nats",
        "accuracy": "share",
        "wins": "share",
        "_db": "dB",
        "feature_lsd": "dB",
        "bits": "bits per sample",
        "ratio": "ratio",
        "diversity": "ratio",
        "discriminator": "what it says (1: real)",
        "change": "half ranges",
    }
    return next((unit for part, unit in units.items() if part in name), "value")
