import pytest
import torch

from retimbre.models.cyclegan import Discriminator, Generator, GeneratorConfig
from retimbre.training.cyclegan import CycleGanTrainer, TrainingConfig, rate_factor
from retimbre.training.devices import make_fabric

BASE = dict(
    steps=100,
    gan_loss="lsgan",
    lambda_adversarial=1,
    lambda_cycle=4,
    lambda_identity=1,
    identity_until=0.3,
    pool_size=8,
    learning_rate_generator=1e-3,
    learning_rate_discriminator=1e-3,
    adam_beta1=0.5,
    decay_from=0.5,
    ema_decay=0.99,
)


def make(seed: int = 0, **changes) -> CycleGanTrainer:
    torch.manual_seed(seed)
    generators = torch.nn.ModuleDict({n: Generator(GeneratorConfig(16, channels=8, blocks=1)) for n in ("ab", "ba")})
    discriminators = torch.nn.ModuleDict({n: Discriminator(16, channels=16) for n in ("a", "b")})
    return CycleGanTrainer(generators, discriminators, TrainingConfig(**(BASE | changes)), make_fabric("cpu"), seed)


def batch(step: int) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(step)
    return torch.rand(2, 16, 24, generator=g) * 2 - 1, torch.rand(2, 16, 24, generator=g) - 1


def weights(trainer: CycleGanTrainer) -> torch.Tensor:
    networks = (trainer.generators, trainer.discriminators, trainer.ema.module)
    return torch.cat([p.detach().flatten() for n in networks for p in n.parameters()])


def test_cycle_and_identity_are_zero_for_generators_that_change_nothing():
    trainer = make()
    for generator in trainer.generators.values():
        torch.nn.init.zeros_(generator.body.out.weight)
    losses = trainer.step(*batch(0), 0)
    assert losses["loss/cycle"] == 0 and losses["loss/identity"] == 0


def test_identity_weight_falls_linearly_to_zero_and_its_passes_stop():
    trainer = make()
    assert [round(trainer.lambdas(s)["loss/identity"], 6) for s in (0, 15, 30, 60)] == [1.0, 0.5, 0.0, 0.0]
    assert "loss/identity" not in trainer.step(*batch(0), 60)


def test_lambdas_weight_the_total_once():
    trainer = make(lambda_cycle=10)
    losses = trainer.step(*batch(0), 0)
    expected = losses["loss/adversarial"] + 10 * losses["loss/cycle"] + losses["loss/identity"]
    assert torch.allclose(losses["loss/generator"], expected)


def test_each_step_trains_both_sides():
    trainer = make()
    before = [p.detach().clone() for p in (*trainer.generators.parameters(), *trainer.discriminators.parameters())]
    trainer.step(*batch(0), 0)
    after = (*trainer.generators.parameters(), *trainer.discriminators.parameters())
    assert all(not torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_resumed_equals_uninterrupted():
    whole = make()
    for step in range(8):
        whole.step(*batch(step), step)
    first = make()
    for step in range(5):
        first.step(*batch(step), step)
    state = first.state_dict()
    second = make(seed=9)
    second.load_state_dict(state)
    for pool in second.pools.values():
        pool.seed = 0
    for step in range(5, 8):
        second.step(*batch(step), step)
    assert torch.equal(weights(whole), weights(second))


def test_discriminators_learn_to_tell_the_domains_apart():
    trainer = make(learning_rate_generator=1e-9)
    values = [float(trainer.step(*batch(step), step)["loss/discriminator"]) for step in range(60)]
    assert sum(values[-10:]) < 0.7 * sum(values[:10])


@pytest.mark.parametrize(("share", "factor"), [(0.0, 1.0), (0.49, 1.0), (0.75, 0.5), (1.0, 0.02)])
def test_rates_are_constant_then_fall(share, factor):
    assert rate_factor(share, 0.5) == pytest.approx(factor)
