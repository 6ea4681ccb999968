"""The training against a critic: its penalty is that of slopes, and a generator learns from it."""

import numpy as np
import pytest
import torch

from retimbre.synthesis.adversarial import Batch, WassersteinTrainer, batches, uniform
from retimbre.synthesis.base import Notes
from retimbre.synthesis.dcgan import Critic, DcganConfig, Generator
from retimbre.synthesis.wavegan.params import Params
from retimbre.training.gan import interpolated, slope_penalty
from tests.synthesis.test_unconditional import params
from tests.toys.features import run_of

SHAPE = DcganConfig((2,), (25,), (4,), (3, 2), (2, 3), latent=3, phase_shuffle=2)


def trainer(p: Params, shape: DcganConfig = SHAPE, dtype: torch.dtype = torch.float64) -> WassersteinTrainer:
    torch.manual_seed(0)
    networks = (Generator(shape).to(dtype), Critic(shape).to(dtype))
    return WassersteinTrainer(*networks, lambda audio: audio[:, None], p, run_of().fabric)


@pytest.mark.parametrize("shape", [(3, 1, 20), (3, 2, 4, 5)])
@pytest.mark.parametrize("norm", [0.0, 1.0, 2.5])
def test_the_penalty_of_a_linear_critic_is_that_of_its_slope(shape, norm):
    real, fake = torch.rand(2, *shape).double()
    weight = torch.rand(shape[1:]).double()
    weight *= norm / weight.norm()
    mixed = interpolated(real, fake, torch.tensor([0.0, 0.5, 1.0]).double())
    assert torch.allclose(mixed[0], fake[0]) and torch.allclose(mixed[2], real[2])
    value = slope_penalty((mixed * weight).flatten(1).sum(1), mixed)
    assert value.item() == pytest.approx((norm - 1) ** 2, abs=1e-9)


@pytest.mark.parametrize(
    "shifts", [torch.tensor([[1], [-2], [2]]), torch.tensor([[[1, 0]], [[-2, 1]], [[2, -1]]])]
)
def test_a_critic_step_reports_the_distance_and_the_penalty_of_shifted_interpolates(shifts):
    made = trainer(params("wavegan", critic_steps=1, learning_rate=1e-9))
    real, z, own = torch.rand(1, 2, 32).double(), torch.rand(2, 2, 3).double(), shifts[0]
    share = torch.tensor([[0.3, 0.9]]).double()
    losses = made.step(Batch(real, z, share, shifts[None], own), 0)
    with torch.no_grad():
        fake, x = made.generator(z[0]), real[0][:, None]
        distance = made.critic(fake, shifts[1]).mean() - made.critic(x, shifts[0]).mean()
        mixed = share[0][:, None, None] * x + (1 - share[0][:, None, None]) * fake
        slopes, e = torch.zeros(2, 32).double(), 1e-5
        for n in range(32):
            move = torch.zeros(32).double()
            move[n] = e
            up, down = (made.critic(mixed + sign * move, shifts[2]) for sign in (1, -1))
            slopes[:, n] = (up - down) / (2 * e)
        generator = -made.critic(made.generator(z[1]), own).mean()
    penalty = ((slopes.norm(dim=1) - 1) ** 2).mean()
    assert losses["loss/critic"].item() == pytest.approx(distance.item(), rel=1e-3)
    assert losses["loss/gradient_penalty"].item() == pytest.approx(penalty.item(), rel=1e-3)
    assert losses["loss/generator"].item() == pytest.approx(generator.item(), rel=1e-3)


def test_a_generator_learns_the_only_note_there_is():
    note = 0.7 * np.sin(2 * np.pi * np.arange(64) / 8).astype(np.float32)
    notes = Notes(note[None], *(np.zeros(1, int),) * 3, ("a",), 16000)
    p = params("wavegan", latent=3, batch_size=8, critic_steps=3, learning_rate=0.004, phase_shuffle=0)
    made = trainer(p, DcganConfig((4,), (25,), (4,), (8, 4), (4, 8), latent=3), torch.float32)
    draw = batches(notes, made.critic.shuffled, uniform, p, 0)

    def error() -> float:
        with torch.no_grad():
            made_up = made.ema.module(torch.rand(16, 3) * 2 - 1)[:, 0]
        return float((made_up - torch.from_numpy(note)).norm(dim=1).mean() / np.linalg.norm(note))

    before = error()
    for step in range(50):
        made.step(draw(step), step)
    assert before > 0.9 and error() < 0.5
