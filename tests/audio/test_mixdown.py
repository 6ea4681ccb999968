"""The mixdown: what is music comes through, what is not is taken off, and clean audio is left alone."""

import numpy as np
import pytest
import scipy.signal

from retimbre.audio.mixdown import Channels, Mixdown

RATE = 16000


def music(seed: int, seconds: float = 6.0, rate: int = RATE) -> np.ndarray:
    """Noise without anything below hearing."""
    x = np.random.default_rng(seed).normal(0, 0.1, round(seconds * rate))
    sos = scipy.signal.butter(8, 60, "highpass", fs=rate, output="sos")
    return scipy.signal.sosfiltfilt(sos, x).astype(np.float32)


def mixdown_of(audio: np.ndarray, rate: int = RATE) -> Mixdown:
    channels = Channels(rate, audio.shape[1])
    for block in np.array_split(audio, 7):
        channels.update(block)
    return channels.mixdown()


def mixed(audio: np.ndarray, blocks: int = 5, rate: int = RATE) -> np.ndarray:
    return np.concatenate(list(mixdown_of(audio, rate).mono(np.array_split(audio, blocks))))


def power(x: np.ndarray) -> float:
    return float(np.mean(np.square(x, dtype=np.float64)))


def test_clean_audio_comes_out_as_it_is():
    x = music(0)
    assert np.array_equal(mixed(x[:, None]), x)
    assert np.array_equal(mixed(np.stack([x, x], 1)), x)
    assert mixdown_of(x[:, None]).quieter_db == mixdown_of(np.stack([x, x], 1)).quieter_db == 0


@pytest.mark.parametrize("offset", [0.02, -0.3, 0.9])
@pytest.mark.parametrize("rate", [8000, 44100, 192000])
def test_an_offset_goes_and_the_music_stays_in_phase(offset, rate):
    x = music(1, 2.0, rate)
    y = mixed((x + np.float32(offset))[:, None], rate=rate)
    assert len(y) == len(x) and power(y - x) < 1e-4 * power(x)


@pytest.mark.parametrize("hz", [0.2, 2.0, 7.0, 11.0])
def test_rumble_goes(hz):
    x, t = music(2), np.arange(6 * RATE) / RATE
    y = mixed((x + 0.5 * np.sin(2 * np.pi * hz * t + 1))[:, None])
    inner = slice(RATE, -RATE)
    assert power((y - x)[inner]) < 1e-4 * power(x)


def test_the_lowest_note_of_a_piano_stays():
    t = np.arange(6 * RATE) / RATE
    note = 0.1 * np.sin(2 * np.pi * 27.5 * t)
    for offset in (0.0, 0.3):
        assert power(mixed((note + offset)[:, None])[RATE:-RATE]) == pytest.approx(power(note), rel=0.01)


def test_blocks_of_any_size_give_the_same():
    x = (music(3) + np.float32(0.2))[:, None]
    whole = mixed(x, 1)
    for blocks in (2, 50, 3000):
        np.testing.assert_allclose(mixed(x, blocks), whole, atol=1e-6)
    short = x[:300]
    np.testing.assert_allclose(mixed(short, 1), mixed(short, 30), atol=1e-6)


@pytest.mark.parametrize("right", [-1.0, -0.98, -0.5])
def test_opposite_channels_do_not_cancel(right):
    x = music(4)
    found = mixdown_of(np.stack([x, right * x], 1))
    y = mixed(np.stack([x, right * x], 1))
    assert power(y) == pytest.approx((1 + right**2) / 2 * power(x), rel=1e-3)
    assert abs(np.corrcoef(x, y)[0, 1]) > 0.9999 and abs(found.quieter_db) < 0.01


def test_of_channels_with_nothing_in_common_every_one_stays():
    parts = np.stack([music(seed) for seed in range(6)], 1)
    for channels in (2, 3, 6):
        y = mixed(parts[:, :channels])
        heard = [np.corrcoef(part, y)[0, 1] for part in parts.T[:channels]]
        assert min(heard) > 0.9 / np.sqrt(channels)


def test_a_silent_channel_halves_the_mix_and_that_is_known():
    x = music(5)
    found = mixdown_of(np.stack([x, 0 * x], 1))
    assert found.weights is None and found.quieter_db == pytest.approx(3.01, abs=0.01)


@pytest.mark.parametrize("opposite", [False, True])
def test_an_offset_of_one_channel_does_not_choose_the_mix(opposite):
    x = music(6)
    y = mixed(np.stack([x + 0.4, -x if opposite else x - 0.4], 1))
    assert abs(np.corrcoef(x, y)[0, 1]) > 0.999


def test_no_samples_and_silence():
    for audio in (np.zeros((0, 2)), np.zeros((10, 2)), np.full((RATE, 1), 0.5)):
        found = mixdown_of(audio.astype(np.float32))
        y = np.concatenate([*found.mono([audio.astype(np.float32)]), np.zeros(0, np.float32)])
        assert len(y) == len(audio) and np.abs(y).max(initial=0) < 1e-6 and found.level_db < -100
