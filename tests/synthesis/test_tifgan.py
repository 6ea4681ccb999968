"""TiFGAN's pictures: relative log magnitudes and phase derivatives, and the audio that they become."""

import pytest
import torch

from retimbre.synthesis import gabor
from retimbre.synthesis.tifgan.network import decoded, encoded
from tests.toys.notes import toy_notes


@pytest.mark.parametrize("derivatives", [False, True])
def test_notes_come_back_from_their_pictures_at_peak_one(derivatives):
    audio = torch.from_numpy(toy_notes(3, 8192).audio)
    x = encoded(audio, derivatives)
    assert x.shape == (3, 3 if derivatives else 1, 256, 64)
    assert x.abs().max() <= 1
    assert torch.allclose(5 * (x[:, 0] - 1), gabor.log_magnitude(audio), atol=1e-5)
    back = decoded(x)
    assert torch.allclose(back.abs().amax(1), torch.ones(3), atol=1e-4)
    assert torch.equal(back[1:2], decoded(x[1:2])), "each note alone"
    was, now = (gabor.log_magnitude(y).exp() for y in (audio, back))
    assert (now - was).norm() < 0.35 * was.norm()


def test_derivatives_are_those_of_the_phase_at_half_scale():
    audio = torch.from_numpy(toy_notes(2, 8192).audio)
    assert torch.equal(encoded(audio, True)[:, 1:], (gabor.derivatives(audio) / 2).clamp(-1, 1))
