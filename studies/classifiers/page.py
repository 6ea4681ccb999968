"""Tables and pictures of the study's results: docs/classifiers.md for the embedded data, else beside them."""

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

ROOT, HERE = Path(__file__).resolve().parents[2], Path(__file__).resolve().parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT)]

from retimbre.classifiers.bench.catalogue import ROWS  # noqa: E402
from retimbre.classifiers.bench.listener import SHIPPED  # noqa: E402
from retimbre.classifiers.bench.scores import mcnemar_p  # noqa: E402
from retimbre.errors import RetimbreError  # noqa: E402
from retimbre.evaluation.results.statistics import Interval, hierarchical_difference, holm, permutation_p  # noqa: E402
from tools.figures import inserted, markdown  # noqa: E402

RESULTS, PAGE = HERE / "results", ROOT / "docs" / "classifiers.md"
PICTURES = ROOT / "docs" / "classifiers"
BEGIN, END = "<!-- made by studies/classifiers: do not edit -->", "<!-- end of what is made -->"
MINUTES = (1.0, 4.0, 16.0)  # of training in all; and everything
# A row of each family that is right most often over both fonts; support vectors need more than a minute has.
CURVES = ("features_logistic", "convnet_2d", "scattering_joint", "mel_256_256", "timbral_4x2_entropy")
PUBLISHED = {  # accuracy in percent: Lostanlen and Cella 2016; scattering by Cella's slides (error rates)
    "features_forest": 61.4, "convnet_spiral": 59.9, "convnet_1d": 61.8, "convnet_2d": 69.1,
    "convnet_spiral_1d": 69.1, "convnet_spiral_2d": 71.7, "convnet_1d_2d": 73.8, "convnet_all": 74.0,
    "convnet_2d_48": 71.7, "scattering_time": 68.0, "scattering_joint": 78.0, "scattering_spiral": 80.1,
}  # fmt: skip
# The order of the paper and the slides: (better, worse), and in words.
ORDER = (
    ("convnet_all", "convnet_2d", "the hybrid of all three above 2-d alone"),
    ("convnet_all", "convnet_1d", "the hybrid above 1-d alone"),
    ("convnet_all", "convnet_spiral", "the hybrid above the spiral alone"),
    ("convnet_2d", "features_forest", "learned above hand-made: 2-d above the forest on descriptors"),
    ("scattering_spiral", "convnet_all", "spiral scattering above the hybrid ConvNet"),
    ("scattering_joint", "scattering_time", "2-d scattering above 1-d"),
    ("scattering_spiral", "scattering_joint", "spiral scattering above 2-d"),
)
DRAWS = 2000


def place(source: str, row: str, seed: int, minutes: float | None = None) -> Path:
    """The file of a cell's results."""
    ending = f"-{minutes:g}" if minutes else ""
    return RESULTS / source / f"{row}-{seed}{ending}.json"


class Results:
    """The finished cells of a source, and what they are compared with."""

    def __init__(self, source: str):
        self.source = source
        path = RESULTS / source / "truth.json"
        if not path.is_file():
            raise RetimbreError(f"{path} does not exist: run `make classifiers` first.")
        self.truth = json.loads(path.read_text(encoding="utf-8"))
        self.cells = {name: found for name in ROWS if (found := self.trainings(name))}

    def trainings(self, row: str, minutes: float | None = None) -> list[dict[str, Any]]:
        paths = (place(self.source, row, seed, minutes) for seed in range(1, 100))
        return [json.loads(path.read_text(encoding="utf-8")) for path in paths if path.is_file()]

    @property
    def tags(self) -> bool:
        """True if labels are tags, of which accuracies say nothing."""
        return isinstance(self.truth["test"]["labels"][0], list)

    def of(self, split: str, unit: str) -> tuple[np.ndarray, np.ndarray]:
        """Labels (n,) and recordings (n,) of a set by ``windows`` or ``recordings``."""
        labels, recordings = (np.array(self.truth[split][k]) for k in ("labels", "recordings"))
        if unit == "recordings":
            recordings, first = np.unique(recordings, return_index=True)
            labels = labels[first]
        return labels, recordings

    def right(self, found: list[dict[str, Any]], split: str, unit: str) -> np.ndarray:
        """Which items (trainings, n) are called right."""
        labels, _ = self.of(split, unit)
        return np.array([np.array(one[split][unit]) == labels for one in found])

    def balanced(self, found: list[dict[str, Any]], split: str, unit: str) -> Interval:
        """Balanced accuracy with its interval over recordings and trainings."""
        values = self.weighted(found, split, unit)
        labels, recordings = self.of(split, unit)
        zero = np.zeros((1, values.shape[1]))
        return hierarchical_difference(values, zero, recordings, labels, DRAWS)

    def weighted(self, found: list[dict[str, Any]], split: str, unit: str) -> np.ndarray:
        """Values (trainings, n) whose mean is the balanced accuracy."""
        labels, _ = self.of(split, unit)
        classes, member, counts = np.unique(labels, return_inverse=True, return_counts=True)
        weights = len(labels) / len(classes) / counts[member]
        return self.right(found, split, unit) * weights

    def by_recording(self, row: str) -> np.ndarray:
        """Share of every test recording's windows that are right, mean over trainings: (R,)."""
        _, recordings = self.of("test", "windows")
        right = self.right(self.cells[row], "test", "windows").mean(0)
        return np.bincount(recordings, right) / np.bincount(recordings)


def percent(x: Interval) -> str:
    return f"{100 * x.mean:.1f} ({100 * x.low:.0f}–{100 * min(x.high, 1):.0f})"


def mean(found: list[dict[str, Any]], split: str, name: str) -> float:
    return float(np.mean([one[split][name] for one in found]))


def table(results: Results) -> str:
    """The rows with all figures."""
    shifted = "shifted" in results.truth
    head = [
        "row",
        "parameters",
        "CPU s",
        "trainings",
        "windows, %",
        "recordings, %",
        "macro F1",
        "AUC",
        "ECE",
    ]
    head += ["other font: windows, %", "recordings, %"] if shifted else []
    head += ["published, %"]
    lines = []
    for name, found in results.cells.items():
        line = [f"`{name}`", f"{found[0]['parameters']:,}" if found[0]["parameters"] else "",
                f"{np.mean([one['seconds'] for one in found]):.0f}", str(len(found))]  # fmt: skip
        line += [percent(results.balanced(found, "test", unit)) for unit in ("windows", "recordings")]
        line += [f"{mean(found, 'test', figure):.3f}" for figure in ("macro_f1", "auc", "ece")]
        if shifted:
            line += [percent(results.balanced(found, "shifted", unit)) for unit in ("windows", "recordings")]
        lines.append([*line, f"{PUBLISHED[name]:.1f}" if name in PUBLISHED else ""])
    return markdown(head, lines)


def table_of_tags(results: Results) -> str:
    """The rows with both AUC of tags."""
    lines = [
        [f"`{name}`", f"{found[0]['parameters'] or 0:,}", str(len(found)),
         f"{mean(found, 'test', 'macro_auc'):.4f}", f"{mean(found, 'test', 'micro_auc'):.4f}"]
        for name, found in results.cells.items()
    ]  # fmt: skip
    return markdown(["row", "parameters", "trainings", "AUC, mean over tags", "AUC, pooled"], lines)


def order(results: Results) -> str:
    """The published order, each claim with its difference, interval and p, and a verdict in words."""
    claims = [claim for claim in ORDER if claim[0] in results.cells and claim[1] in results.cells]
    p = holm([permutation_p(results.by_recording(a), results.by_recording(b)) for a, b, _ in claims])
    lines = []
    labels, recordings = results.of("test", "windows")
    for (a, b, says), value in zip(claims, p, strict=True):
        sides = [results.weighted(results.cells[name], "test", "windows") for name in (a, b)]
        d = hierarchical_difference(*sides, recordings, labels, DRAWS)
        published = f"{PUBLISHED[a] - PUBLISHED[b]:+.1f}"
        clear = value < 0.05 and d.low * d.high > 0
        verdict = ("confirmed" if d.mean > 0 else "refuted") if clear else "not decided"
        shown = f"{100 * d.mean:+.1f} ({100 * d.low:+.1f} to {100 * d.high:+.1f})"
        lines.append([says, published, shown, f"{value:.3g}", verdict])
    return markdown(["claim", "published, points", "here, points", "p (Holm)", "verdict"], lines)


def named(rows: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in rows)


def pairs(results: Results) -> str:
    """Number of pairs of rows that differ, by McNemar's test on the first trainings' recordings."""
    right = {name: results.right(found[:1], "test", "recordings")[0] for name, found in results.cells.items()}
    names = list(right)
    every = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
    if not every:
        return ""
    p = holm([mcnemar_p(right[a], right[b]) for a, b in every])
    clear = int(np.sum(p < 0.05))
    most = max(found.mean() for found in right.values())
    best = [name for name in names if right[name].mean() == most]
    behind = [name for (a, b), value in zip(every, p, strict=True) if {a, b} & {*best} and value < 0.05
              for name in (a, b) if name not in best]  # fmt: skip
    said = f"Of {len(every)} pairs of rows {clear} differ by McNemar's exact test on recordings after Holm's "
    said += f"correction. Right most often: {named(best)}; what differs from one of these: "
    return said + (named(dict.fromkeys(behind)) or "nothing") + "."


def curves(results: Results) -> str:
    """Balanced accuracy by minutes of training."""
    lines = []
    for name in (name for name in CURVES if name in results.cells):
        found = [results.trainings(name, m) for m in MINUTES]
        if all(found):
            values = [results.balanced(one, "test", "windows") for one in (*found, results.cells[name])]
            lines.append([f"`{name}`", *map(percent, values)])
    return markdown(["row", *(f"{m:g} min" for m in MINUTES), "all"], lines) if lines else ""


def draw(results: Results, folder: Path) -> None:
    """Accuracy against parameters and training time, and confusions of the best row of every family."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    folder.mkdir(parents=True, exist_ok=True)
    families = list(dict.fromkeys(ROWS[name].family for name in results.cells))
    accuracy = {n: 100 * results.balanced(f, "test", "windows").mean for n, f in results.cells.items()}
    figure, axes = pyplot.subplots(1, 2, figsize=(10, 4), sharey=True, layout="constrained")
    figures = {"parameters": "parameters of the network", "seconds": "CPU seconds of a training"}
    for axis, (what, says) in zip(axes, figures.items(), strict=True):
        for colour, family in enumerate(families):
            known = [
                (max(found[0][what], 0.1), accuracy[name])
                for name, found in results.cells.items()
                if ROWS[name].family == family and found[0][what] is not None
            ]
            axis.scatter(*np.array(known, float).reshape(-1, 2).T, color=f"C{colour}", label=family)
        axis.set(xlabel=says)
        if any(found[0][what] is not None for found in results.cells.values()):
            axis.set_xscale("log")
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("balanced accuracy of windows, %")
    axes[1].legend()
    figure.savefig(folder / "accuracy.png", dpi=90, metadata={"Software": None})
    pyplot.close(figure)
    best = [max((n for n in accuracy if ROWS[n].family == f), key=accuracy.get) for f in families]
    classes, (labels, _) = results.truth["classes"], results.of("test", "windows")
    columns = min(3, len(best))
    lines = -(-len(best) // columns)
    size = (3.2 * columns + 0.6, 3.3 * lines + 0.6)
    figure, axes = pyplot.subplots(lines, columns, figsize=size, layout="compressed", squeeze=False)
    for number, axis in enumerate(axes.flat):
        if number >= len(best):
            axis.set_visible(False)
            continue
        counts = np.zeros((len(classes), len(classes)))
        for one in results.cells[best[number]]:
            np.add.at(counts, (labels, np.array(one["test"]["windows"])), 1)
        axis.imshow(counts / np.maximum(counts.sum(1, keepdims=True), 1), vmin=0, vmax=1, cmap="Blues")
        axis.set_title(best[number], fontsize=8)
        last, first = number + columns >= len(best), number % columns == 0
        axis.set_xticks(range(len(classes)), classes if last else [], rotation=90, fontsize=6)
        axis.set_yticks(range(len(classes)), classes if first else [], fontsize=6)
    figure.savefig(folder / "confusions.png", dpi=90, metadata={"Software": None})
    pyplot.close(figure)


def listener() -> str:
    """Figures of the weights of `retimbre classify`."""
    path = SHIPPED / "metrics.json"
    if not path.is_file():
        return ""
    found = json.loads(path.read_text(encoding="utf-8"))
    lines = [
        [says, *(f"{100 * found[f'{split}_{figure}']:.1f} %" for split in ("test", "shifted"))]
        for figure, says in {
            "recordings": "balanced accuracy by recording",
            "windows": "by window",
            "called_none": "windows called *none of these*",
        }.items()
    ]
    said = (
        f"Of organ, harp, marimba and choir {100 * found['strangers_called_none']:.1f} % of the windows are "
    )
    head = ["the weights that ship", "test scores, same font", "another font"]
    return f"{markdown(head, lines)}\n\n{said}called *none of these*."


def made(results: Results) -> str:
    """The tables that the command writes."""
    if results.tags:
        return table_of_tags(results)
    parts = [table(results), "## The published order", order(results), pairs(results)]
    if shown := curves(results):
        parts += ["## Minutes of training", shown]
    validated = [(n, f[0]["cross_validated"]) for n, f in results.cells.items() if "cross_validated" in f[0]]
    if validated:
        said = ", ".join(f"`{name}` {100 * value:.1f} %" for name, value in validated)
        parts += [f"Five stratified folds of the training windows, recordings kept whole: {said}."]
    if results.source == "soundfont" and (shown := listener()):
        parts += ["## Figures of `retimbre classify`", shown]
    return "\n\n".join(part for part in parts if part)


def write(source: str) -> None:
    """The page and pictures of a source's results."""
    results = Results(source)
    if not results.cells:
        return
    if source != "soundfont":
        folder = RESULTS / source
        (folder / "table.md").write_text(made(results) + "\n", encoding="utf-8")
        if not results.tags:
            draw(results, folder)
        print(folder / "table.md")
        return
    draw(results, PICTURES)
    PAGE.write_text(inserted(PAGE, BEGIN, END, made(results)), encoding="utf-8")
    print(PAGE)
