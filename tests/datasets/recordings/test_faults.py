"""Faults of single recordings that `retimbre data inspect` names, and those that it must not imagine."""

import re

import numpy as np
import pytest
import soundfile

from retimbre.datasets.recordings.inspection import inspect
from retimbre.datasets.recordings.manifest import Recording, write_manifest

RATE = 16000
T = np.arange(12 * RATE) / RATE


def music(seed: int = 0, low: int = 45, high: int = 80) -> np.ndarray:
    """Notes of half a second, 12 s."""
    rng = np.random.default_rng(seed)
    notes = np.repeat(440 * 2 ** ((rng.integers(low, high, 24) - 69) / 12), RATE // 2)
    return 0.1 * np.sin(2 * np.pi * np.cumsum(notes) / RATE)


def faults(folder, audio: np.ndarray) -> list[str]:
    soundfile.write(folder / "a.wav", audio, RATE, subtype="FLOAT")
    write_manifest(
        folder, [Recording("a.wav", "sax", "a", "train", "", 0.0, len(audio) / RATE, RATE, "t", "CC0")]
    )
    return [warning for warning in inspect(folder).warnings if warning.startswith("a.wav:")]


@pytest.mark.parametrize("offset", [0.05, -0.3])
def test_an_offset_is_named_with_its_level_and_does_not_hide_silence(tmp_path, offset):
    audio = 0.3 * music()
    audio[: 4 * RATE] = 0
    (said,) = faults(tmp_path, audio + offset)
    assert f"an offset or rumble of {20 * np.log10(abs(offset)):.0f} dBFS" in said
    assert inspect(tmp_path).summaries[0].silent_share == pytest.approx(1 / 3, abs=0.02)


@pytest.mark.parametrize("mains", [50.0, 60.0, 50.02])
@pytest.mark.parametrize("harmonic", [1, 2])
def test_a_hum_is_named_with_its_level(tmp_path, mains, harmonic):
    hum = 0.003 * np.sin(2 * np.pi * harmonic * mains * T)
    noise = np.random.default_rng(0).normal(0, 1e-4, len(T))
    (said,) = faults(tmp_path, music() + hum + noise)
    assert re.search(rf"hums at {mains:.0f} Hz \(-5[3-6] dBFS\)", said)


@pytest.mark.parametrize("midi", [31, 35, 43, 47])  # the notes beside 50, 60, 100 and 120 Hz, held throughout
def test_a_held_note_is_no_hum(tmp_path, midi):
    drone = 0.1 * np.sin(2 * np.pi * 440 * 2 ** ((midi - 69) / 12) * T)
    assert faults(tmp_path, drone + np.random.default_rng(0).normal(0, 1e-4, len(T))) == []


def test_a_long_silence_is_named_with_its_place(tmp_path):
    audio = music()
    audio[3 * RATE : 9 * RATE] = 0
    (said,) = faults(tmp_path, audio)
    assert "is silent for 6 s from 3 s on: cut that out" in said


def test_ordinary_music_has_no_fault(tmp_path):
    assert faults(tmp_path, music() * (1 + 0.5 * np.sin(2 * np.pi * 5 * T))) == []


def test_channels_that_cancel_are_named(tmp_path):
    (said,) = faults(tmp_path, np.stack([music(), -0.98 * music()], 1))
    assert "has channels that cancel in their mean" in said
