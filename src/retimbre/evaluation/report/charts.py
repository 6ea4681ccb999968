"""Charts of the report: content against timbre, paired differences, classifier curves, the embedding map.

Small enough to be read on a phone: three and a half inches wide, ten points. Figures are drawn in the style of
:mod:`retimbre.evaluation.report.figures`. Systems keep one marker and colour in all charts of a run: the colour says the
group (controls, baselines, systems, vocoders), the marker which one.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from retimbre.evaluation.report.figures import BLUE, GOLD, GREEN, INK, LEGEND, MARKERS, ORANGE, PURPLE, SOFT, new_figure
from retimbre.evaluation.report.legend import group_of, in_order, spoken
from retimbre.evaluation.results.statistics import Difference, Interval

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


def _legend_below(figure: Figure, count: int, columns: int = 2) -> None:
    """A legend under the axes in room of its own."""
    width, height = figure.get_size_inches()
    figure.set_size_inches(width, height + 0.2 * -(-count // columns))
    figure.legend(loc="outside lower center", ncols=columns, handletextpad=0.4, columnspacing=1.0, **LEGEND)


def scatter(points: Mapping[str, tuple[Interval, Interval]], x_label: str, y_label: str) -> Figure:
    """One marker per system with crosses of its 95 % intervals: ``name -> (x, y)``. Both axes are shares, 0 to 1."""
    figure, axes = new_figure(WIDTH, 4.0)
    axis, looks = axes[0, 0], markers(list(points))
    for name in looks:
        (x, y), (marker, colour) = points[name], looks[name]
        error = {f"{k}err": [[max(0.0, i.mean - i.low)], [max(0.0, i.high - i.mean)]] for k, i in (("x", x), ("y", y))}
        face = colour if group_of(name) in ("systems", "baselines") else "none"
        line = {"color": colour, "markersize": 7, "elinewidth": 1, "markerfacecolor": face}
        axis.errorbar(x.mean, y.mean, **error, fmt=marker, label=spoken(name), **line)
    axis.set(xlabel=x_label, ylabel=y_label, xlim=(-0.04, 1.04), ylim=(-0.04, 1.04))
    axis.grid(alpha=0.6)
    _legend_below(figure, len(looks))
    return figure


def forest(differences: Mapping[str, Difference], label: str, better: str) -> Figure:
    """Paired differences with 95 % intervals, one line per system; the side that is better is named on the axis."""
    looks = markers(list(differences))
    figure, axes = new_figure(WIDTH, 1.1 + 0.27 * len(looks))
    axis = axes[0, 0]
    axis.axvline(0, color=INK, linewidth=1)
    for row, (name, (marker, colour)) in enumerate(looks.items()):
        d = differences[name]
        error = [[max(0.0, d.mean - d.low)], [max(0.0, d.high - d.mean)]]
        face = colour if d.low > 0 or d.high < 0 else "none"  # hollow: the interval holds 0
        axis.errorbar(d.mean, row, xerr=error, fmt=marker, color=colour, markersize=6, elinewidth=1.4, markerfacecolor=face)
    axis.set_yticks(range(len(looks)), [spoken(name) for name in looks])
    axis.set_ylim(len(looks) - 0.4, -0.6)
    axis.grid(axis="x", alpha=0.6)
    side = {"up": "right is better", "down": "left is better"}.get(better, "")
    axis.set_xlabel(f"{label}, minus eq match" + (f"\n({side})" if side else ""))
    return figure


def rates(curves: Mapping[str, tuple[np.ndarray, np.ndarray]], x_label: str, y_label: str, diagonal: bool) -> Figure:
    """ROC or precision-recall: ``name -> (x, y)``, each (n,) shares; ``diagonal``: chance."""
    figure, axes = new_figure(WIDTH, 3.4)
    axis = axes[0, 0]
    if diagonal:
        axis.plot([0, 1], [0, 1], color=SOFT, linewidth=1, linestyle=":")
    for i, (name, (x, y)) in enumerate(curves.items()):
        colour, style = (BLUE, ORANGE, GREEN, PURPLE, GOLD)[i % 5], ("-", "--", "-.", (0, (1, 1)), (0, (5, 1, 1, 1)))[i % 5]
        axis.plot(x, y, color=colour, linestyle=style, linewidth=2.4 - 0.4 * (i % 4), label=name)
    axis.set(xlabel=x_label, ylabel=y_label, xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axis.grid(alpha=0.6)
    _legend_below(figure, len(curves), 1)
    return figure


def reliability(curves: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]]) -> Figure:
    """Observed share against predicted probability: ``name -> (predicted, observed, windows)`` per bin; size tells the windows."""
    figure, axes = new_figure(WIDTH, 3.4)
    axis = axes[0, 0]
    axis.plot([0, 1], [0, 1], color=SOFT, linewidth=1, linestyle=":")
    for i, (name, (predicted, observed, windows)) in enumerate(curves.items()):
        colour = (BLUE, ORANGE, GREEN, PURPLE, GOLD)[i % 5]
        size = 12 + 120 * windows / max(1, windows.max(initial=1))
        axis.scatter(predicted, observed, s=size, color=colour, marker=MARKERS[i], alpha=0.8, linewidths=0, label=name)
    axis.set(xlabel="probability that the network gives", ylabel="share that is so", xlim=(-0.06, 1.06), ylim=(-0.06, 1.06))
    axis.grid(alpha=0.6)
    _legend_below(figure, len(curves), 1)
    return figure


def embedding_map(
    real: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray], explained: Sequence[float], spread: str | None = None
) -> Figure:
    """Two principal axes of real clips, ``real``: domain -> (n, 2), with the outputs projected on them, ``outputs``: system -> (n, 2).

    A system is shown at its mean; of ``spread`` every output is shown. ``explained``: shares of variance of the two axes.
    """
    figure, axes = new_figure(WIDTH, 3.6)
    axis, looks = axes[0, 0], markers(list(outputs))
    for (domain, x), colour, marker in zip(real.items(), (GOLD, PURPLE, GREEN, ORANGE), "^vsD", strict=False):
        axis.scatter(*x.T, s=22, color=colour, marker=marker, alpha=0.55, linewidths=0, label=f"real {spoken(domain)}")
    if spread in outputs:
        axis.scatter(*outputs[spread].T, s=10, color=looks[spread][1], alpha=0.7, linewidths=0, label=f"{spoken(spread)}, each")
    for name, (marker, colour) in looks.items():
        x, y = outputs[name].mean(axis=0)
        face = colour if group_of(name) in ("systems", "baselines") else "none"
        axis.plot(x, y, marker, color=colour, markersize=8, markeredgewidth=1.4, markerfacecolor=face, linestyle="", label=spoken(name))
    for which, label in enumerate(("first", "second")):
        text = f"{label} principal axis ({explained[which]:.0%} of variance)"
        (axis.set_xlabel if which == 0 else axis.set_ylabel)(text)
    axis.grid(alpha=0.6)
    _legend_below(figure, len(looks) + len(real) + 1)
    return figure
