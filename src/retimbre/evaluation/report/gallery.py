"""What a run shows: charts, boards of spectra, pairs to hear, and the report, from the suite's results."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas
from matplotlib.figure import Figure

from retimbre.classifiers.examination import Examination, examine, judged_real, project, real_clips
from retimbre.datasets.packed.format import PackedFeatures
from retimbre.evaluation.bench.calibration import Calibration
from retimbre.evaluation.bench.scoring import Result, Scorer
from retimbre.evaluation.report import charts, figures
from retimbre.evaluation.report.boards import board
from retimbre.evaluation.report.page import Chart, Contents, legend, write_report
from retimbre.evaluation.report.pairs import build_pairs
from retimbre.evaluation.results.statistics import Interval, bootstrap_mean
from retimbre.evaluation.results.table import compare, intervals

SCATTERS = {  # x, y: both shares, more is better
    "beyond_eq": ("style_beyond_eq", "content_note_f1", "timbre reached: share beyond EQ (hard judge)"),
    "target_rate": ("style_target_rate", "content_note_f1", "timbre reached: share called target (ordinary judge)"),
}
FOREST = ("content_note_f1", "style_beyond_eq", "skill", "paired_lsd", "paired_timbre")
AGAINST = "eq_match"
HISTORIES = {
    "CycleGAN": "cyclegan/history",
    "Spectral inverter": "vocoder/inverter",
    "Inverse-STFT vocoder": "vocoder/istft",
    "WaveNet": "vocoder/wavenet",
    "Excited WaveNet": "vocoder/excited",
    "Classifier": "classifier/history",
}
BOARD_DPI = 80


class Album:
    """Writes every chart as PNG into a folder and keeps it as SVG for the page."""

    def __init__(self, folder: Path):
        self.folder, self.files = folder, []

    def add(self, figure: Figure, name: str, label: str, caption: str) -> Chart:
        """The chart ``name``; ``label`` is read to those who do not see it."""
        self.files.append(figures.save(figure, self.folder / f"{name}.png", dpi=140))
        return Chart(name, figures.to_svg(figure, f"chart-{name.replace('_', '-')}", label), caption)


def read_history(path: Path) -> list[dict[str, float]]:
    """A history CSV as rows of numbers; empty cells are left out. No file: no rows."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]


def notes_on(metrics: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Sentences that a reader should see before the numbers: what this run failed at, and what to beware of."""
    notes = ["One training run: the intervals cover the choice of test pieces, not the choice of seed."]
    cyclegan, eq, copy = (metrics.get(name, {}) for name in ("cyclegan", "eq_match", "copy"))
    if cyclegan.get("fail_muted", 0) > 0:
        notes.append(f"{cyclegan['fail_muted']:.0%} of the CycleGAN's outputs are muted.")
    if "feature_lsd" in cyclegan and cyclegan["feature_lsd"] >= min(eq.get("feature_lsd", 1e9), copy.get("feature_lsd", 1e9)):
        notes.append("The CycleGAN is no nearer to the true target than an equaliser or the unchanged source: this training failed.")
    if cyclegan.get("style_beyond_eq", 1) < 0.5:
        notes.append("The hard judge takes most of the CycleGAN's output for an equalised source: no more than an equaliser was learnt.")
    notes.append(
        "Outputs on the source's phase inherit its notes and timing: their content scores must not be credited to the generator; "
        "rows that name another vocoder do without."
    )
    return notes


def scatters(table: pandas.DataFrame, album: Album, draws: int, seed: int) -> list[Chart]:
    """Content against timbre, once for each judge."""
    found, shown = intervals(table[table["item"] != "all"], draws, seed), []
    for name, (x, y, label) in SCATTERS.items():
        points = {s: (found[s, x], found[s, y]) for s in table.system.unique() if (s, x) in found and (s, y) in found}
        if points:
            figure = charts.scatter(points, label, "content kept: F1 of the source's notes")
            text = f"Content kept against {label} for {len(points)} systems; the numbers are in the results table."
            caption = "Right: more like the target instrument. Up: more of the source's notes. A good transfer sits with the oracle."
            shown.append(album.add(figure, f"scatter_{name}", text, f"{caption} Crosses: 95 % intervals."))
    return shown


def forests(table: pandas.DataFrame, album: Album, draws: int, seed: int) -> list[Chart]:
    """Paired differences to the equaliser, metric by metric."""
    shown = []
    for metric in FOREST:
        rows, column = table[(table.metric == metric) & (table["item"] != "all")], legend.column(metric)
        pieces = rows.groupby("system")["item"].nunique()  # of one piece no interval can be had: its mark would look certain
        others = [s for s in legend.in_order(rows.system.unique()) if s != AGAINST and pieces[s] > 1]
        if AGAINST not in set(rows.system):
            continue
        differences = {s: d for s in others if (d := compare(rows, metric, s, AGAINST, draws, seed)).n > 1}
        if differences:
            text = f"Paired differences of {column.label} to the equaliser for {len(differences)} systems, with 95 % intervals."
            caption = f"{column.label}: hollow marks have 0 within their interval."
            shown.append(album.add(charts.forest(differences, column.label, column.better), f"difference_{metric}", text, caption))
    return shown


def classifier_charts(asked: Sequence[Examination], album: Album) -> tuple[list[Chart], list[str]]:
    """ROC, precision-recall and calibration on real test windows, and a sentence per question."""
    if not asked:
        return [], []
    pictures = [
        ("roc", charts.rates({e.question: e.roc() for e in asked}, "false positive rate", "true positive rate", True), "ROC curves"),
        ("precision_recall", charts.rates({e.question: e.precision_recall() for e in asked}, "recall", "precision", False),
         "Precision-recall curves"),
        ("reliability", charts.reliability({e.question: e.reliability() for e in asked}),
         "Reliability: on the diagonal a probability means what it says; larger marks stand for more windows"),
    ]  # fmt: skip
    shown = [album.add(figure, name, f"{text}, real test recordings.", f"{text}. Real test recordings.") for name, figure, text in pictures]
    verdicts = [
        f"{e.question} AUC {e.auc:.3f}, calibration error {e.calibration_error:.3f}; {len(e.truth)} windows, {int(e.truth.sum())} yes."
        for e in asked
    ]
    return shown, verdicts


def embedding_charts(
    results: Sequence[Result], scorer: Scorer, clips: Mapping[str, Sequence[Any]], table: pandas.DataFrame, album: Album
) -> list[Chart]:
    """Outputs among real recordings, in the ordinary judge's embedding, one map for each direction."""
    real, shown, main = {d: [scorer.judges.embed(x) for x in levels] for d, levels in clips.items()}, [], legend.main_system(table)
    for direction in dict.fromkeys(r.item.direction for r in results):
        outputs: dict[str, list[Any]] = {}
        for r in results:
            if r.item.direction == direction:
                outputs.setdefault(r.system, []).append(r.scored.embedding)
        if projected := project(real, outputs):
            caption = (
                f"{legend.spoken(direction)}: outputs on the principal axes of real test recordings, in the ordinary judge's embedding."
            )
            figure = charts.embedding_map(*projected, spread=main)
            shown.append(album.add(figure, f"embedding_{direction}", f"{caption} {len(outputs)} systems at their means.", caption))
    return shown


def training_charts(plots: Path) -> list[Chart]:
    """One chart for each kind of value in the trainings' histories; their PNG are in ``plots`` already."""
    shown = []
    for title, name in HISTORIES.items():
        rows = read_history(plots / f"{name}.csv")
        for group in sorted({key.split("/")[0] for row in rows for key in row} - {"step"}):
            part = [{k: v for k, v in row.items() if k == "step" or k.split("/")[0] == group} for row in rows]
            chart = f"{name.replace('/', '-')}-{group}"
            svg = figures.to_svg(figures.curves(part), f"chart-{chart}", f"{title}, {group}, over the steps of training.")
            shown.append(Chart(chart, svg, f"{title}: {group}"))
    return shown


def judges_on_real(clips: Mapping[str, Sequence[Any]], scorer: Scorer, draws: int, seed: int) -> dict[str, Interval]:
    """The row of real recordings: the judges' metrics over all test clips of both domains."""
    values: dict[str, list[float]] = {}
    for by_metric in judged_real(scorer.judges, dict(list(clips.items())[:2])).values():
        for metric, numbers in by_metric.items():
            values.setdefault(metric, []).extend(numbers)
    return {metric: bootstrap_mean(numbers, draws, seed) for metric, numbers in values.items() if numbers}


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

    ``plots``: the folder of the trainings' histories; ``metrics``: the summary; ``scorer``: its judges are examined on
    ``features``' test split; ``params``: the whole params file as a mapping; ``calibration``: of this run's controls.
    """
    seed, draws, examples = params["seed"], params["evaluate"]["bootstrap"], params["evaluate"]["audio_examples"]
    album = Album(out / "pictures")
    tops = {name: float(features.statistics[name]["top_db"]) for name in ("cqt", "mel")}
    pairs, seen, left_out = build_pairs(results, scores, scorer, tops, examples)
    seconds = {p.name: p.seconds for p in pairs}
    for name, view in seen.items():
        album.files.append(figures.save(board(view, seconds[name], scorer, name), out / "pictures" / f"board_{name}.png", BOARD_DPI))
    asked, answers = examine(scorer.judges, features, params["classifier"]["representation"])
    clips = real_clips(scorer.judges, features)
    classifier, verdicts = classifier_charts(asked, album)
    if len(answers):
        album.files.append(figures.plot_confusion(out / "pictures" / "confusion.png", answers, list(dict.fromkeys(answers.actual))))
    contents = Contents(
        pairs=pairs,
        left_out=left_out,
        scatters=scatters(scores, album, draws, seed),
        forests=forests(scores, album, draws, seed),
        classifier=classifier,
        embedding=embedding_charts(results, scorer, clips, scores, album),
        curves=training_charts(plots),
        real=judges_on_real(clips, scorer, draws, seed),
        confusion=answers,
        verdicts=verdicts,
        calibration=calibration,
        range_db=features.config.range_db,
    )
    report = out / "report.html"
    write_report(report, scores, contents, params, notes_on(metrics), draws=draws, seed=seed)
    return [report, *sorted(album.files)]
