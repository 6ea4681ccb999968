"""Charts of the report: content against timbre, paired differences, classifier curves, the embedding map.

Small enough to be read on a phone: :data:`WIDTH` inches wide, ten points. Figures are drawn in the style
of :mod:`retimbre.evaluation.report.figures`. Systems keep one marker and colour in all charts of a run: the
colour says the group (controls, baselines, systems, vocoders), the marker which one.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from retimbre.evaluation.report.figures import (
    BLUE,
    COLOURS,
    GOLD,
    GREEN,
    INK,
    LEGEND,
    MARKERS,
    ORANGE,
    PURPLE,
    SOFT,
    new_figure,
)
from retimbre.evaluation.report.legend import spoken
from retimbre.evaluation.results.rows import group_of, in_order
from retimbre.evaluation.results.statistics import Interval

WIDTH = 4.6  # inches
GROUP_COLOURS = {"controls": SOFT, "baselines": ORANGE, "systems": BLUE, "vocoders alone": GREEN}


def markers(systems: Sequence[str]) -> dict[str, tuple[str, str]]:
    """``system -> (marker, colour)``; markers are given out within each group."""
    seen: dict[str, int] = {}
    found = {}
    for system in in_order(systems):
        group = group_of(system)
        seen[group] = seen.get(group, -1) + 1
        found[system] = (MARKERS[seen[group] % len(MARKERS)], GROUP_COLOURS[group])
    return found


def _face(system: str, colour: str) -> str:
    """Marks of what must be beaten are hollow."""
    return colour if group_of(system) in ("systems", "baselines") else "none"


def _error(interval: Interval) -> list[list[float]]:
    """Lengths of an error bar."""
    return [[max(0.0, interval.mean - interval.low)], [max(0.0, interval.high - interval.mean)]]


def _legend_below(figure: Figure, count: int, columns: int = 2) -> None:
    """A legend under the axes in room of its own."""
    width, height = figure.get_size_inches()
    figure.set_size_inches(width, height + 0.2 * -(-count // columns))
    figure.legend(loc="outside lower center", ncols=columns, handletextpad=0.4, columnspacing=1.0, **LEGEND)


def scatter(points: Mapping[str, tuple[Interval, Interval]], x_label: str, y_label: str) -> Figure:
    """One marker per system with crosses of its 95 % intervals: ``name -> (x, y)``, shares from 0 to 1."""
    figure, axes = new_figure(WIDTH, 4.0)
    axis, looks = axes[0, 0], markers(list(points))
    for name in looks:
        (x, y), (marker, colour) = points[name], looks[name]
        line = {"color": colour, "markersize": 7, "elinewidth": 1, "markerfacecolor": _face(name, colour)}
        axis.errorbar(x.mean, y.mean, _error(y), _error(x), fmt=marker, label=spoken(name), **line)
    axis.set(xlabel=x_label, ylabel=y_label, xlim=(-0.04, 1.04), ylim=(-0.04, 1.04))
    axis.grid(alpha=0.6)
    _legend_below(figure, len(looks))
    return figure


def forest(differences: Mapping[str, Interval], label: str, better: str) -> Figure:
    """Paired differences with 95 % intervals, one line per system; the axis names the better side."""
    looks = markers(list(differences))
    figure, axes = new_figure(WIDTH, 1.1 + 0.27 * len(looks))
    axis = axes[0, 0]
    axis.axvline(0, color=INK, linewidth=1)
    for row, (name, (marker, colour)) in enumerate(looks.items()):
        d = differences[name]
        face = colour if d.low > 0 or d.high < 0 else "none"  # hollow: the interval holds 0
        line = {"color": colour, "markersize": 6, "elinewidth": 1.4, "markerfacecolor": face}
        axis.errorbar(d.mean, row, xerr=_error(d), fmt=marker, **line)
    axis.set_yticks(range(len(looks)), [spoken(name) for name in looks])
    axis.set_ylim(len(looks) - 0.4, -0.6)
    axis.grid(axis="x", alpha=0.6)
    side = {"up": "right is better", "down": "left is better"}.get(better, "")
    axis.set_xlabel(f"{label}, minus eq match" + (f"\n({side})" if side else ""))
    return figure


def rates(
    curves: Mapping[str, tuple[np.ndarray, np.ndarray]], x_label: str, y_label: str, diagonal: bool
) -> Figure:
    """ROC or precision-recall: ``name -> (x, y)``, each (n,) shares; ``diagonal``: chance."""
    figure, axes = new_figure(WIDTH, 3.4)
    axis = axes[0, 0]
    if diagonal:
        axis.plot([0, 1], [0, 1], color=SOFT, linewidth=1, linestyle=":")
    for i, (name, (x, y)) in enumerate(curves.items()):
        style = ("-", "--", "-.", (0, (1, 1)), (0, (5, 1, 1, 1)))[i % 5]
        axis.plot(x, y, color=COLOURS[i % 5], linestyle=style, linewidth=2.4 - 0.4 * (i % 4), label=name)
    axis.set(xlabel=x_label, ylabel=y_label, xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axis.grid(alpha=0.6)
    _legend_below(figure, len(curves), 1)
    return figure


def reliability(curves: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]]) -> Figure:
    """Observed share against predicted probability: ``name -> (predicted, observed, windows)`` per bin.

    A mark's size tells the windows.
    """
    figure, axes = new_figure(WIDTH, 3.4)
    axis = axes[0, 0]
    axis.plot([0, 1], [0, 1], color=SOFT, linewidth=1, linestyle=":")
    for i, (name, (predicted, observed, windows)) in enumerate(curves.items()):
        size = 12 + 120 * windows / windows.max(initial=1)
        looks = {"color": COLOURS[i % 5], "marker": MARKERS[i], "alpha": 0.8, "linewidths": 0}
        axis.scatter(predicted, observed, s=size, label=name, **looks)
    axis.set(xlabel="probability that the network gives", ylabel="share that is so")
    axis.set(xlim=(-0.06, 1.06), ylim=(-0.06, 1.06))
    axis.grid(alpha=0.6)
    _legend_below(figure, len(curves), 1)
    return figure


def embedding_map(
    real: Mapping[str, np.ndarray],
    outputs: Mapping[str, np.ndarray],
    explained: Sequence[float],
    spread: str | None = None,
) -> Figure:
    """Two principal axes of ``real`` clips (domain -> (n, 2)), and ``outputs`` (system -> (n, 2)) on them.

    A system is shown at its mean; of ``spread`` every output is shown. ``explained``: shares of variance of
    the two axes.
    """
    figure, axes = new_figure(WIDTH, 3.6)
    axis, looks = axes[0, 0], markers(list(outputs))
    for (domain, x), colour, marker in zip(real.items(), (GOLD, PURPLE, GREEN, ORANGE), "^vsD", strict=False):
        look = {"color": colour, "marker": marker, "alpha": 0.55, "linewidths": 0}
        axis.scatter(*x.T, s=22, label=f"real {spoken(domain)}", **look)
    if spread in outputs:
        look = {"color": looks[spread][1], "alpha": 0.7, "linewidths": 0}
        axis.scatter(*outputs[spread].T, s=10, label=f"{spoken(spread)}, each", **look)
    for name, (marker, colour) in looks.items():
        look = {"color": colour, "markersize": 8, "markeredgewidth": 1.4}
        look["markerfacecolor"] = _face(name, colour)
        axis.plot(*outputs[name].mean(axis=0), marker, label=spoken(name), **look)
    for which, label, share in zip(("first", "second"), ("xlabel", "ylabel"), explained, strict=True):
        axis.set(**{label: f"{which} principal axis ({share:.0%} of variance)"})
    axis.grid(alpha=0.6)
    _legend_below(figure, len(looks) + len(real) + 1)
    return figure
