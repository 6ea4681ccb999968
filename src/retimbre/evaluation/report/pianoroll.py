"""Piano rolls of two transcriptions on each other: which notes of the source an output kept, lost and added.

Notes are matched as in the metric ``content_note_f1``: onsets within 50 ms, pitches within 50 cents, one to
one (mir_eval.transcription). Colour and form both tell the kinds apart: kept is filled, lost is an outline,
added is hatched.
"""

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes

from retimbre.evaluation.report.figures import BLUE, INK, ORANGE
from retimbre.evaluation.report.rainbowgram import octave_ticks
from retimbre.metrics.notes import Transcription, matched_notes

KINDS = ("kept", "lost", "added")


@dataclass(frozen=True)
class Note:
    """A note of the roll: ``kind`` is kept (the output has it), lost (of the source) or added."""

    kind: str
    onset_s: float
    offset_s: float
    pitch_midi: float


def overlap(output: Transcription, source: Transcription) -> list[Note]:
    """All notes of both, matched ones once; in order of time."""
    matched = matched_notes(output, source)
    of_source, of_output = ({pair[i] for pair in matched} for i in (0, 1))

    def notes(of: Transcription, kinds: list[str]) -> list[Note]:
        return [
            Note(kind, *map(float, span), float(pitch))
            for kind, span, pitch in zip(kinds, of.intervals_s, of.pitches_midi, strict=True)
        ]

    ours = notes(output, ["kept" if i in of_output else "added" for i in range(len(output.pitches_midi))])
    theirs = notes(source, ["" if i in of_source else "lost" for i in range(len(source.pitches_midi))])
    return sorted(ours + [n for n in theirs if n.kind], key=lambda n: (n.onset_s, n.pitch_midi, n.kind))


def counts(notes: list[Note]) -> dict[str, int]:
    """Number of notes of each kind."""
    return {kind: sum(n.kind == kind for n in notes) for kind in KINDS}


def pitch_range(*transcriptions: Transcription) -> tuple[int, int]:
    """Lowest and highest MIDI pitch to show, at least two octaves, one semitone of room on either side."""
    pitches = np.concatenate([t.pitches_midi for t in transcriptions] or [np.zeros(0)])
    if len(pitches) == 0:
        return 48, 72
    low, high = int(pitches.min()) - 1, int(pitches.max()) + 1
    spare = max(0, 24 - (high - low))
    return low - spare // 2, high + spare - spare // 2


def pitch_ticks(low: int, high: int) -> list[tuple[float, str]]:
    """Every C on the axis of a roll: share of its height, and label."""
    return octave_ticks((low - 0.5) / 12 - 1, (high - low + 1) / 12)


def box(seconds: float, low: int, high: int) -> tuple[int, int]:
    """Width and height of what :func:`svg_paths` draws in."""
    return max(1, round(100 * seconds)), 10 * (high - low + 1)


def svg_paths(notes: list[Note], low: int, high: int) -> dict[str, str]:
    """Kind -> path of its notes in a box of hundredths of a second by tenths of a semitone, the highest
    pitch on top. Kinds without a note have none.
    """
    found: dict[str, str] = {}
    for n in notes:
        if low <= n.pitch_midi <= high:
            x, y = round(100 * n.onset_s), round(10 * (high - n.pitch_midi - 0.5))
            width = max(2, round(100 * (n.offset_s - n.onset_s)))
            found[n.kind] = found.get(n.kind, "") + f"M{x} {y}h{width}v10h-{width}z"
    return found


def draw(axis: Axes, notes: list[Note], low: int, high: int) -> None:
    """The same on axes in seconds and MIDI pitch."""
    looks = {
        "kept": {"facecolor": BLUE, "edgecolor": BLUE},
        "lost": {"facecolor": "none", "edgecolor": INK},
        "added": {"facecolor": "none", "edgecolor": ORANGE, "hatch": "//////"},
    }
    for kind, look in looks.items():
        shown = [n for n in notes if n.kind == kind]
        left, width = [n.onset_s for n in shown], [n.offset_s - n.onset_s for n in shown]
        axis.bar(left, 0.9, width, [n.pitch_midi - 0.45 for n in shown], align="edge", linewidth=0.7, **look)
    axis.set_ylim(low - 0.5, high + 0.5)
