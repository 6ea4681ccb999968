"""``report.html``: everything a run has to show in one file that opens from disk, without a network.

Sound is embedded as FLAC (lossless, about half of WAV, played by every current browser), pictures as
PNG. No script is needed to read it; a few lines of it pause one player when another starts.
"""

import base64
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import soundfile
import yaml
from jinja2 import Environment, FileSystemLoader, select_autoescape

from retimbre.datasets.atomic import write_atomically
from retimbre.evaluation import figures
from retimbre.evaluation.statistics import Interval
from retimbre.evaluation.table import intervals

TEMPLATE = "report.html.j2"


@dataclass(frozen=True)
class Recording:
    """One thing to hear and see. ``name`` is a system of the table, or ``source`` or ``target``."""

    name: str
    audio: np.ndarray  # (N,) float, full scale 1
    db: np.ndarray | None = None  # (F, T) levels; None: no picture


@dataclass(frozen=True)
class Example:
    """One test piece in one direction: the source, what the systems made of it, and the true target, in the order shown."""

    item: str
    direction: str  # <source>_to_<target>
    recordings: Sequence[Recording]
    sample_rate: int
    top_db: float  # of the one colour scale of all pictures
    range_db: float
    hop_length: int
    bins_per_octave: int | None = None  # of a constant-Q picture; None: plain bins
    stratum: str = ""


@dataclass(frozen=True)
class Column:
    """How a metric is shown: short label, which way is better, and what it means in a sentence."""

    label: str
    better: str  # up | down | none
    meaning: str


COLUMNS = {
    "content_note_f1": Column("notes kept", "up", "F1 of the source's note onsets (50 ms, 50 cents); its ceiling is the oracle row."),
    "content_chroma_ratio": Column("chroma ratio", "up", "Likeness of pitch classes to the source, relative to the true target's."),
    "content_rpa": Column("pitch kept", "up", "Share of voiced frames within 50 cents of the source, on single-line tunes."),
    "style_beyond_eq": Column(
        "beyond EQ", "up", "Share of windows that the hard judge takes for the real target, not an equalised source (90 % sure)."
    ),
    "style_target_rate": Column("target rate", "up", "Share of windows that an ordinary classifier calls the target; easy to fool."),
    "feature_lsd": Column("feature LSD", "down", "Log-spectral distance in dB to the true target, in the generators' own features."),
    "skill": Column("skill", "up", "Feature LSD from 0 = source unchanged to 1 = a second performance on the true instrument."),
    "paired_lsd": Column("LSD", "down", "Log-spectral distance in dB to the true target's audio, as in ss-vq-vae."),
    "paired_mel_l1_db": Column("mel L1", "down", "Mean difference of log-mel levels in dB to the true target's audio."),
    "paired_timbre": Column("MFCC distance", "down", "1 - cosine of mean MFCCs to the true target: average colour of the sound."),
    "fail_muted": Column("muted", "down", "Share of outputs that sound in less than half as many frames as the source."),
    "fail_level": Column("level off", "down", "Share of outputs whose loudness differs from the source's by more than 6 LU."),
    "fail_unchanged": Column("unchanged", "down", "Share of outputs that are nearer to their source than real targets are."),
    "fail_collapsed": Column("collapsed", "down", "1 when a direction's outputs are far more alike than real recordings."),
    "rtf": Column("time", "down", "Seconds of computing per second of audio."),
}

ROWS = {
    "source": "The recording that is to be transferred.",
    "target": "The same performance on the target instrument: what a perfect transfer would sound like.",
    "copy": "Control: the source, unchanged. Best content, no transfer.",
    "eq_match": "Control: the source with the target's average spectrum (an equaliser).",
    "eq_affine": "Control: the source with the target's average and spread in every frequency bin.",
    "oracle": "Control: another performance of the same score on the true target instrument. As good as it gets.",
    "unrelated": "Control: the target instrument playing another tune. Best timbre, no content.",
    "cyclegan": "CycleGAN with the default route to audio.",
    "cyclegan_wavenet": "CycleGAN with the WaveNet vocoder, on a few pieces only.",
    "cyclegan_source_phase": "CycleGAN on the phase of the source recording.",
    "cyclegan_griffin_lim": "CycleGAN with a route to audio that does not use the source's phase.",
}
CONTROLS = ("copy", "eq_match", "eq_affine", "oracle", "unrelated")
SCATTER = ("style_beyond_eq", "content_note_f1")


def audio_uri(audio: np.ndarray, sample_rate: int) -> str:
    """Mono audio (N,) as a data URI (FLAC, 16 bit); values beyond full scale are clipped."""
    buffer = io.BytesIO()
    soundfile.write(buffer, np.clip(audio, -1, 1), sample_rate, format="FLAC", subtype="PCM_16")
    return "data:audio/flac;base64," + base64.b64encode(buffer.getvalue()).decode()


def image_uri(png: bytes) -> str:
    """A PNG as a data URI."""
    return "data:image/png;base64," + base64.b64encode(png).decode()


def number(value: float, digits: int = 3) -> str:
    """About three significant digits without exponents and never more than three decimals: 0.853, 12.3, 1240."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else "–"
    decimals = min(digits, max(0, digits - 1 - math.floor(math.log10(abs(value)))))
    return f"{value:.{decimals}f}".replace("-", "−")


def spoken(direction: str) -> str:
    """``piano_to_guitar`` as people write it."""
    return direction.replace("_to_", " → ").replace("_", " ")


def about(system: str) -> str:
    """A sentence on a row of the table."""
    if system.startswith("vocoder_"):
        route = system.removeprefix("vocoder_").replace("_", " ")
        return f"The true target rebuilt from its own features ({route}): the best that this route to audio allows."
    return ROWS.get(system, "")


def _headline(table: pandas.DataFrame, draws: int, seed: int) -> list[dict[str, Any]]:
    """One row per system, controls first as in the table: cells in the order of COLUMNS."""
    measured = [m for m in COLUMNS if m in set(table.metric)]
    found = intervals(table[table.metric.isin(measured)], draws, seed)
    rows = []
    for system in table.system.unique():
        cells = [found.get((system, metric)) for metric in measured]
        pieces = int(table[(table.system == system) & (table["item"] != "all")].groupby(["direction", "item"]).ngroups)
        rows.append({"system": system, "about": about(system), "control": system in CONTROLS, "cells": cells, "pieces": pieces})
    return rows


def _scatter(table: pandas.DataFrame, draws: int, seed: int) -> str | None:
    found: dict[tuple[str, str], Interval] = intervals(table[table.metric.isin(SCATTER)], draws, seed)
    systems = [s for s in table.system.unique() if all((s, m) in found for m in SCATTER)]
    if not systems:
        return None
    points = {s: tuple((i.mean, i.low, i.high) for i in (found[s, m] for m in SCATTER)) for s in systems}
    figure = figures.scatter(points, "timbre reached: share of windows beyond EQ", "content kept: F1 of the source's notes")
    return image_uri(figures.to_png(figure))


def _example(example: Example) -> dict[str, Any]:
    """What the template needs of an example; players are levelled to one RMS, so that loudness does not decide what is liked."""
    players = []
    for recording in example.recordings:
        rms = float(np.sqrt(np.mean(np.square(recording.audio, dtype=np.float64))))
        peak = float(np.abs(recording.audio).max(initial=0.0))
        gain = min(0.1 / rms, 0.99 / peak) if rms > 1e-5 else 1.0
        uri = audio_uri(gain * recording.audio, example.sample_rate)
        players.append({"name": recording.name, "about": about(recording.name), "uri": uri})
    panels = {r.name.replace("_", " "): r.db for r in example.recordings if r.db is not None}
    picture = None
    if panels:
        scale = (example.top_db, example.range_db, example.hop_length / example.sample_rate, example.bins_per_octave)
        picture = image_uri(figures.to_png(figures.spectrum_board(panels, *scale), dpi=90))
    heading = {"item": example.item, "direction": example.direction, "stratum": example.stratum}
    return heading | {"players": players, "picture": picture, "panels": list(panels)}


def write_report(
    path: str | Path,
    table: pandas.DataFrame,
    examples: Sequence[Example],
    curves: Mapping[str, Sequence[Mapping[str, float]]],
    params: Mapping[str, Any],
    notes: Sequence[str] = (),
    confusion: pandas.DataFrame | None = None,
    classes: Sequence[str] = (),
    title: str = "Timbre transfer: what was reached",
    draws: int = 1000,
    seed: int = 0,
) -> None:
    """Write the report, atomically.

    ``table``: the long table (:mod:`retimbre.evaluation.table`, with skill); ``curves``: training name ->
    history rows; ``params``: the whole params file as a mapping; ``notes``: sentences shown on top (what to
    beware of); ``confusion``: rows (actual, predicted) of the instrument classifier over ``classes``.
    """
    loader, escape = FileSystemLoader(Path(__file__).parent), select_autoescape(["html", "j2"])
    environment = Environment(loader=loader, autoescape=escape, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"number": number, "spoken": spoken}
    directions = list(table.direction.unique())
    values = {
        "title": title,
        "notes": list(notes),
        "columns": [(m, c) for m, c in COLUMNS.items() if m in set(table.metric)],
        "headline": _headline(table, draws, seed),
        "by_direction": {d: _headline(table[table.direction == d], draws, seed) for d in directions} if len(directions) > 1 else {},
        "directions": directions,
        "pieces": int(table[table["item"] != "all"]["item"].nunique()),
        "scatter": _scatter(table, draws, seed),
        "examples": [_example(e) for e in examples],
        "curves": {name: image_uri(figures.to_png(figures.curves(rows))) for name, rows in curves.items() if rows},
        "confusion": image_uri(figures.to_png(figures.confusion(confusion, classes))) if confusion is not None and len(confusion) else None,
        "params": yaml.safe_dump(dict(params), sort_keys=False, allow_unicode=True),
    }
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with write_atomically(path) as file:
        file.write(environment.get_template(TEMPLATE).render(values))
