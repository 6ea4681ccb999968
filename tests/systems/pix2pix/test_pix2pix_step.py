import pytest
import torch

from retimbre.nn.spectral.discriminators import Discriminator
from retimbre.nn.spectral.generators import Generator, GeneratorConfig
from retimbre.systems.pix2pix.train import Pix2PixTrainer
from retimbre.training.devices import make_fabric
from tests.systems.pix2pix.test_pix2pix import pix2pix_params

KNOBS = dict(
    representation="cqt",
    steps=100,
    lambda_l1=100,
    learning_rate_generator=1e-2,
    learning_rate_discriminator=1e-3,
    ema_decay=0.99,
    discriminator_noise=0,
)


def make(**changes) -> Pix2PixTrainer:
    torch.manual_seed(0)
    shape = GeneratorConfig(16, "resnet1d", 48, 1, change_limit=0)
    generators = torch.nn.ModuleDict({n: Generator(shape) for n in ("ab", "ba")})
    discriminators = torch.nn.ModuleDict(
        {n: Discriminator(16, "patch", 8, conditional=True) for n in ("a", "b")}
    )
    return Pix2PixTrainer(
        generators, discriminators, pix2pix_params(**KNOBS | changes), make_fabric("cpu"), 0
    )


def pair(step: int) -> tuple[torch.Tensor, torch.Tensor]:
    """``b`` is ``a`` with its lower half weakened and delayed by a frame: what an equaliser cannot do."""
    g = torch.Generator().manual_seed(step)
    a = torch.rand(4, 16, 24, generator=g) * 1.6 - 0.8
    b = a.clone()
    b[:, :8] = 0.5 * a.roll(1, -1)[:, :8] - 0.4
    return a, b


def test_l1_to_the_true_target_falls_both_ways_and_counts_with_its_weight():
    trainer = make()
    rows = [trainer.step(*pair(step), step) for step in range(40)]
    l1 = [float(row["loss/l1"]) for row in rows]
    assert sum(l1[-5:]) < 0.75 * sum(l1[:5])
    assert torch.allclose(rows[0]["loss/generator"], rows[0]["loss/adversarial"] + 100 * rows[0]["loss/l1"])
    assert rows[0].keys().isdisjoint({"loss/cycle", "loss/identity"})


def test_without_the_adversarial_loss_both_directions_are_learnt():
    trainer = make(lambda_adversarial=0)
    g = trainer.generators

    @torch.no_grad()
    def distances() -> list[float]:
        a, b = pair(99)
        return [float((g["ab"](a) - b).abs().mean()), float((g["ba"](b) - a).abs().mean())]

    before = distances()
    for step in range(40):
        trainer.step(*pair(step), step)
    assert all(after < 0.8 * start for start, after in zip(before, distances(), strict=True))


def test_nothing_is_pooled():
    """An older fake has another source."""
    trainer = make()
    trainer.step(*pair(0), 0)
    assert all(pool.examples == [] for pool in trainer.pools.values())


def test_discriminators_see_what_a_candidate_was_made_from():
    trainer, seen = make(), {"a": [], "b": []}
    for name, d in trainer.discriminators.items():
        d.register_forward_pre_hook(lambda _, args, name=name: seen[name].append(args))
    a, b = pair(0)
    with torch.no_grad():
        fake_b, fake_a = trainer.generators["ab"](a), trainer.generators["ba"](b)
    trainer.step(a, b, 0)
    for name, real, fake, source in (("a", a, fake_a, b), ("b", b, fake_b, a)):
        assert all(torch.equal(given, source) for _, given in seen[name])
        candidates = [candidate for candidate, _ in seen[name]]
        assert len(candidates) == 3, "the generator's step, then a real and a generated one"
        assert (
            torch.equal(candidates[0], fake)
            and torch.equal(candidates[1], real)
            and torch.equal(candidates[2], fake)
        )


@pytest.mark.parametrize(
    "changes", [{"gan_loss": "nonsaturating"}, {"gan_loss": "wgan_gp", "lambda_gradient_penalty": 10}]
)
def test_other_losses_and_terms_go_with_pairs(changes):
    trainer = make(lambda_feature_matching=1, **changes)
    for step in range(3):
        losses = trainer.step(*pair(step), step, [pair(step + 50)])
    assert all(torch.isfinite(value) for value in losses.values())
    assert losses["loss/feature_matching"] > 0
