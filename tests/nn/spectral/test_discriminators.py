import pytest
import torch

from retimbre.nn.spectral.discriminators import DISCRIMINATORS, Discriminator
from retimbre.systems.cyclegan import params

KINDS = list(DISCRIMINATORS)


def make(kinds="full_spectrum", bins: int = 84, channels: int = 16, **options) -> Discriminator:
    torch.manual_seed(0)
    return Discriminator(bins, kinds, channels, **options)


def scores(discriminator: Discriminator, *x: torch.Tensor) -> list[torch.Tensor]:
    return [activations[-1] for activations in discriminator(*x)]


def without_group_norm(discriminator: Discriminator) -> Discriminator:
    """Group norm carries a change everywhere; without it, scores show what the layers see."""
    for layer in discriminator.modules():
        if isinstance(layer, torch.nn.GroupNorm):
            layer.forward = lambda h: h
    return discriminator


def test_params_name_what_is_built():
    assert params.DISCRIMINATORS == tuple(DISCRIMINATORS)


@pytest.mark.parametrize("frames", [16, 64, 250])
@pytest.mark.parametrize(
    ("kind", "shape"),
    [
        ("full_spectrum", lambda t: (1, -(-t // 8))),
        ("patch", lambda t: (11, -(-t // 8))),
        ("conv1d", lambda t: (1, t)),
        ("spectrogram", lambda t: (1, 1)),
        ("temporal", lambda t: (8, -(-t // 4))),
    ],
)
def test_maps_of_scores(kind, shape, frames):
    (score,) = scores(make(kind), torch.rand(2, 84, frames))
    assert score.shape == (2, 1, *shape(frames))


@pytest.mark.parametrize("bins", [81, 84, 257])
@pytest.mark.parametrize("frames", [17, 33])
@pytest.mark.parametrize("spectral_norm", [True, False])
def test_all_at_once_at_three_scales(bins, frames, spectral_norm):
    found = make(KINDS, bins, scales=3, spectral_norm=spectral_norm)(torch.rand(2, bins, frames))
    assert len(found) == 3 * len(KINDS)
    for activations in found:
        assert len(activations) >= 4
        assert activations[-1].shape[:2] == (2, 1)
        assert all(torch.isfinite(activation).all() for activation in activations)


def test_a_coarser_scale_sees_means_of_bins_and_frames():
    d = make("patch", scales=2)
    fine = torch.rand(1, 84, 32)
    coarse = fine.reshape(1, 42, 2, 16, 2).mean((2, 4))
    assert torch.allclose(scores(d, fine)[1], d.networks[1][0](coarse)[-1], atol=1e-6)


def test_which_scores_see_distant_bins():
    x = torch.rand(1, 84, 32)
    moved = x.clone()
    moved[:, :4] += 1.0  # only the lowest bins
    for kind, sees in (
        ("full_spectrum", True),
        ("patch", False),
        ("conv1d", True),
        ("spectrogram", True),
        ("temporal", False),
    ):
        d = without_group_norm(make(kind))
        top = (scores(d, x)[0] - scores(d, moved)[0])[0, 0, -1].abs().max() > 1e-6
        assert bool(top) == sees, kind


@pytest.mark.parametrize(
    ("kind", "frames"), [("patch", 38), ("full_spectrum", 38), ("conv1d", 32), ("spectrogram", 128)]
)
def test_how_much_time_a_score_sees(kind, frames):
    """The layers' reach, and one frame more for the change into the first of them."""
    d = without_group_norm(make(kind)).double()
    x = torch.rand(1, 84, 128, dtype=torch.float64, requires_grad=True)
    score = scores(d, x)[0]
    score[0, 0, score.shape[2] // 2, score.shape[3] // 2].backward()
    assert int((x.grad[0].abs().sum(0) > 1e-12).sum()) == frames


def test_the_temporal_one_does_not_see_the_static_spectrum_but_its_course():
    d = make("temporal")
    x = torch.rand(2, 84, 64)
    louder = x + torch.linspace(-1, 1, 84)[:, None]  # another timbre that never changes
    assert torch.allclose(scores(d, x)[0], scores(d, louder)[0], atol=1e-4)
    fading = x - torch.linspace(0, 1, 64)
    assert not torch.allclose(scores(d, x)[0], scores(d, fading)[0], atol=1e-2)


@pytest.mark.parametrize("kind", KINDS)
def test_an_example_does_not_change_the_scores_of_another(kind):
    d = make(kind)
    x = torch.rand(2, 84, 32)
    y = torch.cat([x[:1], 1 - x[1:]])
    assert torch.equal(scores(d, x)[0][0], scores(d, y)[0][0])


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_reach_every_parameter(kind):
    for options in ({}, {"spectral_norm": True}, {"conditional": True}):
        d = make(kind, **options)
        x = torch.rand(2, 84, 32)
        sum((score**2).sum() for score in scores(d, x, 1 - x)).backward()
        assert [name for name, p in d.named_parameters() if not p.grad.abs().sum() > 0] == []


@pytest.mark.parametrize("kind", KINDS)
def test_spectral_norm_bounds_every_layer_and_replaces_group_norm(kind):
    d = make(kind, spectral_norm=True)
    for _ in range(60):  # each pass in training mode is one step of the power iteration
        d(torch.rand(1, 84, 16))
    norms = [
        torch.linalg.matrix_norm(m.weight.detach().flatten(1), 2)
        for m in d.modules()
        if isinstance(m, torch.nn.Conv2d)
    ]
    assert len(norms) >= 5
    assert torch.stack(norms) == pytest.approx(torch.ones(len(norms)), abs=0.05)
    assert not any(isinstance(m, torch.nn.GroupNorm) for m in d.modules())


@pytest.mark.parametrize("options", [{}, {"spectral_norm": True}, {"scales": 2, "conditional": True}])
def test_no_batch_norm_anywhere(options):
    assert not any(
        isinstance(m, torch.nn.modules.batchnorm._BatchNorm) for m in make(KINDS, **options).modules()
    )


def test_a_conditional_one_sees_the_source():
    d = make("patch", conditional=True)
    x, source = torch.rand(2, 84, 32), torch.rand(2, 84, 32)
    assert not torch.allclose(scores(d, x, source)[0], scores(d, x, x)[0], atol=1e-3)
