"""What a run shows: boards of spectra, audio files and the report, from the suite's results."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas

from retimbre.audio.features import FeatureConfig
from retimbre.audio.files import write_wav
from retimbre.evaluation.figures import save, spectrum_board
from retimbre.evaluation.report import Example, Recording, write_report
from retimbre.evaluation.scoring import Result, Scorer

SHOWN = ("eq_match", "cyclegan", "cyclegan_griffin_lim", "cyclegan_source_phase", "cyclegan_wavenet", "oracle")


def examples_of(results: list[Result], count: int, scorer: Scorer) -> list[Example]:
    """The first ``count`` items of each direction: the source, the systems of ``SHOWN``, the true target.

    Pictures show what is heard: levels measured on the audio of every recording.
    """
    c: FeatureConfig = scorer.config
    found: dict[str, list[Result]] = {}
    shown: dict[str, set[str]] = {}
    for result in results:
        names = shown.setdefault(result.item.direction, set())
        if len(names) < count or result.item.name in names:
            names.add(result.item.name)
            found.setdefault(result.item.name, []).append(result)
    examples = []
    for rows in found.values():
        item = rows[0].item
        heard = [("source", item.source.audio), *((r.system, r.output.audio) for name in SHOWN for r in rows if r.system == name)]
        heard += [("target", item.target.audio)] if item.target is not None else []
        recordings = [Recording(name, audio, scorer.levels(audio, scorer.representation)) for name, audio in heard]
        octave = c.cqt_bins_per_octave if scorer.representation == "cqt" else None
        examples.append(
            Example(item.piece, item.direction, recordings, c.sample_rate, scorer.top_db, c.range_db, c.hop_length, octave, item.stratum)
        )
    return examples


def read_history(path: Path) -> list[dict[str, float]]:
    """A history CSV as rows of numbers; empty cells are left out."""
    with path.open(encoding="utf-8", newline="") as file:
        return [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]


def notes_on(metrics: Mapping[str, Mapping[str, float]]) -> list[str]:
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
        "the griffin_lim rows do without."
    )
    return notes


def write_gallery(
    out: Path,
    plots: Path,
    scores: pandas.DataFrame,
    metrics: Mapping[str, Mapping[str, float]],
    examples: list[Example],
    params: Mapping[str, Any],
    seed: int,
    draws: int,
) -> list[Path]:
    """Write ``report.html``, ``audio/*.wav`` and ``pictures/*.png`` into ``out``; returns report and pictures.

    ``plots``: the folder of the trainings' histories. Audio files are named
    ``<source>_to_<target>.<piece>.<row>.wav``.
    """
    pictures = []
    for example in examples:
        name = f"{example.direction}.{example.item}"
        for recording in example.recordings:
            write_wav(out / "audio" / f"{name}.{recording.name}.wav", recording.audio, example.sample_rate)
        panels = {r.name: r.db for r in example.recordings}
        scale = (example.top_db, example.range_db, example.hop_length / example.sample_rate, example.bins_per_octave)
        pictures.append(save(spectrum_board(panels, *scale, title=name), out / "pictures" / f"{name}.png"))
    histories = {
        "CycleGAN": "cyclegan/history",
        "Spectral inverter": "vocoder/inverter",
        "WaveNet": "vocoder/wavenet",
        "Classifier": "classifier/history",
    }
    curves = {title: read_history(plots / f"{name}.csv") for title, name in histories.items()}
    confusion = pandas.read_csv(plots / "classifier" / "confusion.csv")
    classes = list(dict.fromkeys(confusion.actual))
    report = out / "report.html"
    write_report(report, scores, examples, curves, params, notes_on(metrics), confusion, classes, draws=draws, seed=seed)
    return [report, *pictures]
