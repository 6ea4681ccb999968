import pytest
import torch

from retimbre.training.ema import Ema
from retimbre.training.losses import ReplayPool, hinge_discriminator, hinge_generator, lsgan_discriminator, lsgan_generator


def test_least_squares_values():
    ones, zeros = torch.ones(3), torch.zeros(3)
    assert lsgan_discriminator(ones, zeros) == 0
    assert lsgan_discriminator(ones / 2, ones / 2) == 0.25
    assert lsgan_generator(ones) == 0 and lsgan_generator(zeros) == 1


def test_hinge_values():
    assert hinge_discriminator(torch.tensor([2.0]), torch.tensor([-2.0])) == 0
    assert hinge_discriminator(torch.zeros(1), torch.zeros(1)) == 2
    assert hinge_generator(torch.tensor([3.0])) == -3


@pytest.mark.parametrize("loss", [lsgan_discriminator, hinge_discriminator])
def test_discriminator_losses_push_the_right_way(loss):
    real, fake = torch.zeros(2, requires_grad=True), torch.zeros(2, requires_grad=True)
    loss(real, fake + 0.5).backward()
    assert (real.grad < 0).all() and (fake.grad > 0).all()


def test_pool_returns_older_examples_and_is_a_function_of_seed_and_step():
    def play(pool, steps):
        return torch.cat([pool(torch.full((2, 1), float(step)), step) for step in steps])

    out = play(ReplayPool(4, seed=1, stream=0), range(30))
    assert len(out) == 60
    assert (out[:4].flatten() == torch.tensor([0.0, 0.0, 1.0, 1.0])).all()  # filled with the first ones
    ages = torch.arange(30).repeat_interleave(2) - out.flatten()
    assert (ages >= 0).all() and (ages > 0).float().mean() > 0.25

    pool = ReplayPool(4, seed=1, stream=0)
    first = play(pool, range(10))
    other = ReplayPool(4, seed=1, stream=0)
    other.load_state_dict(pool.state_dict())
    assert torch.equal(torch.cat([first, play(other, range(10, 30))]), out)


def test_pool_of_size_zero_is_the_identity():
    x = torch.rand(3, 2)
    assert ReplayPool(0, 1, 0)(x, 5) is x


def test_ema_follows_and_warms_up():
    torch.manual_seed(0)
    network = torch.nn.Linear(2, 2)
    ema = Ema(network, 0.9)
    with torch.no_grad():
        network.weight.fill_(1.0)
    ema.update(network, 0)  # decay 0.1 at the first step
    start = ema.module.weight.clone()
    assert (start > 0.5).all()
    for step in range(1, 400):
        ema.update(network, step)
    assert torch.allclose(ema.module.weight, network.weight, atol=1e-3)
    assert not ema.module.weight.requires_grad
