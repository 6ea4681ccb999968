"""Deep convolutional generators and critics: their lengths, their norms, and the phase shuffle."""

import numpy as np
import pytest
import torch

from retimbre.synthesis.dcgan import Critic, DcganConfig, Generator, shifted

FLAT = DcganConfig((4,), (25,), (4,), (4, 2), (2, 4), latent=3, phase_shuffle=2)
PICTURE = DcganConfig((3, 2), (12, 3), (2, 2), (4, 4), (2, 4), channels=3, latent=3, normalised=True)
SQUARE = DcganConfig((2, 3), (5, 5), (2, 2), (4, 2), (2, 4), latent=3)


@pytest.mark.parametrize("upsampling", ["transposed", "nearest"])
@pytest.mark.parametrize("config", [FLAT, PICTURE, SQUARE])
def test_a_critic_takes_back_the_lengths_that_a_generator_gives(config, upsampling):
    config = DcganConfig.from_dict(config.to_dict() | {"upsampling": upsampling})
    torch.manual_seed(0)
    x = Generator(config)(torch.randn(5, 3))
    assert x.shape == (5, config.channels, *config.end) and x.abs().max() <= 1
    critic = Critic(config).eval()
    scores = critic(x)
    assert scores.shape == (5,)
    assert torch.allclose(scores[1:3], critic(x[1:3]), atol=1e-5), "each example alone"


@pytest.mark.parametrize("shape", [(6, 2, 9), (6, 2, 4, 9)])
@pytest.mark.parametrize("places", [[-2, -1, 0, 1, 2, 2], 2, -1, 0])
def test_a_phase_shuffle_moves_and_reflects(shape, places):
    x = torch.randn(shape)
    found = shifted(x, torch.tensor(places))
    for one, moved, by in zip(x.numpy(), found.numpy(), np.broadcast_to(places, 6), strict=True):
        around = np.pad(one, [(0, 0)] * (one.ndim - 1) + [(3, 3)], mode="reflect")
        for n in range(9):
            assert np.array_equal(moved[..., n], around[..., 3 + n - by])


def test_a_critic_shifts_all_but_its_last_layer():
    critic, x = Critic(FLAT), torch.randn(2, 1, 64)
    still, one, two = critic.shuffled * [0], [2], [1]
    assert critic.shuffled == 1
    scores = [critic(x, torch.tensor(shift)) for shift in (still, one, two)]
    assert torch.equal(scores[0], critic(x)) and not torch.allclose(scores[1], scores[0])
    each = critic(x, torch.tensor([[2, 1]]))
    assert torch.allclose(each, torch.stack([scores[1][0], scores[2][1]]), atol=1e-6)


def test_spectral_norm_leaves_no_layer_steeper_than_one():
    critic, generator = Critic(PICTURE), Generator(PICTURE)
    for _ in range(30):  # each pass sharpens the estimate
        critic(generator(torch.randn(2, 3)))
    for layer in critic.layers:
        assert torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() == pytest.approx(1, abs=0.01)
    for layer in generator.layers:  # (in, out, ...)
        weight = layer.weight.transpose(0, 1).flatten(1)
        assert torch.linalg.matrix_norm(weight, 2).item() == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("upsampling", ["transposed", "nearest"])
def test_first_weights_of_he_double_the_variance_that_rectifiers_halve(upsampling):
    config = DcganConfig((16,), (25,), (4,), (64, 32), (32, 64), upsampling=upsampling, initial="he")
    torch.manual_seed(0)
    layer, x = Generator(config).layers[0], torch.randn(4, 64, 64)
    with torch.no_grad():
        inner = layer(x)[..., 50:-50]
        assert inner.var().item() == pytest.approx(2, rel=0.2)
        flat = Critic(config).layers[1](torch.randn(4, 32, 400))[..., 10:-10]
    assert flat.var().item() == pytest.approx(2, rel=0.2)


def test_first_weights_of_glorot_are_those_of_both_ends():
    torch.manual_seed(0)
    layer = Critic(DcganConfig((4,), (25,), (4,), (32, 16), (16, 32))).layers[1]
    assert layer.weight.var().item() == pytest.approx(2 / (25 * (16 + 32)), rel=0.05)
    assert not layer.bias.any()
