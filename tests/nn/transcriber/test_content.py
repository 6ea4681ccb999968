"""Content: aligned with the features, in tune, the same in chunks, calm on silence."""

from dataclasses import replace

import numpy as np
import pytest
import soxr
import torch

from retimbre.audio.features import spectrum_of
from retimbre.nn.transcriber import content
from tests.nn.transcriber.conftest import RATE
from tests.toys.models import FEATURES

CONFIG = replace(FEATURES, cqt_bins=188, cqt_bins_per_octave=24)
HOP_S = CONFIG.hop_length / RATE


@pytest.fixture(scope="module")
def of():
    return content.Content(CONFIG)


def tone(hz, seconds=2.0, start_s=0.5, stop_s=1.5):
    """Eight harmonics between two times, RMS 0.1 while they sound."""
    t = np.arange(round(seconds * RATE)) / RATE
    wave = sum(np.sin(2 * np.pi * hz * k * t) / k for k in range(1, 9))
    return (0.1 * wave / wave.std() * ((t >= start_s) & (t < stop_s))).astype(np.float32)


def rise(curve):
    """Frame, between frames, at which a curve first passes half of its maximum."""
    curve = curve - curve[:10].mean()
    k = int(np.argmax(curve > curve.max() / 2))
    return k - 1 + (curve.max() / 2 - curve[k - 1]) / (curve[k] - curve[k - 1])


def test_frames_and_channels_are_as_announced(of, music):
    frames = of.frames(music["piano"])
    assert frames.shape == (CONFIG.frames(len(music["piano"])), content.CHANNELS) == (1001, 441)
    assert frames.dtype == np.float32
    assert 0 <= frames[:, : content.POSTERIORS].min() and frames[:, : content.POSTERIORS].max() <= 1
    assert -1 <= frames.min()


@pytest.mark.parametrize("start_s", [0.5, 0.5037, 0.571])
def test_a_note_begins_where_the_spectrum_says(of, start_s):
    audio = tone(880.0, start_s=start_s)
    heard = rise(of.frames(audio)[:, content.CONTOUR].max(1))
    spectrum = 10 ** (spectrum_of(audio, CONFIG, "cqt") / 20)
    seen = rise(spectrum[spectrum.max(1).argmax()])
    assert abs(heard - seen) < 0.5


def test_a_click_peaks_in_its_frame(of):
    audio = np.zeros(RATE, np.float32)
    audio[31 * CONFIG.hop_length] = 1.0
    frames = of.frames(audio)
    for channel in range(content.POSTERIORS, content.CHANNELS):
        at = np.flatnonzero(frames[:, channel] >= frames[:, channel].max() - 1e-6)
        assert abs(at.mean() - 31) <= 0.5, channel


@pytest.mark.parametrize("hz", [220.0, 440.0, 1046.5])
def test_contours_keep_the_tuning(of, hz):
    """The centre of mass around the peak is where the tone is, whatever lies between."""

    def heard_cents(cents):
        contours = of.frames(tone(hz * 2 ** (cents / 1200)))[60:90, content.CONTOUR].mean(0)
        near = int(contours.argmax()) + np.arange(-3, 4)
        weight = contours[near] - contours[near].min()
        return 1200 * np.log2(27.5 / hz) + ((weight * near).sum() / weight.sum() - 1) * 100 / 3

    for cents in (0, 13, 37, 61, 87):
        assert abs(heard_cents(cents) - cents) < 6, cents
    assert abs(heard_cents(37) - heard_cents(0) - 37) < 5


@pytest.mark.parametrize("domain", ["piano", "flute"])
def test_chunks_on_the_grid_are_the_whole(of, music, domain):
    audio = np.concatenate([music[domain], music["guitar"]])
    whole = of.frames(audio)
    assert of.grid == 81920
    for start in range(0, len(audio), of.grid):
        first, last = max(0, start - of.grid), min(len(audio), start + of.grid + of.context)
        assert of.context <= of.grid
        chunk = of.frames(audio[first:last])
        a, b = start // CONFIG.hop_length, min(len(audio), start + of.grid) // CONFIG.hop_length
        offset = first // CONFIG.hop_length
        np.testing.assert_allclose(chunk[a - offset : b - offset], whole[a:b], atol=1e-4)


def test_blocks_are_the_whole(of, music, monkeypatch):
    audio, times = music["piano"], np.arange(900) * HOP_S
    whole = content.posteriors(of.network, audio, RATE, times)
    monkeypatch.setattr(content, "BLOCK", 100)
    np.testing.assert_allclose(content.posteriors(of.network, audio, RATE, times), whole, atol=2e-5)


def test_posteriors_are_near_those_of_basic_pitchs_windows(of, music):
    """In the middle of a window its level is ours: what differs is which two seconds are looked at."""
    for audio in music.values():
        loud = soxr.resample(audio / np.abs(audio).max() * 0.9, RATE, 22050)[44100 : 44100 + 43844]
        theirs = of.network(torch.from_numpy(loud)[None])
        middle = np.arange(60, 112)
        ours = content.posteriors(of.network, audio, RATE, 2 + middle * 256 / 22050)
        theirs = torch.cat(theirs, 1)[0, :, middle].T.numpy()
        assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.98


def test_silence_is_the_floor_and_noise_in_rests_is_not_turned_up(of):
    silent = of.frames(np.zeros(2 * RATE, np.float32))
    assert silent[:, : content.POSTERIORS].max() < 0.25
    assert (silent[:, content.POSTERIORS :] == -1).all()
    hiss = np.random.default_rng(0).standard_normal(2 * RATE).astype(np.float32) * 1e-4
    assert of.frames(hiss)[:, content.NOTE].max() < 0.3


def test_the_shortest_recordings_have_content(of):
    for samples in (1, 255, 1600):
        assert of.frames(np.full(samples, 0.1, np.float32)).shape == (samples // 256 + 1, 441)


def test_loudness_is_the_level_in_db(of):
    audio = tone(440.0)
    level = content.loudness(audio, CONFIG.hop_length)
    np.testing.assert_allclose(level[40:85], 1 - 20 / 30, atol=0.02)
    assert (level[:30] == -1).all()
