"""Pictures of results: boards of spectra on one scale, scatter, confusion, curves. matplotlib without a display.

Every function returns a ``Figure`` (white background, so that it reads in dark mode and on paper too);
:func:`save` and :func:`to_png` write it reproducibly, without dates or versions inside.
"""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

if TYPE_CHECKING:
    import pandas

DPI = 110
NO_METADATA = {"Software": None}
COLOURS = ("#0b6e99", "#c44e00", "#2d7d46", "#8b3fa8", "#a8324a", "#6b6b00", "#444444", "#007a87")  # readable on white
MARKERS = "osD^vP*X<h>"  # as many as no multiple of the colours: the pairs repeat late

Estimate = tuple[float, float, float]  # a mean and the ends of its interval


def save(figure: Figure, path: Path) -> Path:
    """Write a PNG (folders are made); returns the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(to_png(figure))
    return path


def to_png(figure: Figure, dpi: int = DPI) -> bytes:
    """The picture as PNG bytes, the same for the same figure."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, metadata=NO_METADATA)
    return buffer.getvalue()


def spectrum_board(
    panels: Mapping[str, np.ndarray], top_db: float, range_db: float, frame_s: float, bins_per_octave: int | None = None, title: str = ""
) -> Figure:
    """Spectra (F, T) in dB side by side on one colour scale, [top_db - range_db, top_db], with a colour bar.

    Panels have a time axis in seconds; with ``bins_per_octave`` the frequency axis counts octaves from
    C1 (constant-Q), else bins. Wraps to two columns.
    """
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(4.3 * columns + 0.9, 2.25 * rows + 0.3), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    image = None
    for axis, (name, db) in zip(axes.flat, panels.items(), strict=False):
        scale = {"vmin": top_db - range_db, "vmax": top_db, "cmap": "magma", "interpolation": "nearest"}
        image = axis.imshow(db, origin="lower", aspect="auto", extent=(0, db.shape[1] * frame_s, 0, db.shape[0]), **scale)
        axis.set_title(name, fontsize=10)
        if bins_per_octave:
            octaves = range(-(-db.shape[0] // bins_per_octave))
            axis.set_yticks([o * bins_per_octave for o in octaves], [f"C{o + 1}" for o in octaves])
        axis.tick_params(labelsize=8)
    for axis in axes.flat[len(panels) :]:
        axis.set_visible(False)
    for axis in axes[-1]:
        axis.set_xlabel("time (s)", fontsize=9)
    for axis in axes[:, 0]:
        axis.set_ylabel("pitch" if bins_per_octave else "frequency bin", fontsize=9)
    if image is not None:
        bar = figure.colorbar(image, ax=axes, shrink=0.9, pad=0.02)
        bar.set_label("level (dB)", fontsize=9)
        bar.ax.tick_params(labelsize=8)
    if title:
        figure.suptitle(title, fontsize=11)
    return figure


def confusion(table: "pandas.DataFrame", classes: Sequence[str], title: str = "") -> Figure:
    """Confusion matrix from rows (actual, predicted): counts, and colour by share of the actual class."""
    counts = np.array([[((table.actual == a) & (table.predicted == b)).sum() for b in classes] for a in classes])
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    size = 1.6 + 0.75 * len(classes)
    figure = Figure(figsize=(size + 1.0, size), layout="constrained")
    axis = figure.subplots()
    image = axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for i, row in enumerate(counts):
        for j, count in enumerate(row):
            colour = "white" if shares[i, j] > 0.55 else "black"
            axis.text(j, i, f"{count}\n{shares[i, j]:.0%}", ha="center", va="center", fontsize=9, color=colour)
    axis.set_xticks(range(len(classes)), classes, rotation=30 if len(classes) > 3 else 0, fontsize=9)
    axis.set_yticks(range(len(classes)), classes, fontsize=9)
    axis.set_xlabel("called")
    axis.set_ylabel("really is")
    if title:
        axis.set_title(title, fontsize=10)
    figure.colorbar(image, ax=axis, shrink=0.8, label="share of the row")
    return figure


def plot_confusion(path: Path, table: "pandas.DataFrame", classes: Sequence[str], title: str = "") -> Path:
    """Write :func:`confusion` as a PNG."""
    return save(confusion(table, classes, title), path)


def scatter(points: Mapping[str, tuple[Estimate, Estimate]], x_label: str, y_label: str, title: str = "") -> Figure:
    """One marker per system: ``name -> ((x, low, high), (y, low, high))`` with crosses for the intervals."""
    figure = Figure(figsize=(5.6, 5.0), layout="constrained")
    axis = figure.subplots()
    for i, (name, ((x, x0, x1), (y, y0, y1))) in enumerate(points.items()):
        colour, marker = COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]
        error = {"xerr": [[max(0, x - x0)], [max(0, x1 - x)]], "yerr": [[max(0, y - y0)], [max(0, y1 - y)]]}
        axis.errorbar(x, y, **error, fmt=marker, color=colour, markersize=8, capsize=2, linewidth=1, label=name)
    axis.set_xlabel(x_label)
    axis.set_ylabel(y_label)
    axis.grid(alpha=0.3)
    axis.margins(0.08)
    figure.legend(fontsize=8, loc="outside lower center", ncols=3, frameon=False)
    if title:
        axis.set_title(title, fontsize=11)
    return figure


def curves(rows: Sequence[Mapping[str, float]], title: str = "") -> Figure:
    """Training history (rows with ``step`` and named values): one panel per group of ``group/value`` names."""
    groups: dict[str, list[str]] = {}
    for key in sorted({key for row in rows for key in row} - {"step"}):
        groups.setdefault(key.split("/")[0], []).append(key)
    columns = min(2, max(1, len(groups)))
    lines = -(-len(groups) // columns) or 1
    figure = Figure(figsize=(4.4 * columns, 2.7 * lines), layout="constrained")
    axes = figure.subplots(lines, columns, squeeze=False)
    for axis, (group, keys) in zip(axes.flat, groups.items(), strict=False):
        for i, key in enumerate(keys):
            points = [(row["step"], row[key]) for row in rows if key in row and row[key] == row[key]]
            if points:
                axis.plot(*zip(*points, strict=True), label=key.split("/")[-1], linewidth=1.3, color=COLOURS[i % len(COLOURS)])
        axis.set_title(group, fontsize=10)
        axis.set_xlabel("step", fontsize=9)
        axis.tick_params(labelsize=8)
        axis.grid(alpha=0.3)
        axis.legend(fontsize=7.5)
    for axis in axes.flat[len(groups) :]:
        axis.set_visible(False)
    if title:
        figure.suptitle(title, fontsize=11)
    return figure
