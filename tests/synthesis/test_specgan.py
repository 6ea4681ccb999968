"""SpecGAN's pictures: standardised log magnitudes, and the audio that they become."""

import numpy as np
import scipy.signal
import torch

from retimbre.synthesis.specgan.network import SpecGenerator, config, log_magnitude
from tests.synthesis.test_unconditional import params
from tests.toys.notes import toy_notes


def generator(audio: torch.Tensor) -> SpecGenerator:
    made = SpecGenerator(config(4096, params("specgan")))
    made.standardise(audio.split(4))
    return made


def test_pictures_are_of_frames_from_the_first_sample_to_half_a_window_beyond_the_end():
    audio = toy_notes(1).audio[0].astype(np.float64)
    window = scipy.signal.get_window("hann", 256)
    around = np.pad(audio, (0, 128))
    frames = np.stack([around[n : n + 256] * window for n in range(0, 4096, 128)])
    expected = np.log(np.abs(np.fft.rfft(frames)).T + 1e-6)
    assert np.allclose(log_magnitude(torch.from_numpy(audio)[None])[0], expected, atol=1e-6)


def test_every_bin_is_standardised_and_clipped_at_three_deviations():
    audio = torch.from_numpy(toy_notes(6).audio)
    made, levels = generator(audio), log_magnitude(audio).numpy()
    mean, deviation = levels.mean((0, 2)), levels.std((0, 2))
    assert np.allclose(made.mean, mean, atol=1e-3) and np.allclose(made.deviation, deviation, atol=1e-3)
    expected = ((levels - mean[:, None]) / deviation[:, None]).clip(-3, 3)[:, :128] / 3
    x = made.encode(audio)
    assert x.shape == (6, 1, 128, 32) and np.allclose(x[:, 0], expected, atol=1e-3)


def test_notes_come_back_from_their_pictures_with_other_phases():
    audio = torch.from_numpy(toy_notes(6).audio)
    made = generator(audio)
    back = made.audio(made.encode(audio))
    assert back.shape == audio.shape
    was, now = (log_magnitude(x).exp()[..., 1:] for x in (audio, back))
    assert (now - was).norm() < 0.35 * was.norm()
