"""Rainbowgrams: hue is the steadiness and the advance of a tone, brightness its level alone."""

import io

import numpy as np
import pytest
from PIL import Image

from retimbre.evaluation.report import rainbowgram as r
from retimbre.evaluation.report.media import pooled, spectrum_picture

RATE = 16000


def tone(hz, seconds=2.0):
    return 0.3 * np.sin(2 * np.pi * hz * np.arange(int(RATE * seconds)) / RATE)


@pytest.mark.parametrize("hz", [110.0, 440.0, 1234.5, 3500.0])
def test_advance_tells_the_frequency(hz):
    picture = r.rainbowgram(tone(hz), RATE)
    loudest = int(picture.level_db[:, 40:80].mean(axis=1).argmax())
    assert loudest == pytest.approx(r.BINS_PER_OCTAVE * np.log2(hz / r.LOWEST_HZ), abs=1)
    turns = hz * r.HOP / RATE
    expected = 2 * (turns - round(turns))  # in units of pi, within [-1, 1]
    assert picture.advance[loudest, 40:80] == pytest.approx(expected, abs=0.01)


def test_noise_has_no_steady_hue():
    noise = np.random.default_rng(0).standard_normal(2 * RATE) * 0.1
    spread = [
        np.abs(np.exp(1j * np.pi * r.rainbowgram(x, RATE).advance[160, 30:90]).mean())
        for x in (noise, tone(r.LOWEST_HZ * 16))
    ]
    assert spread[0] < 0.9 < 0.999 < spread[1]


def test_all_hues_are_equally_light_and_form_a_circle():
    hues = r.hue_circle(64)
    linear = np.where(hues <= 0.04045, hues / 12.92, ((hues + 0.055) / 1.055) ** 2.4)
    luminance = linear @ [0.2126, 0.7152, 0.0722]
    assert luminance.max() / luminance.min() < 1.35
    steps = np.linalg.norm(hues - np.roll(hues, 1, axis=0), axis=1)
    assert steps.max() < 3 * steps.mean() and len(np.unique(hues.round(3), axis=0)) == 64


def test_both_ends_of_the_advance_are_one_hue():
    ends = r.Rainbowgram(np.zeros((1, 2)), np.array([[-1.0, 1.0]]))
    assert np.array_equal(*r.colours(ends, 0.0)[0])


def pixels(medium):
    assert medium.kind == "image/webp"
    return np.array(Image.open(io.BytesIO(medium.data)).convert("RGB")).astype(int)


def test_picture_is_black_under_the_range_and_stands_upright():
    level = np.full((240, 300), -200.0)
    level[-8:] = 0.0  # the highest pitches are on top
    image = pixels(r.rainbow_picture(r.Rainbowgram(level, np.zeros_like(level)), 0.0))
    assert image.shape[0] == 120 and image.shape[1] <= 260
    assert image[8:].max() < 10 and image[:3].sum(axis=2).min() > 400


def test_picture_shows_the_loudest_of_neighbours_in_its_hue():
    level, advance = np.full((2, 520), -60.0), np.zeros((2, 520))
    level[1, ::2], advance[1, ::2] = 0.0, 0.5
    image = pixels(r.rainbow_picture(r.Rainbowgram(np.tile(level, (8, 1)), np.tile(advance, (8, 1))), 0.0))
    assert image.shape[:2] == (8, 260)
    expected = 255 * r.colours(r.Rainbowgram(np.zeros((1, 1)), np.full((1, 1), 0.5)), 0.0)[0, 0]
    assert np.abs(image - expected).max() < 12


def test_silence_and_low_rates():
    picture = r.rainbowgram(np.zeros(4000), 8000)
    assert np.isfinite(picture.level_db).all() and len(picture.level_db) < 240
    assert not np.any(pixels(r.rainbow_picture(picture, 0.0)))


def test_level_picture_clips_to_one_scale_and_keeps_onsets():
    db = np.full((84, 1040), -80.0)
    db[:4, 500:520] = 5.0
    image = pixels(spectrum_picture(db, 0.0, 60.0)).sum(axis=2)
    assert image.shape == (84, 260)
    assert image[-1, 125:130].min() > 600 and image[:-12].max() < 30 and image[:, 140:].max() < 30
    db = np.full((84, 1040), -80.0)
    db[0, 500] = 5.0
    assert pooled(db, 260)[0].max() == 5.0 and pooled(db, 2000).shape == db.shape
