"""Boards for ``dvc plots`` and MLflow: recordings of one piece side by side on one scale."""

from collections.abc import Sequence

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure

from retimbre.evaluation.bench.scoring import Scorer
from retimbre.evaluation.report.figures import new_figure
from retimbre.evaluation.report.legend import spoken
from retimbre.evaluation.report.media import pooled
from retimbre.evaluation.report.pairs import C4_HZ, Views, mel_ticks
from retimbre.evaluation.report.pianoroll import counts, draw
from retimbre.evaluation.report.rainbowgram import BINS_PER_OCTAVE, colours, hue_circle, octave_ticks

COLUMNS = 5


def columns_of(names: Sequence[str], main: str | None) -> list[str]:
    """The recordings of a board: source, an equaliser, the main system in two ways, others, target."""
    ways = [n for n in names if main and (n == main or n.startswith(f"{main}_"))][:2]
    chosen = [n for n in names if n in ("source", "eq_match", "target", *ways)]
    chosen += [n for n in names if n not in chosen][: COLUMNS - len(chosen)]
    return sorted(chosen, key=lambda n: (n == "target", n != "source", list(names).index(n)))


def board(view: Views, seconds: float, scorer: Scorer, title: str, main: str | None) -> Figure:
    """Rows: constant-Q, mel, rainbowgram, piano roll against the source. Columns: recordings. Time in s."""
    c, names = scorer.config, columns_of(list(view.cqt_db), main)
    width, shared = 2.7 * len(names) + 0.9, {"sharex": True, "sharey": "row"}
    figure, axes = new_figure(width, 8.2, 4, len(names), layout=None, **shared)
    figure.subplots_adjust(left=0.075, right=0.9, top=0.92, bottom=0.07, wspace=0.06, hspace=0.2)
    scale = {"origin": "lower", "aspect": "auto", "interpolation": "nearest", "extent": (0, seconds, 0, 1)}
    octaves = c.cqt_bins / c.cqt_bins_per_octave
    ticks = (
        octave_ticks(np.log2(c.cqt_fmin_hz / C4_HZ) + 4, octaves),
        mel_ticks(c.frequencies_hz("mel")),
        octave_ticks(2, len(view.rainbow[names[0]].level_db) / BINS_PER_OCTAVE),
    )
    image = None
    for column, name in enumerate(names):
        axes[0, column].set_title(spoken(name), fontsize=11)
        for row, spectrum_db in enumerate((view.cqt_db[name], view.mel_db[name])):
            limits = {"vmin": -c.range_db, "vmax": 0.0, "cmap": "magma"}
            image = axes[row, column].imshow(pooled(spectrum_db, 250), **scale, **limits)
        axes[2, column].imshow(colours(view.rainbow[name], view.rainbow_top_db), **scale)
        draw(axes[3, column], view.notes[name], *view.pitches)
        number = counts(view.notes[name])
        text = f"{number['kept']} kept, {number['lost']} lost, {number['added']} added"
        axes[3, column].set_title(text, fontsize=9)
        axes[3, column].set_xlabel("time (s)")
    labels = ("constant-Q pitch", "mel frequency", "rainbowgram pitch")
    for row, (places, label) in enumerate(zip(ticks, labels, strict=True)):
        axes[row, 0].set_yticks([p for p, _ in places], [t for _, t in places], fontsize=8)
        axes[row, 0].set_ylabel(label)
    low, high = view.pitches
    cs = [p for p in range(low, high + 1) if p % 12 == 0]
    axes[3, 0].set_yticks(cs, [f"C{p // 12 - 1}" for p in cs], fontsize=8)
    axes[3, 0].set_ylabel("notes, with the source's")
    axes[3, 0].set_xlim(0, seconds)
    top, bottom = axes[0, -1].get_position(), axes[1, -1].get_position()
    bar = figure.colorbar(image, cax=figure.add_axes((0.912, bottom.y0, 0.011, top.y1 - bottom.y0)))
    bar.set_label("dB under the top, constant-Q and mel")
    turn = ScalarMappable(Normalize(-1, 1), ListedColormap(hue_circle(256)))
    place = axes[2, -1].get_position()
    bar = figure.colorbar(turn, cax=figure.add_axes((0.912, place.y0, 0.011, place.height)))
    bar.set_label("phase advance\n(π per frame)")
    figure.suptitle(title, fontsize=12)
    return figure
