import itertools

import pytest
import torch

from retimbre.audio.cqt import cqt_frequencies
from retimbre.nn.spectral.discriminators import DISCRIMINATORS, Discriminator
from retimbre.nn.spectral.generators import Generator, GeneratorConfig
from retimbre.systems.cyclegan.step import AdversarialTrainer, CycleGanTrainer
from retimbre.training.averages import Ema
from retimbre.training.devices import make_fabric
from retimbre.training.gan import PitchClassLevels
from tests.toys.features import model_params

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
    ema_warmup=9,
)


def make(
    seed: int = 0, generator: dict | None = None, discriminator: dict | None = None, **changes
) -> CycleGanTrainer:
    torch.manual_seed(seed)
    shape = GeneratorConfig(16, **({"channels": 8, "blocks": 1} | (generator or {})))
    generators = torch.nn.ModuleDict({n: Generator(shape) for n in ("ab", "ba")})
    discriminators = torch.nn.ModuleDict(
        {n: Discriminator(16, **({"channels": 16} | (discriminator or {}))) for n in ("a", "b")}
    )
    content = PitchClassLevels(cqt_frequencies(32.7, 16, 12), 60)
    p = model_params(**BASE | {"representation": "cqt"} | changes)
    return CycleGanTrainer(generators, discriminators, p, make_fabric("cpu"), seed, content)


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
    trainer = make(lambda_cycle=10, lambda_feature_matching=3, lambda_content=0.5)
    losses = trainer.step(*batch(0), 0)
    expected = losses["loss/adversarial"] + 10 * losses["loss/cycle"] + losses["loss/identity"]
    expected = expected + 3 * losses["loss/feature_matching"] + 0.5 * losses["loss/content"]
    assert torch.allclose(losses["loss/generator"], expected)


def test_what_is_not_wanted_is_not_computed():
    losses = make().step(*batch(0), 0)
    assert losses.keys().isdisjoint(
        {"loss/feature_matching", "loss/content", "loss/gradient_penalty", "loss/l1"}
    )


def test_each_step_trains_both_sides():
    trainer = make()
    before = [
        p.detach().clone() for p in (*trainer.generators.parameters(), *trainer.discriminators.parameters())
    ]
    trainer.step(*batch(0), 0)
    after = (*trainer.generators.parameters(), *trainer.discriminators.parameters())
    assert all(not torch.equal(a, b) for a, b in zip(before, after, strict=True))


ALL_AT_ONCE = dict(
    discriminator={"kinds": ["full_spectrum", "temporal"], "scales": 2, "spectral_norm": True},
    gan_loss="wgan_gp",
    lambda_gradient_penalty=10,
    lambda_feature_matching=1,
    lambda_content=1,
)


@pytest.mark.parametrize("options", [{}, ALL_AT_ONCE])
def test_resumed_equals_uninterrupted(options):
    def play(trainer: CycleGanTrainer, steps: range) -> None:
        for step in steps:
            trainer.step(*batch(step), step, [batch(step + 100)])

    whole = make(**options)
    play(whole, range(5))
    first = make(**options)
    play(first, range(3))
    second = make(seed=9, **options)
    second.load_state_dict(first.state_dict())
    second.seed = 0
    for pool in second.pools.values():
        pool.seed = 0
    play(second, range(3, 5))
    assert torch.equal(weights(whole), weights(second))


def figures_over_time(trainer: AdversarialTrainer, name: str, steps: int = 24) -> tuple[float, float]:
    """Means of a figure, which is finite, over the first and the last quarter of some steps on one batch."""
    rows = [trainer.step(*batch(0), step) for step in range(steps)]
    assert all(torch.isfinite(value) for row in rows for value in row.values())
    values = [float(row[name]) for row in rows]
    return sum(values[: steps // 4]) / (steps // 4), sum(values[-(steps // 4) :]) / (steps // 4)


@pytest.mark.parametrize(
    ("gan_loss", "spectral_norm"),
    [("lsgan", False), ("nonsaturating", False), ("hinge", False), ("hinge", True), ("wgan_gp", False)],
)
@pytest.mark.parametrize("kinds", [*DISCRIMINATORS, ["patch", "temporal"]])
def test_every_discriminator_learns_by_every_loss(gan_loss, kinds, spectral_norm):
    trainer = make(
        discriminator={"kinds": kinds, "spectral_norm": spectral_norm, "channels": 8},
        gan_loss=gan_loss,
        lambda_gradient_penalty=10 if gan_loss == "wgan_gp" else 0,
        learning_rate_generator=1e-9,
        learning_rate_discriminator=5e-3,
    )
    first, last = figures_over_time(trainer, "loss/discriminator")
    assert last < first - 0.005


@pytest.mark.parametrize(
    ("kind", "upsampling"),
    [
        ("resnet1d", "nearest"),
        *itertools.product(("resnet2d", "unet", "yoon2019"), ("nearest", "transposed")),
    ],
)
@pytest.mark.parametrize("residual_output", [True, False])
def test_every_generator_learns(kind, upsampling, residual_output):
    """Against discriminators that stand still. One that adds its input has no cycle error to begin with."""
    trainer = make(
        generator={"kind": kind, "upsampling": upsampling, "residual_output": residual_output, "channels": 4},
        learning_rate_generator=5e-3,
        learning_rate_discriminator=1e-9,
        lambda_cycle=0 if residual_output else 1,
        lambda_identity=0,
        lambda_feature_matching=1,
    )
    first, last = figures_over_time(trainer, "loss/generator")
    assert last < 0.97 * first


@pytest.mark.parametrize("gan_loss", ["lsgan", "nonsaturating", "hinge", "wgan_gp"])
def test_generators_follow_every_loss(gan_loss):
    trainer = make(
        gan_loss=gan_loss,
        lambda_gradient_penalty=10 if gan_loss == "wgan_gp" else 0,
        lambda_cycle=0,
        lambda_identity=0,
        learning_rate_generator=1e-2,
        learning_rate_discriminator=1e-9,
    )
    first, last = figures_over_time(trainer, "loss/adversarial")
    assert last < first - 0.01


@pytest.mark.parametrize(
    ("name", "option"),
    [("loss/feature_matching", "lambda_feature_matching"), ("loss/content", "lambda_content")],
)
def test_a_loss_falls_when_it_alone_counts(name, option):
    trainer = make(
        **{option: 1},
        lambda_adversarial=0,
        lambda_cycle=0,
        lambda_identity=0,
        learning_rate_generator=1e-2,
        learning_rate_discriminator=1e-9,
    )
    for generator in trainer.generators.values():
        torch.nn.init.normal_(generator.body.out.weight, 0, 0.2)  # a change that content is damaged by
    first, last = figures_over_time(trainer, name)
    assert last < 0.9 * first


def test_the_penalty_falls_when_it_counts_and_only_then():
    def over_time(weight: float) -> tuple[float, float]:
        trainer = make(
            discriminator={"kinds": "patch", "channels": 8},
            gan_loss="wgan_gp",
            lambda_gradient_penalty=weight,
            lambda_identity=0,
            learning_rate_generator=1e-9,
            learning_rate_discriminator=1e-2,
        )
        return figures_over_time(trainer, "loss/gradient_penalty", 40)

    (first, last), (_, unheld) = over_time(10), over_time(1e-6)
    assert last < 0.6 * first and unheld > 2 * last


def test_the_penalty_is_on_fresh_fakes_the_loss_on_pooled_ones():
    fresh, pooled = (
        make(lambda_gradient_penalty=10, pool_size=0),
        make(lambda_gradient_penalty=10, pool_size=4),
    )
    for pool in pooled.pools.values():
        pool.examples = [torch.full((16, 24), 0.9)] * 4
    results = [trainer.step(*batch(0), 3) for trainer in (fresh, pooled)]
    assert results[0]["loss/gradient_penalty"] == results[1]["loss/gradient_penalty"]
    assert results[0]["loss/discriminator"] != results[1]["loss/discriminator"]


def test_the_penalty_counts_with_its_weight():
    """One plain gradient step: weights move by the loss's gradient and ten times the penalty's."""
    moves = {}
    for weight in (0, 1, 10):
        trainer = make(lambda_gradient_penalty=weight, lambda_identity=0)
        parameters = list(trainer.discriminators.parameters())
        trainer.optimiser_d = torch.optim.SGD(parameters, 1.0)
        before = torch.cat([p.detach().flatten() for p in parameters])
        trainer.step(*batch(0), 0)
        moves[weight] = torch.cat([p.detach().flatten() for p in parameters]) - before
    assert torch.allclose(moves[10] - moves[0], 10 * (moves[1] - moves[0]), rtol=1e-3, atol=1e-6)
    assert (moves[1] - moves[0]).norm() > 1e-6


def test_labels_are_smoothed_for_the_discriminators_only():
    plain, smooth = (make(label_smoothing=s).step(*batch(0), 0) for s in (0, 0.3))
    assert plain["loss/adversarial"] == smooth["loss/adversarial"]
    assert plain["loss/discriminator"] != smooth["loss/discriminator"]


def test_further_discriminator_steps_train_the_discriminators_only_and_on_their_own_crops():
    once, more, others = make(), make(), make()
    once.step(*batch(0), 0)
    more.step(*batch(0), 0, [batch(1), batch(2)])
    others.step(*batch(0), 0, [batch(1), batch(3)])
    for x, y in zip(once.generators.parameters(), more.generators.parameters(), strict=True):
        assert torch.equal(x, y)
    discriminators = [
        torch.cat([p.flatten() for p in t.discriminators.parameters()]) for t in (once, more, others)
    ]
    assert not torch.equal(discriminators[0], discriminators[1])
    assert not torch.equal(discriminators[1], discriminators[2])


def test_discriminators_learn_to_tell_the_domains_apart():
    trainer = make(learning_rate_generator=1e-9)
    values = [float(trainer.step(*batch(step), step)["loss/discriminator"]) for step in range(60)]
    assert sum(values[-10:]) < 0.7 * sum(values[:10])


def test_noise_on_what_discriminators_see_is_that_of_the_step_alone():
    first, second = make(discriminator_noise=0.3), make(discriminator_noise=0.3)
    for _ in range(2):  # whatever was drawn before
        second.noise.manual_seed(7)
        torch.randn(3, generator=second.noise)
    assert all(
        torch.equal(x, y)
        for x, y in zip(first.step(*batch(0), 4).values(), second.step(*batch(0), 4).values(), strict=True)
    )
    assert torch.equal(weights(first), weights(second))
    without, other = make(), make(discriminator_noise=0.3)
    assert without.step(*batch(0), 4)["loss/discriminator"] != other.step(*batch(0), 5)["loss/discriminator"]
    assert not torch.equal(weights(first), weights(without))


@pytest.mark.parametrize("warmup", [2, 9])
def test_average_reaches_over_a_share_of_the_training(warmup):
    network = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.constant_(network.weight, -1.0)  # the random start
    ema, steps = Ema(network, 0.99999, warmup), 2000
    for step in range(steps):
        torch.nn.init.constant_(network.weight, step)
        ema.update(network, step)
    age = steps - 1 - ema.module.weight.item()
    assert age == pytest.approx(steps / (warmup + 1), rel=0.02)  # mean age under weights k^(warmup - 1)
