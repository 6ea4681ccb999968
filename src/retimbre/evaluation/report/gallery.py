"""What a run shows: charts, boards of spectra, pairs to hear, and the report, from the suite's results."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas
from matplotlib.figure import Figure

from retimbre.classifiers.diagnostics import Question, held_out_clips, project, questions
from retimbre.datasets.packed.format import PackedFeatures
from retimbre.evaluation.bench.calibration import Calibration
from retimbre.evaluation.bench.scoring import Result, Scorer
from retimbre.evaluation.report import charts, figures
from retimbre.evaluation.report.boards import board
from retimbre.evaluation.report.legend import spoken
from retimbre.evaluation.report.page import Chart, Contents, write_report
from retimbre.evaluation.report.pairs import build_pairs
from retimbre.evaluation.report.summary import summary
from retimbre.evaluation.results.rows import in_order, main_system, shown_first
from retimbre.evaluation.results.statistics import Interval, bootstrap_mean
from retimbre.evaluation.results.table import compare, intervals
from retimbre.metrics.catalogue import metric

SCATTERS = {  # x, y: both shares, more is better
    "beyond_eq": ("style_beyond_eq", "content_note_f1", "timbre reached: share beyond EQ (hard classifier)"),
    "target_rate": (
        "style_target_rate",
        "content_note_f1",
        "timbre reached: share called target (style classifier)",
    ),
}
FOREST = ("content_note_f1", "style_beyond_eq", "skill", "paired_lsd", "paired_timbre")
AGAINST = "eq_match"
BOARD_DPI, CHART_DPI = 80, 140


class Album:
    """Writes every picture as PNG into a folder, and makes charts SVG for the page.

    ``first``: the systems that the page shows first.
    """

    def __init__(self, folder: Path, first: Sequence[str]):
        self.folder, self.first, self.files = folder, first, []

    def save(self, figure: Figure, name: str, dpi: int = figures.DPI) -> None:
        """A picture beside the page."""
        self.files.append(figures.save(figure, self.folder / f"{name}.png", dpi))

    def add(self, figure: Figure, name: str, label: str, caption: str) -> Chart:
        """A chart of the page; ``label`` is read to those who do not see it."""
        self.save(figure, name, CHART_DPI)
        return chart(figure, name, label, caption)

    def add_both(
        self, draw: Callable[..., Figure], systems: Mapping[str, Any], name: str, *words: str
    ) -> list[Chart]:
        """A chart of all ``systems`` (name -> what ``draw`` shows of it), and one of those shown first."""
        shown = self.add(draw(systems), name, *words)
        some = {system: value for system, value in systems.items() if system in self.first}
        if not some or len(some) == len(systems):
            return [shown]
        few = chart(draw(some), f"{name}_first", *words)
        return [replace(few, view="first"), replace(shown, view="all")]


def chart(figure: Figure, name: str, label: str, caption: str) -> Chart:
    return Chart(name, figures.to_svg(figure, f"chart-{name.replace('_', '-')}", label), caption)


def scatters(table: pandas.DataFrame, album: Album, draws: int, seed: int) -> list[Chart]:
    """Content against timbre, once for each kind of classifier."""
    found, shown = intervals(table[table["item"] != "all"], draws, seed), []
    caption = (
        "Right: more like the target instrument. Up: more of the source's notes. A good transfer sits with "
        "the oracle. Crosses: 95 % intervals."
    )
    for name, (x, y, label) in SCATTERS.items():
        both = [s for s in table.system.unique() if (s, x) in found and (s, y) in found]
        points = {s: (found[s, x], found[s, y]) for s in both}
        if points:
            text = f"Content kept against {label}; the results table has the numbers."
            draw = partial(charts.scatter, x_label=label, y_label="content kept: F1 of the source's notes")
            shown += album.add_both(draw, points, f"scatter_{name}", text, caption)
    return shown


def forests(table: pandas.DataFrame, album: Album, draws: int, seed: int) -> list[Chart]:
    """Paired differences to the equaliser, metric by metric."""
    shown = []
    for name in FOREST:
        rows, column = table[(table.metric == name) & (table["item"] != "all")], metric(name)
        # Of one piece no interval can be had: it would look certain.
        pieces = rows.groupby("system")["item"].nunique()
        if AGAINST not in pieces:
            continue
        others = [s for s in in_order(rows.system.unique()) if s != AGAINST and pieces[s] > 1]
        differences = {s: d for s in others if (d := compare(rows, name, s, AGAINST, draws, seed)).n > 1}
        if differences:
            text = f"Differences of {column.label} to the equaliser with intervals."
            caption = f"{column.label}: hollow marks have 0 within their interval."
            draw = partial(charts.forest, label=column.label, better=column.better)
            shown += album.add_both(draw, differences, f"difference_{name}", text, caption)
    return shown


def classifier_charts(asked: Sequence[Question], album: Album) -> tuple[list[Chart], list[str]]:
    """ROC, precision-recall and calibration on real test windows, and a sentence per question."""
    if not asked:
        return [], []
    roc = charts.rates({q.text: q.roc() for q in asked}, "false positive rate", "true positive rate", True)
    recalls = charts.rates({q.text: q.precision_recall() for q in asked}, "recall", "precision", False)
    reliability = charts.reliability({q.text: q.reliability() for q in asked})
    pictures = {
        "roc": (roc, "ROC curves"),
        "precision_recall": (recalls, "Precision-recall curves"),
        "reliability": (
            reliability,
            "Reliability: on the diagonal a probability means what it says; larger marks: more windows",
        ),
    }
    shown = [
        album.add(figure, name, f"{text}, real test recordings.", f"{text}. Real test recordings.")
        for name, (figure, text) in pictures.items()
    ]
    verdicts = [
        f"{q.text} AUC {q.auc:.3f}, calibration error {q.calibration_error:.3f}; {len(q.truth)} windows, "
        f"{q.truth.sum()} yes."
        for q in asked
    ]
    return shown, verdicts


def embedding_charts(
    results: Sequence[Result],
    scorer: Scorer,
    clips: Mapping[str, Sequence[Any]],
    main: str | None,
    album: Album,
) -> list[Chart]:
    """Outputs among real recordings, in the style classifier's embedding, one map for each direction."""
    real, shown = {d: [scorer.classifiers.embed(x) for x in spectra] for d, spectra in clips.items()}, []
    for direction in dict.fromkeys(r.item.direction for r in results):
        outputs: dict[str, list[Any]] = {}
        for r in results:
            if r.item.direction == direction:
                outputs.setdefault(r.system, []).append(r.scored.embedding)
        if projected := project(real, outputs):
            caption = (
                f"{spoken(direction)}: outputs on the principal axes of real test recordings, in the style "
                "classifier's embedding."
            )
            known, found, explained = projected
            draw = partial(charts.embedding_map, known, explained=explained, spread=main)
            text = f"{caption} Systems are at their means."
            shown += album.add_both(draw, found, f"embedding_{direction}", text, caption)
    return shown


def training_charts(plots: Path, album: Album) -> list[Chart]:
    """A picture of every ``<name>/history.csv``, and on the page a chart of each kind of value."""
    shown = []
    for path in sorted(plots.rglob("history.csv")):
        history = pandas.read_csv(path)
        title = " ".join(path.parent.relative_to(plots).parts)
        name = f"training_{title.replace(' ', '_')}"
        groups = figures.groups_of(history)
        if groups:
            album.save(figures.curves(history, title), name)
        for group, columns in groups.items():
            figure = figures.curves(history[["step", *columns]])
            label = f"{title}, {group}, over the steps of training."
            shown.append(chart(figure, f"{name}_{group}", label, f"{title}: {group}"))
    return shown


def on_real(clips: Mapping[str, Sequence[Any]], scorer: Scorer, draws: int, seed: int) -> dict[str, Interval]:
    """The row of real recordings: the classifiers' rates over all test clips of the first two domains."""
    asked = {name: getattr(scorer.classifiers, name) for name in ("style_target_rate", "style_beyond_eq")}
    heard = [(x, domain) for domain, spectra in list(clips.items())[:2] for x in spectra]
    rates = {name: [rate(*clip) for clip in heard] for name, rate in asked.items()}
    return {name: bootstrap_mean(values, draws, seed) for name, values in rates.items() if heard}


def write_gallery(
    out: Path,
    plots: Path,
    scores: pandas.DataFrame,
    metrics: Mapping[str, Mapping[str, Any]],
    results: Sequence[Result],
    scorer: Scorer,
    features: PackedFeatures,
    params: Mapping[str, Any],
    calibration: Calibration | None = None,
) -> list[Path]:
    """Write ``report.html`` and ``pictures/*.png`` into ``out``; returns report and pictures, for MLflow.

    ``plots``: the folder of the trainings' histories and the classifier's confusion; ``metrics``: the
    summary; ``scorer``: its classifiers are examined on ``features``' test split; ``params``: the whole
    params file as a mapping; ``calibration``: of this run's controls.
    """
    seed, p = params["seed"], params["evaluate"]
    draws, examples = p["bootstrap"], p["audio_examples"]
    album, main = Album(out / "pictures", shown_first(scores)), main_system(scores)
    tops = {name: float(features.statistics[name]["top_db"]) for name in ("cqt", "mel")}
    pairs, seen, left_out = build_pairs(results, scores, scorer, tops, examples)
    seconds = {p.name: p.seconds for p in pairs}
    for name, view in seen.items():
        album.save(board(view, seconds[name], scorer, name, main), f"board_{name}", BOARD_DPI)
    confusion = plots / "classifier" / "confusion.csv"
    answers = pandas.read_csv(confusion, dtype=str) if confusion.is_file() else None
    if answers is not None:
        album.save(figures.confusion(answers), "confusion")
    classifier, verdicts = classifier_charts(questions(scorer.classifiers, features), album)
    clips = held_out_clips(scorer.classifiers, features)
    tried = scores[scores["item"] != "all"]["item"].nunique()
    contents = Contents(
        summary=summary(metrics, main, list(scores.direction.unique()), tried),
        pairs=pairs,
        left_out=left_out,
        scatters=scatters(scores, album, draws, seed),
        forests=forests(scores, album, draws, seed),
        classifier=classifier,
        embedding=embedding_charts(results, scorer, clips, main, album),
        curves=training_charts(plots, album),
        real=on_real(clips, scorer, draws, seed),
        confusion=answers,
        verdicts=verdicts,
        calibration=calibration,
        range_db=features.config.range_db,
    )
    report = out / "report.html"
    write_report(report, scores, contents, params, draws=draws, seed=seed)
    return [report, *sorted(album.files)]
