"""Clips: length, loudness, peak, fades, anchor, tones; loudness against pyloudnorm."""

from collections.abc import Callable

import numpy as np
import pyloudnorm
import pytest
from scipy.signal import welch

from retimbre.audio.levels import loudness_lufs
from retimbre.errors import RetimbreError
from retimbre.listening import clips
from retimbre.listening.params import Listening

RATE = 16000
Settings = Callable[..., Listening]


def noise(seconds: float, level: float, seed: int = 0, silence: float = 0.0) -> np.ndarray:
    x = level * np.random.default_rng(seed).normal(size=round(seconds * RATE))
    x[: round(silence * RATE)] = 0
    return x


def test_equal_length_loudness_and_faded_ends(settings: Settings) -> None:
    recordings = {"source": noise(8, 0.2), "x": noise(7, 0.001, 1), "y": noise(9, 0.05, 2)}
    ready = clips.prepare(recordings, RATE, settings(clip_s=5), ["source"], "piece")
    assert {len(x) for x in ready.values()} == {5 * RATE}
    for x in ready.values():
        assert pyloudnorm.Meter(RATE).integrated_loudness(x) == pytest.approx(-23, abs=0.1)
        assert np.abs(x).max() < 10 ** (-1 / 20)
        assert x[0] == 0 and abs(x[-1]) < 1e-3 and np.abs(x[:16]).max() < 0.1 * np.abs(x).max()


def test_a_peak_above_the_limit_lowers_all_clips_of_the_item_alike(settings: Settings) -> None:
    spiky = noise(5, 1e-4)
    spiky[:: RATE // 2] = 1.0
    recordings = {"source": noise(5, 0.1, 1), "x": spiky}
    ready = clips.prepare(recordings, RATE, settings(clip_s=5), ["source"], "piece")
    assert max(np.abs(x).max() for x in ready.values()) < 10 ** (-1 / 20)
    levels = [loudness_lufs(x, RATE) for x in ready.values()]
    assert levels[0] == pytest.approx(levels[1], abs=0.1) and levels[0] < -23.5


def test_clips_of_one_performance_stay_aligned_and_others_begin_where_they_sound(settings: Settings) -> None:
    source = noise(8, 0.1, 0, silence=1.0)
    late = noise(8, 0.1, 3, silence=2.0)
    recordings = {"source": source, "x": late, "u": late}
    ready = clips.prepare(recordings, RATE, settings(clip_s=5), ["source", "x"], "piece")
    assert clips.onset(source, RATE) == pytest.approx(0.9 * RATE, abs=0.03 * RATE)
    assert not ready["x"][: round(0.9 * RATE)].any(), "aligned with the source: its own silence is heard"
    assert ready["u"][round(0.2 * RATE) :][: RATE // 2].any()


def test_silence_stays_silent_and_short_audio_is_refused(settings: Settings) -> None:
    silent = {"source": noise(5, 0.1), "x": np.zeros(5 * RATE)}
    ready = clips.prepare(silent, RATE, settings(clip_s=5), ["source"], "piece")
    assert not ready["x"].any()
    with pytest.raises(
        RetimbreError, match="x of piece lasts 3.0 s and a clip needs 4 s: raise dataset.excerpt_s"
    ):
        clips.prepare(silent | {"x": noise(3, 0.1)}, RATE, settings(clip_s=5), ["source"], "piece")


def test_the_anchor_is_dull_and_noisy() -> None:
    x = noise(5, 0.1)
    y = clips.anchor(x, RATE, 0)
    frequency, before = welch(x, RATE, nperseg=1024)
    _, after = welch(y, RATE, nperseg=1024)
    drop = 10 * np.log10(after / before)
    assert abs(drop[(frequency > 300) & (frequency < 3000)].mean()) < 1
    assert drop[frequency > 4500].mean() < -15
    assert np.array_equal(y, clips.anchor(x, RATE, 0)), "equal seeds give equal bytes"


def test_tones_cancel_in_the_air_only_where_they_should() -> None:
    x = clips.headphone_tones(RATE, quiet=2, antiphase=0)
    step = round((clips.TONE_S + clips.GAP_S) * RATE)
    tones = [x[n * step : n * step + round(clips.TONE_S * RATE)] for n in range(3)]
    levels = [np.sqrt(np.mean(t[:, 0] ** 2)) for t in tones]
    assert 20 * np.log10(levels[2] / levels[1]) == pytest.approx(-6, abs=0.01) and levels[0] == pytest.approx(
        levels[1]
    )
    mixed = [np.abs(t.sum(axis=1)).max() for t in tones]
    assert mixed[0] < 1e-9 < mixed[2] < mixed[1]
