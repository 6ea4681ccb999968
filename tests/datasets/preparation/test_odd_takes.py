"""Takes with what is not music in them, through `resample`: levelled and trimmed by what sounds."""

import numpy as np
import pytest
import soundfile

from retimbre.datasets.packed.format import PackedAudio
from retimbre.datasets.preparation import resampling
from retimbre.datasets.recordings.manifest import Recording, write_manifest
from tests.toys.prepared import ONE, audio_params

RATE = 44100


def take(level_db: float = -34.0, seconds: float = 6.0) -> np.ndarray:
    """Notes at a root mean square of ``level_db`` that fade in and out."""
    t = np.arange(round(seconds * RATE)) / RATE
    x = np.sin(2 * np.pi * 440 * t) * np.minimum(1, 20 * np.minimum(t, seconds - t).clip(0))
    return 10 ** (level_db / 20) * x / np.sqrt(np.mean(x**2))


def resampled(folder, audio: np.ndarray) -> np.ndarray:
    soundfile.write(folder / "a.wav", audio, RATE, subtype="FLOAT")
    write_manifest(
        folder, [Recording("a.wav", "sax", "a", "train", "", 0.0, len(audio) / RATE, RATE, "t", "CC0")]
    )
    resampling.pack(folder, folder / "out", audio_params(max_excerpt_s=60.0), ONE)
    packed = PackedAudio(folder / "out")
    (excerpt,) = packed.index
    return packed.read(excerpt)


@pytest.mark.parametrize(
    ("low", "size"),
    [("offset", 0.05), ("offset", -0.3), ("offset of a channel", 0.3), ("jump", 0.05), ("rumble", 0.05)],
)
def test_what_lies_below_hearing_sets_neither_gain_nor_ends(tmp_path, low, size):
    silence = np.zeros(3 * RATE)
    clean = np.concatenate([silence, take(), silence])
    t = np.arange(len(clean)) / RATE
    added = {
        "offset": np.full(len(t), size),
        "offset of a channel": np.stack([np.full(len(t), size), np.zeros(len(t))], 1),
        "jump": np.where(t < 6, size, -size),
        "rumble": size * np.sin(2 * np.pi * 4 * t),
    }[low]
    x = resampled(tmp_path, clean + added if added.ndim == 1 else clean[:, None] + added)
    inner = x[len(x) // 2 - 32000 : len(x) // 2 + 32000]
    if low not in ("jump", "rumble"):  # a step is a click, which sounds, as does rumble that breaks off
        assert len(x) == pytest.approx(6 * 16000, abs=0.1 * 16000)
    assert np.sqrt(np.mean(inner**2)) == pytest.approx(0.1, rel=0.15)
    assert abs(np.mean(inner)) < 1e-3


def test_pauses_do_not_set_the_gain(tmp_path):
    pause = np.random.default_rng(0).normal(0, 1e-5, 12 * RATE)
    x = resampled(tmp_path, np.concatenate([take(seconds=3), pause, take(seconds=3)]))
    assert np.sqrt(np.mean(x[4000:44000] ** 2)) == pytest.approx(0.1, rel=0.05)


@pytest.mark.parametrize("right", [-1.0, -0.98, 0.0])
def test_channels_that_cancel_or_are_missing_leave_the_music_as_it_is(tmp_path, right):
    x = take()
    (tmp_path / "mono").mkdir()
    alone = resampled(tmp_path / "mono", x)
    mixed = resampled(tmp_path, np.stack([x, right * x], 1))
    assert np.abs(mixed - alone).max() < 2e-3
