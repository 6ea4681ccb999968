"""The filter behind the generator of WaveGAN."""

import torch

from retimbre.synthesis.wavegan.network import WaveGenerator, config
from tests.synthesis.test_unconditional import params


def test_a_post_filter_is_a_convolution_of_what_the_generator_makes():
    torch.manual_seed(0)
    made = WaveGenerator(config(1024, params("wavegan", upsampling="nearest", post_filter=64)))
    z = torch.rand(2, 4)
    found = made(z)
    taps, made.filter = made.filter.weight[0, 0], None
    assert found.shape == (2, 1, 1024)
    inner = torch.stack([made(z)[:, 0, n : n + 1024 - 63] * taps[n] for n in range(64)]).sum(0)
    assert torch.allclose(found[:, 0, 31 : 31 + 1024 - 63], inner, atol=1e-5)
