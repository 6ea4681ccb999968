"""Harmony and rhythm: what warping forgives, what it does not, and silence."""

import mir_eval
import numpy as np
import pytest

from retimbre.metrics import harmony

RATE = 16000


def chroma(classes, frames=10):
    """One pitch class after another, ``frames`` frames each; None is silence."""
    columns = [np.zeros(12) if c is None else np.eye(12)[c] for c in classes]
    return np.repeat(np.stack(columns, axis=1), frames, axis=1)


def clicks(times_s, seconds=3.0):
    audio, t = np.zeros(round(seconds * RATE), np.float32), np.arange(1600) / RATE
    for start in times_s:
        at = round(start * RATE)
        audio[at : at + 1600] += (0.3 * np.sin(2 * np.pi * 660 * t) * np.exp(-40 * t)).astype(np.float32)
    return audio


def test_chroma_warping_forgives_timing_and_nothing_else():
    tune = chroma([0, 4, 7, 0])
    assert harmony.content_chroma_dtw(tune, tune) == 0
    late = np.concatenate([tune[:, :1].repeat(5, axis=1), tune[:, :-5]], axis=1)
    assert harmony.content_chroma_dtw(late, tune) == pytest.approx(0, abs=1e-12)
    # The level does not matter.
    assert harmony.content_chroma_dtw(3 * tune, tune) == pytest.approx(0, abs=1e-12)
    assert harmony.content_chroma_dtw(chroma([1, 5, 8, 1]), tune) == 1


def test_chroma_of_silence():
    tune = chroma([0, 4, None, 7])
    assert harmony.content_chroma_dtw(tune, tune) == 0  # silent in both: left out
    assert harmony.content_chroma_dtw(np.zeros((12, 40)), tune) == 1
    assert np.isnan(harmony.content_chroma_dtw(tune, np.zeros((12, 40))))


@pytest.mark.parametrize("wrong", [np.zeros((11, 4)), np.zeros(12), np.full((12, 4), np.nan)])
def test_what_is_no_chroma_is_refused(wrong):
    with pytest.raises(ValueError, match="chroma"):
        harmony.content_chroma_dtw(wrong, chroma([0]))


def test_onsets():
    played = [0.5, 1.0, 1.5, 2.0, 2.5]
    source = clicks(played)
    assert mir_eval.onset.f_measure(np.array(played), harmony.onsets_s(source, RATE))[0] > 0.85
    assert harmony.content_onset_f1(0.3 * source, source, RATE) == 1
    assert 0.3 < harmony.content_onset_f1(clicks([0.5, 1.0, 1.75, 2.25]), source, RATE) < 0.7
    assert harmony.content_onset_f1(np.zeros_like(source), source, RATE) == 0
    assert np.isnan(harmony.content_onset_f1(source, np.zeros_like(source), RATE))
