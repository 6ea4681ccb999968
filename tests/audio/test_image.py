"""The image: level and coherence between channels, per octave, are the recording's; joins are not heard."""

import numpy as np
import pytest
import scipy.signal
from hypothesis import given, settings
from hypothesis import strategies as st

from retimbre.audio.image import Image
from retimbre.audio.mixdown import Channels
from tests.toys.models import RATE

MEAN = np.full(2, 0.5)


def noise(seed: int, seconds: float = 8.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, round(seconds * RATE)).astype(np.float32)


def line(seed: int, seconds: float = 8.0) -> np.ndarray:
    """A melody with some breath, (N,): every octave has energy."""
    t, hz = np.arange(round(seconds * RATE)) / RATE, 110 * 2 ** (np.random.default_rng(seed).random(99) * 3)
    note = (t / 0.2).astype(int)
    waves = (
        np.sin(2 * np.pi * h * hz[note] * t + h * h) / h * (h * hz[note] < RATE / 2) for h in range(1, 40)
    )
    return (0.2 * sum(waves) * np.exp(-5 * (t - 0.2 * note)) + 0.02 * noise(seed, seconds)).astype(np.float32)


def room(x: np.ndarray, seed: int) -> np.ndarray:
    """A line in a room, (N, 2): what reaches two microphones has little in common."""
    rng, t = np.random.default_rng(seed), np.arange(RATE // 4) / RATE
    echoes = rng.normal(0, 0.05, (2, len(t))) * np.exp(-t / 0.08)
    return np.stack([x + scipy.signal.fftconvolve(x, echo)[: len(x)] for echo in echoes], 1, dtype=np.float32)


def on_another(x: np.ndarray, mix: np.ndarray) -> np.ndarray:
    """The mix of channels (N, C), every partial at another phase, as of a system that changes no level."""
    return scipy.signal.lfilter([0.6, -0.9, 1], [1, -0.9, 0.6], x @ mix).astype(np.float32)


def put(x: np.ndarray, sound: np.ndarray, mix: np.ndarray = MEAN, blocks: int = 9) -> np.ndarray:
    """Sound (N,) with the image of channels (N, C)."""
    parts = Image(RATE, mix).put(np.array_split(sound, blocks), np.array_split(x, blocks + 4))
    return np.concatenate(list(parts))


def octaves(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Level difference of two channels (N, 2) in dB, and their coherence, 0 to 1, by octaves from 250 Hz."""
    hz, _, X = scipy.signal.stft(x.T, RATE, nperseg=1024)
    levels, coherences = [], []
    for low in 250 * 2.0 ** np.arange(5):
        left, right = X[:, (hz >= low) & (hz < 2 * low)]
        powers = [max(float(np.sum(np.abs(side) ** 2)), 1e-20) for side in (left, right)]
        levels.append(10 * np.log10(powers[0] / powers[1]))
        coherences.append(abs(np.vdot(left, right)) / np.sqrt(np.prod(powers)))
    return np.array(levels), np.array(coherences)


def same_image(x: np.ndarray, y: np.ndarray) -> None:
    (level, coherence), (level_y, coherence_y) = octaves(x), octaves(y)
    assert np.abs(level - level_y).max() < 1
    assert np.abs(coherence - coherence_y).max() < 0.15


WIDE = {
    "two players": np.stack([line(1), line(2)], 1),
    "two players, one half left": line(1)[:, None] * [1, 0.3] + line(2)[:, None] * [0.2, 1],
    "a room": room(line(1), 3),
    "noise": np.stack([noise(1), noise(2)], 1),
    "two microphones": np.stack([line(1)[1:], line(1)[:-1]], 1),
}


@pytest.mark.parametrize("case", WIDE)
def test_a_wide_recording_stays_as_wide(case):
    x = WIDE[case].astype(np.float32)
    sound = on_another(x, MEAN)
    y = put(x, sound)
    same_image(x, y)
    assert abs(10 * np.log10(np.mean(y**2) / np.mean(sound**2))) < 0.3, "as loud as from two loudspeakers"


@settings(max_examples=15, deadline=None)
@given(angle=st.floats(-np.pi / 2, np.pi / 2), seed=st.integers(0, 9))
def test_a_panned_line_stays_where_it_is(angle, seed):
    """From the right in opposite phase by the middle to the left, and to the right again."""
    x = (line(seed, 2.0)[:, None] * [np.cos(angle), np.sin(angle)]).astype(np.float32)
    channels = Channels(RATE, 2)
    channels.update(x)
    mix = channels.mixdown().shares
    sound = on_another(x, mix)
    y = put(x, sound, mix)
    pan = (
        np.array([np.cos(angle), np.sin(angle)]) * np.sqrt(2) * np.sign(mix @ [np.cos(angle), np.sin(angle)])
    )
    np.testing.assert_allclose(y, sound[:, None] * pan, atol=2e-3 * np.abs(sound).max())


def test_equal_channels_stay_equal_to_the_last_bit():
    x = np.stack([line(1)] * 2, 1)
    sound = noise(2)
    y = put(x, sound)
    assert np.array_equal(y[:, 0], y[:, 1])
    np.testing.assert_allclose(y[:, 0], sound, atol=1e-6)


def test_three_channels_keep_their_levels():
    x = (line(1)[:, None] * [1, 0.5, 0] + line(2)[:, None] * [0, 0.5, 0.25]).astype(np.float32)
    mix = np.full(3, 1 / 3)
    y = put(x, on_another(x, mix), mix)
    for pair in ((0, 1), (1, 2)):
        same_image(x[:, pair], y[:, pair])


def test_a_silent_channel_stays_silent():
    x = np.stack([line(1), np.zeros(8 * RATE, np.float32)], 1)
    assert np.abs(put(x, noise(2))[:, 1]).max() < 1e-6


def test_the_image_moves_with_the_music():
    """Left for four seconds, then right: 0.2 s around the change nothing is on the other side."""
    x = np.stack([line(1)] * 2, 1)
    x[: 4 * RATE, 1] = x[4 * RATE :, 0] = 0
    power = np.square(put(x, noise(2))).reshape(40, -1, 2).mean(1)  # of fifths of a second
    assert (power[:19, 1] < 0.03 * power[:19, 0]).all() and (power[21:, 0] < 0.03 * power[21:, 1]).all()


@pytest.mark.parametrize("samples", [1, 999, 40000])
def test_blocks_of_any_size_give_the_same(samples):
    x = room(line(1), 3)[:samples]
    sound = noise(2)[:samples]
    whole = put(x, sound, blocks=1)
    assert whole.shape == x.shape
    for blocks in (2, 57):
        np.testing.assert_allclose(put(x, sound, blocks=blocks), whole, atol=1e-6)
