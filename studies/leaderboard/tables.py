"""The page of the leaderboard, made of ``results/``: ``docs/leaderboard.md``, ``.json`` and ``.webp``."""

import json
import string
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from retimbre.evaluation.results.rows import GROUPS, group_of, in_order
from retimbre.evaluation.results.rows import about as about_row
from retimbre.evaluation.results.statistics import bootstrap_mean
from retimbre.metrics.catalogue import SIGNS, metric
from retimbre.systems import catalogue
from studies.leaderboard import study
from tools.figures import markdown

DOCS = study.ROOT / "docs"
PAGE, FIGURES, PLOT = (DOCS / f"leaderboard.{ending}" for ending in ("md", "json", "webp"))
CONTENT, TIMBRE = "score_f1_of_true", "style_beyond_eq"  # of the plot
LETTER, LINE = 0.0125, 0.026  # width and height of its letters, in units of its axes
SHOWN = {  # the columns of every table
    "main": (CONTENT, "energy_lost", "energy_ghosts", TIMBRE, "style_target_rate", "skill_shifted",
             "paired_lsd_shifted", "paired_mrstft_shifted"),
    "unseen": ("score_f1_of_true", "score_precision_of_true", "score_recall_of_true", "energy_lost",
               "style_target_rate"),
}  # fmt: skip
SHOWN["flute_violin"] = SHOWN["main"]
GPU = "leaderboard_gpu"
DIGITS = 3
TEXT = Path(__file__).with_name("page.md")


def both(values: dict[str, Any], shown: tuple[str, ...]) -> dict[str, Any]:
    """Means with intervals over both directions, means of each direction, of the ``shown`` metrics."""
    pieces = [item.split("/", 1)[1] for item in values["items"]]
    directions = np.array([item.split("/")[0] for item in values["items"]])
    found: dict[str, Any] = {"items": len(pieces), "means": {}, "directions": defaultdict(dict)}
    for name in shown:
        x = np.array(values["values"].get(name, [np.nan] * len(pieces)), np.float64)
        if not np.isfinite(x).any():
            continue
        interval = bootstrap_mean(x, groups=pieces)
        found["means"][name] = [rounded(v) for v in (interval.mean, interval.low, interval.high)]
        for direction in dict.fromkeys(directions):
            part = x[directions == direction]
            if np.isfinite(part).any():
                found["directions"][direction][name] = rounded(float(np.nanmean(part)))
    return found


def rounded(value: float) -> float:
    return float(f"{value:.4g}")


def summarise(rows: dict[str, study.Row]) -> dict[str, Any]:
    """``docs/leaderboard.json``: set -> row -> its group, cost, means, directions; or why it has none."""
    found: dict[str, Any] = {}
    for which in study.SETS:
        found[which] = {}
        for name in in_order(study.wanted(rows, which)):
            row = rows[name]
            if (values := study.result_of(row, which)) is None or "hears" in values:
                continue
            entry = {"group": group_of(name), "system": row.system}
            if "failed" in values:
                found[which][name] = entry | {"failed": values["failed"]}
                continue
            cost = ("parameters", "steps", "training_cpu_minutes", "seconds_per_second")
            entry |= {key: values[key] for key in cost} | both(values, SHOWN[which])
            if "scrambled" in values:
                entry["scrambled"] = both(values["scrambled"], SHOWN[which])["means"]
            found[which][name] = entry
    found["gpu"] = [name for name, row in study.read(GPU).items() if study.result_of(row, "main", GPU)]
    return found


# --------------------------------------------------------------------------------------------- page


def said(values: list[float]) -> str:
    mean, low, high = values
    return f"{mean:.{DIGITS}g} [{low:.{DIGITS}g}, {high:.{DIGITS}g}]"


def linked(name: str, entry: dict[str, Any]) -> str:
    """A row's name, leading to its page."""
    page = f"systems/{entry['system']}.md"
    if (DOCS / page).is_file():
        return f"[{name}]({page})"
    return f"[{name}](baselines.md)" if entry["group"] == "baselines" else name


def heads(shown: tuple[str, ...]) -> list[str]:
    return [f"{metric(name).title} {SIGNS[metric(name).better]}" for name in shown]


def table(found: dict[str, Any], shown: tuple[str, ...]) -> str:
    rows = []
    for name, entry in found.items():
        if "failed" in entry:
            rows.append([linked(name, entry), "", f"failed: {entry['failed']}", *[""] * (len(shown) - 1)])
            continue
        cells = [said(entry["means"][m]) if m in entry["means"] else "–" for m in shown]
        rows.append([linked(name, entry), str(entry["items"]), *cells])
    return markdown(["row", "items", *heads(shown)], rows)


def by_direction(found: dict[str, Any], shown: tuple[str, ...]) -> str:
    rows = []
    for name, entry in found.items():
        for direction, means in entry.get("directions", {}).items():
            cells = [f"{means[m]:.{DIGITS}g}" if m in means else "–" for m in shown]
            rows.append([name, direction.replace("_to_", " → "), *cells])
    return markdown(["row", "direction", *heads(shown)], rows)


def costs(found: dict[str, Any]) -> str:
    """Of what is trained, and of what takes time: parameters, steps, minutes, seconds."""
    rows = [
        [
            name,
            f"{entry['parameters']:,}" if entry["parameters"] else "–",
            f"{entry['steps']:,.0f}" if entry["steps"] else "–",
            f"{entry['training_cpu_minutes']:.1f}" if entry["training_cpu_minutes"] else "–",
            f"{entry['seconds_per_second']:.2g}",
            f"{entry['scrambled'][CONTENT][0]:.2g}" if CONTENT in entry.get("scrambled", {}) else "–",
        ]
        for name, entry in found.items()
        if "failed" not in entry and entry["group"] != "controls"
    ]
    head = [
        "row",
        "trained parameters",
        "steps",
        "CPU minutes of training",
        "CPU seconds per second of audio",
    ]
    return markdown([*head, f"{metric(CONTENT).label}, scrambled"], rows)


def paragraphs(found: dict[str, Any], rows: dict[str, study.Row]) -> str:
    """A paragraph on every row that has something, its numbers taken from the results."""
    parts = []
    for name, entry in found.items():
        means = {key: values[0] for key, values in entry.get("means", {}).items()}
        text = rows[name].text.format(**means).strip() if means else ""
        first = about_row(name) or catalogue.about(entry["system"])
        parts.append(f"- **{name}**. {first} {text}".strip())
    return "\n".join(parts)


def page(found: dict[str, Any], rows: dict[str, study.Row]) -> str:
    """``docs/leaderboard.md``: ``page.md``, filled from ``docs/leaderboard.json`` and the rows' texts."""
    main, none = found["main"], "Not measured yet."
    missing = ", ".join(name for name in rows if name not in main)
    made = {
        "main": table(main, SHOWN["main"]),
        "costs": costs(main),
        "directions": by_direction(main, SHOWN["main"]),
        "paragraphs": paragraphs(main, rows),
        "missing": f"Not measured yet: {missing}." if missing else "",
        "gpu": f"run for {', '.join(found['gpu'])}" if found["gpu"] else "not run",
    }
    for which in ("flute_violin", "unseen"):
        made[which] = table(found[which], SHOWN[which]) if found[which] else none
    return string.Template(TEXT.read_text(encoding="utf-8")).substitute(made)


# --------------------------------------------------------------------------------------------- plot


def plot(found: dict[str, Any], path: Path) -> None:
    """Content against timbre, with intervals, as a picture."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import patheffects, pyplot

    figure, axes = pyplot.subplots(figsize=(9, 6.5), layout="constrained")
    looks = dict(zip(GROUPS, (("0.55", "s"), ("C1", "o"), ("C0", "o"), ("C2", "o")), strict=True))
    seen: set[str] = set()
    points = [
        (name, entry["group"], *entry["means"][TIMBRE], *entry["means"][CONTENT])
        for name, entry in found.items()
        if {TIMBRE, CONTENT} <= set(entry.get("means", {}))
    ]
    for (name, group, x, left, right, y, low, high), place in zip(points, places(points), strict=True):
        color, marker = looks[group]
        axes.plot([left, right], [y, y], color=color, lw=0.8, alpha=0.6)
        axes.plot([x, x], [low, high], color=color, lw=0.8, alpha=0.6)
        label = None if group in seen else group
        axes.plot(x, y, marker, color=color, ms=6, label=label)
        seen.add(group)
        leader = {"arrowstyle": "-", "lw": 0.4}
        text = axes.annotate(name, (x, y), place, color=color, fontsize=9, arrowprops=leader, zorder=4)
        text.set_path_effects([patheffects.withStroke(linewidth=2.5, foreground="white")])
    axes.set(xlabel=f"timbre: {metric(TIMBRE).label}", ylabel=f"content: {metric(CONTENT).label}")
    axes.set(xlim=(-0.03, 1.2), ylim=(-0.03, 1.12))
    axes.grid(alpha=0.3)
    axes.legend(loc="center right")  # where no row is: below the oracle, right of the baselines
    figure.savefig(path, dpi=90)
    pyplot.close(figure)


def places(points: list[tuple]) -> list[tuple[float, float]]:
    """Places of the names, so that none lies over another or over a point: beside their own, right or left,
    moved down as needed.
    """
    marks = [(point[2] - 0.01, point[2] + 0.01, point[5] - 0.01, point[5] + 0.01) for point in points]
    taken: list[tuple[float, float, float, float]] = []  # left, right, bottom, top
    found = {}
    for i in sorted(range(len(points)), key=lambda i: -points[i][5]):
        name, (x, y) = points[i][0], (points[i][2], points[i][5])
        wide = LETTER * len(name)
        lefts = [left for left in (x + 0.015, x - 0.015 - wide) if left > -0.01]
        down = (0.012 - 0.008 * n for n in range(200))
        left, bottom = next(
            (left, y + step)
            for step in down
            for left in lefts
            if not any(
                left < r and left + wide > m and y + step < t and y + step + LINE > b
                for m, r, b, t in (*taken, *marks)
            )
        )
        taken.append((left, left + wide, bottom, bottom + LINE))
        found[i] = left, bottom
    return [found[i] for i in range(len(points))]


def write() -> None:
    """Write the page, its figures and its picture."""
    rows = study.read()
    found = summarise(rows)
    FIGURES.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    plot(found["main"], PLOT)
    PAGE.write_text(page(json.loads(FIGURES.read_text(encoding="utf-8")), rows), encoding="utf-8")
    print(PAGE.relative_to(study.ROOT))
