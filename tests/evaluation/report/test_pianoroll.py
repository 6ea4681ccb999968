"""Piano rolls: kept, lost and added notes as the note F1 counts them."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retimbre.evaluation.report.figures import new_figure
from retimbre.evaluation.report.pianoroll import counts, draw, overlap, pitch_range, svg_paths
from retimbre.metrics.notes import Transcription, note_f1

NOTES = st.lists(st.tuples(st.integers(0, 40), st.integers(1, 8), st.integers(40, 80)), max_size=12)


def transcription(notes):
    spans = np.array([(0.1 * start, 0.1 * (start + length)) for start, length, _ in notes]).reshape(-1, 2)
    pitches = np.array([float(pitch) for *_, pitch in notes])
    return Transcription(spans, pitches, np.zeros((1, 88), np.float32))


def test_kinds():
    source = transcription([(0, 5, 60), (10, 5, 64), (20, 5, 67)])
    # Longer; another pitch; a tenth of a second late.
    output = transcription([(0, 9, 60), (10, 5, 65), (21, 5, 67)])
    kinds = [(n.kind, n.pitch_midi) for n in overlap(output, source)]
    assert kinds == [("kept", 60), ("lost", 64), ("added", 65), ("lost", 67), ("added", 67)]


@given(NOTES, NOTES)
def test_counts_give_the_note_f1(ours, theirs):
    output, source = transcription(ours), transcription(theirs)
    number = counts(overlap(output, source))
    assert number["kept"] + number["lost"] == len(theirs) and number["kept"] + number["added"] == len(ours)
    if ours and theirs:
        f1 = 2 * number["kept"] / (len(ours) + len(theirs))
        assert f1 == pytest.approx(note_f1(output, source))


@given(NOTES)
def test_every_note_is_inside_the_box(notes):
    roll = transcription(notes)
    low, high = pitch_range(roll)
    assert high - low >= 24
    paths = svg_paths(overlap(roll, roll), low, high)
    boxes = re.findall(r"M(\d+) (\d+)h(\d+)v10h-\3z", "".join(paths.values()))
    assert len(boxes) == len(notes)
    assert all(0 <= int(y) <= 10 * (high - low) and int(width) >= 2 for _, y, width in boxes)


def test_drawn_notes_lie_where_they_sound():
    source = transcription([(0, 5, 60), (10, 5, 64)])
    _, axes = new_figure(3, 2)
    draw(axes[0, 0], overlap(transcription([(10, 5, 64)]), source), 48, 72)
    boxes = sorted((b.get_x(), b.get_y() + b.get_height() / 2, b.get_width()) for b in axes[0, 0].patches)
    assert np.allclose(boxes, [(0.0, 60.0, 0.5), (1.0, 64.0, 0.5)])
