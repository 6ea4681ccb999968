import math

import librosa
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from retimbre.audio.cqt import cqt_frequencies
from retimbre.nn.spectral.discriminators import DISCRIMINATORS, Discriminator
from retimbre.training.averages import Ema
from retimbre.training.gan import (
    DISCRIMINATOR_LOSS,
    GENERATOR_LOSS,
    Adversarial,
    PitchClassLevels,
    ReplayPool,
    feature_matching,
    gradient_penalty,
    hinge_discriminator,
    hinge_generator,
    lsgan_discriminator,
    lsgan_generator,
    nonsaturating_discriminator,
    nonsaturating_generator,
    wasserstein_discriminator,
)

C1 = librosa.note_to_hz("C1")


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def test_least_squares_values():
    ones, zeros = torch.ones(3), torch.zeros(3)
    assert lsgan_discriminator(ones, zeros) == 0
    assert lsgan_discriminator(ones / 2, ones / 2) == 0.25
    assert lsgan_generator(ones) == 0 and lsgan_generator(zeros) == 1


def test_hinge_values():
    assert hinge_discriminator(torch.tensor([2.0]), torch.tensor([-2.0])) == 0
    assert hinge_discriminator(torch.zeros(1), torch.zeros(1)) == 2
    assert hinge_generator(torch.tensor([3.0])) == -3


def test_nonsaturating_values_are_cross_entropies():
    real, fake = torch.randn(50), torch.randn(50)
    bce = F.binary_cross_entropy_with_logits
    assert torch.allclose(nonsaturating_generator(fake), bce(fake, torch.ones(50)))
    expected = (bce(real, torch.ones(50)) + bce(fake, torch.zeros(50))) / 2
    assert torch.allclose(nonsaturating_discriminator(real, fake), expected)
    smoothed = (bce(real, torch.full((50,), 0.9)) + bce(fake, torch.zeros(50))) / 2
    assert torch.allclose(nonsaturating_discriminator(real, fake, 0.1), smoothed)
    assert nonsaturating_discriminator(torch.zeros(1), torch.zeros(1)) == pytest.approx(math.log(2))


def test_wasserstein_is_a_difference_of_means():
    assert wasserstein_discriminator(torch.tensor([1.0, 3.0]), torch.tensor([-1.0])) == -3


@pytest.mark.parametrize("name", list(DISCRIMINATOR_LOSS))
def test_adversarial_losses_push_the_right_way(name):
    real, fake = torch.zeros(2, requires_grad=True), torch.zeros(2, requires_grad=True)
    DISCRIMINATOR_LOSS[name](real, fake + 0.5, 0).backward()
    assert (real.grad < 0).all() and (fake.grad > 0).all()
    fake = torch.zeros(2, requires_grad=True)
    GENERATOR_LOSS[name](fake).backward()
    assert (fake.grad < 0).all()


@pytest.mark.parametrize(("name", "best"), [("lsgan", 0.8), ("nonsaturating", math.log(0.8 / 0.2))])
def test_smoothed_labels_are_reached_by_real_scores_only(name, best):
    """The loss is least where real examples get the smoothed label; that of generated ones stays 0."""
    real = torch.tensor([best], requires_grad=True)
    fake = torch.tensor([0.0], requires_grad=True)
    DISCRIMINATOR_LOSS[name](real, fake, 0.2).backward()
    assert real.grad.abs() < 1e-6
    plain = torch.tensor([0.0], requires_grad=True)
    DISCRIMINATOR_LOSS[name](torch.zeros(1), plain, 0).backward()
    assert torch.equal(fake.grad, plain.grad)


def test_several_networks_count_the_same():
    maps = [[torch.rand(2, 1, 3, 5)], [torch.rand(2, 1, 1, 1)]]
    each = [lsgan_generator(activations[-1]) for activations in maps]
    assert torch.allclose(Adversarial("lsgan").generator(maps), (each[0] + each[1]) / 2)


class Linear(nn.Module):
    """D(x) = weight . x: its gradient is the weight everywhere."""

    def __init__(self, weight: Tensor):
        super().__init__()
        self.weight = nn.Parameter(weight)

    def forward(self, x: Tensor, source: Tensor | None = None) -> list[list[Tensor]]:
        return [[(x * self.weight).sum((1, 2), keepdim=True)[:, None]]]


@pytest.mark.parametrize(("norm", "penalty"), [(1.0, 0.0), (3.0, 4.0), (0.5, 0.25)])
def test_penalty_of_a_linear_critic_is_two_sided_and_its_norm_is_over_the_example(norm, penalty):
    weight = torch.randn(3, 4, dtype=torch.float64)
    real, fake = torch.randn(2, 5, 3, 4, dtype=torch.float64)
    value = gradient_penalty(
        Linear(weight * norm / weight.norm()), real, fake, torch.rand(5, dtype=torch.float64)
    )
    assert value.item() == pytest.approx(penalty, abs=1e-12)


def small(kinds, **options) -> Discriminator:
    torch.manual_seed(0)
    return Discriminator(8, kinds, 8, **options).double()


@pytest.mark.parametrize("kinds", [*DISCRIMINATORS, ["patch", "temporal"]])
def test_penalty_is_that_of_the_numerical_gradient_at_the_interpolates(kinds):
    d = small(kinds)
    real, fake = torch.rand(2, 2, 8, 12, dtype=torch.float64)
    share = torch.tensor([0.25, 0.8], dtype=torch.float64)
    expected, e = 0.0, 1e-6
    mixed = share[:, None, None] * real + (1 - share)[:, None, None] * fake
    for network in range(len(d(mixed))):
        for example in mixed:
            moves = torch.eye(8 * 12, dtype=torch.float64).reshape(-1, 8, 12) * e
            with torch.no_grad():
                up, down = (d(example + sign * moves)[network][-1].flatten(1).mean(1) for sign in (1, -1))
            expected += (((up - down) / (2 * e)).norm() - 1) ** 2 / len(mixed) / len(d(mixed))
    assert gradient_penalty(d, real, fake, share).item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("options", [{}, {"conditional": True}, {"spectral_norm": True}])
@pytest.mark.parametrize("kinds", list(DISCRIMINATORS))
def test_penalty_changes_the_weights_gradient_as_finite_differences_say(kinds, options):
    """The double backward: the derivative of the penalty along a random direction of all weights."""
    d = small(kinds, **options).eval()  # in training a spectral norm moves at every pass
    real, fake, source = torch.rand(3, 2, 8, 12, dtype=torch.float64)
    share = torch.rand(2, dtype=torch.float64)

    def penalty() -> Tensor:
        return gradient_penalty(d, real, fake, share, source if options.get("conditional") else None)

    weights = [p for p in d.parameters()]
    # An output's bias does not change a gradient.
    gradients = torch.autograd.grad(penalty(), weights, allow_unused=True)
    directions = [torch.randn_like(p) for p in weights]
    derivative = sum((g * v).sum() for g, v in zip(gradients, directions, strict=True) if g is not None)
    e, values = 1e-6, []
    for sign in (1, -2):
        with torch.no_grad():
            for p, v in zip(weights, directions, strict=True):
                p += sign * e * v
        values.append(penalty().item())
    assert abs(derivative.item()) > 1e-6
    assert derivative.item() == pytest.approx((values[0] - values[1]) / (2 * e), rel=1e-4)


def test_penalty_gives_no_gradient_to_what_made_the_fakes():
    fake = torch.rand(2, 8, 12, dtype=torch.float64, requires_grad=True)
    gradient_penalty(
        small("patch"), torch.rand_like(fake), fake, torch.rand(2, dtype=torch.float64)
    ).backward()
    assert fake.grad is None


def test_features_of_the_same_examples_in_another_order_match_unless_they_are_pairs():
    d = small(["patch", "conv1d"])
    x = torch.rand(4, 8, 12, dtype=torch.float64)
    real, shuffled, other = d(x), d(x.flip(0)), d(x * 0.5)
    assert feature_matching(real, shuffled) < 1e-12 < feature_matching(real, shuffled, paired=True)
    assert feature_matching(real, real, paired=True) == 0
    assert feature_matching(real, other) > 1e-3


def test_feature_matching_pulls_the_fakes_only_and_leaves_the_scores_alone():
    real = [[torch.ones(2, 3, 1, 4, requires_grad=True), torch.zeros(2, 1, 1, 4)]]
    fake = [[torch.zeros(2, 3, 1, 4, requires_grad=True), torch.ones(2, 1, 1, 4, requires_grad=True)]]
    loss = feature_matching(real, fake)
    loss.backward()
    assert loss == 1 and (fake[0][0].grad < 0).all()
    assert real[0][0].grad is None and fake[0][1].grad is None


@pytest.mark.parametrize(("bins", "bins_per_octave"), [(84, 12), (168, 24), (252, 36), (336, 48)])
def test_pitch_classes_are_librosas(bins, bins_per_octave):
    fold = PitchClassLevels(cqt_frequencies(C1, bins, bins_per_octave), 60).fold
    expected = librosa.filters.cq_to_chroma(bins, bins_per_octave=bins_per_octave, n_chroma=12, fmin=C1)
    assert torch.equal(fold, torch.from_numpy(expected).float())


def test_pitch_class_levels_ignore_gain_and_octave_but_not_the_note():
    fold = PitchClassLevels(cqt_frequencies(C1, 84, 12), 60)

    def note(bin_: int, z: float = 0.5) -> Tensor:
        return torch.full((1, 84, 3), -1.0).index_fill(1, torch.tensor([bin_]), z)

    x = torch.rand(1, 84, 3) * 0.5 - 0.5
    assert torch.allclose(fold(x + 0.4), fold(x), atol=1e-4)
    assert torch.allclose(fold(note(36)), fold(note(48)), atol=1e-4)
    assert (fold(note(36)) - fold(note(37))).abs().mean() > 0.1
    louder = fold(note(36)) - fold(note(36, 0.25))  # levels are in half ranges, as z is
    assert (louder[:, 0] - louder[:, 1]).allclose(torch.tensor(0.25), atol=1e-3)


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
