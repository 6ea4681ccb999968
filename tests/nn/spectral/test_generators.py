import itertools

import pytest
import torch

from retimbre.nn.spectral.generators import Generator, GeneratorConfig

KINDS = ("resnet1d", "resnet2d", "unet", "yoon2019")
# Every body with every way of upsampling that it has.
BODIES = [
    ("resnet1d", "nearest"),
    *itertools.product(("resnet2d", "unet", "yoon2019"), ("nearest", "transposed")),
]


def make(bins: int, kind: str = "resnet1d", seed: int = 0, **options) -> Generator:
    torch.manual_seed(seed)
    return Generator(GeneratorConfig(bins, kind, **({"channels": 8, "blocks": 2} | options)))


def lively(generator: Generator) -> Generator:
    """The same with an output layer that is not near zero, so that everything in it is seen in the output."""
    torch.nn.init.normal_(generator.body.out.weight, 0, 0.3)
    return generator


@pytest.mark.parametrize(("kind", "upsampling"), BODIES)
@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize(("bins", "frames"), [(84, 64), (81, 37), (80, 20), (13, 5)])
def test_generator_keeps_the_shape_and_the_range(kind, upsampling, residual, bins, frames):
    generator = lively(make(bins, kind, upsampling=upsampling, residual_output=residual))
    x = torch.rand(2, bins, frames) * 2 - 1
    y = generator(x)
    assert y.shape == x.shape
    assert y.min() >= -1 and y.max() <= 1


@pytest.mark.parametrize("kind", KINDS)
def test_an_untrained_generator_is_the_equaliser_of_its_offset(kind):
    generator = make(12, kind)
    offset = torch.linspace(-0.2, 0.2, 12)
    with torch.no_grad():
        generator.offset.copy_(offset)
    x = torch.rand(1, 12, 30) - 0.5
    assert torch.allclose(generator(x), x + offset[:, None], atol=0.05)


@pytest.mark.parametrize("kind", KINDS)
def test_the_change_is_bounded_but_not_the_offset(kind):
    generator = make(12, kind, change_limit=0.1)
    torch.nn.init.normal_(generator.body.out.weight, 0, 10.0)
    x = torch.zeros(1, 12, 30)
    change = generator(x).abs()
    assert 0.099 < change.max() <= 0.1 + 1e-6
    with torch.no_grad():
        generator.offset.fill_(0.5)
    assert (generator(x) - 0.5).abs().max() <= 0.1 + 1e-6


def test_without_residual_output_the_input_is_not_added_and_the_offset_equalises_it():
    generator = make(12, "resnet2d", residual_output=False)
    torch.nn.init.zeros_(generator.body.out.weight)
    x = torch.rand(1, 12, 30)
    assert torch.equal(generator(x), torch.zeros_like(x)), "nothing of the input"
    generator = lively(generator)
    with torch.no_grad():
        before = generator(x + 0.25)
        generator.offset.fill_(0.25)
        assert torch.allclose(generator(x), before, atol=1e-6)


def test_gradients_pass_the_clip():
    """A plain clamp would stop learning wherever the output sits at the floor."""
    generator = make(12)
    x = torch.full((1, 12, 16), -1.0)
    with torch.no_grad():
        generator.offset.fill_(-0.5)
    generator(x).sum().backward()
    assert generator.offset.grad.abs().min() > 0


@pytest.mark.parametrize(("kind", "upsampling"), BODIES)
@pytest.mark.parametrize("residual", [True, False])
def test_gradients_reach_every_parameter(kind, upsampling, residual):
    generator = make(84, kind, upsampling=upsampling, residual_output=residual)
    generator(torch.rand(2, 84, 32) - 0.5).square().sum().backward()
    assert [
        name for name, p in generator.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0
    ] == []


@pytest.mark.parametrize(("kind", "upsampling"), BODIES)
@pytest.mark.parametrize("blocks", [1, 3])
def test_context_is_what_an_output_frame_depends_on(kind, upsampling, blocks):
    """Measured by the gradient of one output frame at every place of the grid: the stated one is no smaller,
    and larger by less than one step of the grid and the reach of one convolution.
    """
    generator = lively(
        make(16, kind, channels=4, blocks=blocks, upsampling=upsampling, change_limit=0)
    ).double()
    half = -(-(generator.context + 8) // generator.stride) * generator.stride
    reach = 0
    for place in range(half, half + generator.stride):
        x = torch.rand(1, 16, 2 * half + generator.stride, dtype=torch.float64, requires_grad=True)
        generator(x)[0, :, place].sum().backward()
        seen = x.grad[0].abs().sum(0).nonzero()[:, 0] - place
        reach = max(reach, int(seen.abs().max()))
    assert reach <= generator.context <= reach + 2 * generator.stride


@pytest.mark.parametrize(("kind", "upsampling"), BODIES)
def test_a_chunk_on_the_grid_with_context_is_what_the_whole_is(kind, upsampling):
    generator = lively(make(21, kind, channels=4, upsampling=upsampling)).eval()
    context = -(-generator.context // generator.stride) * generator.stride
    body = 6 * generator.stride
    frames = 2 * context + 3 * body + 1  # odd: the end is padded
    x = torch.rand(1, 21, frames) * 2 - 1
    with torch.no_grad():
        whole = generator(x)
        for start in (context, context + body, context + 2 * body):
            first, end = start - context, min(start + body + context, frames)
            chunk = generator(x[..., first:end])[..., context : context + body]
            assert torch.allclose(chunk, whole[..., start : start + body], atol=1e-5)


def test_upsampling_to_the_next_frame_leaves_no_checkerboard_when_it_is_by_nearest_neighbours():
    """A constant input gives equal outputs; transposed convolutions of 3 with stride 2 do not."""
    uneven = {}
    for upsampling in ("nearest", "transposed"):
        generator = lively(make(64, "resnet2d", upsampling=upsampling, residual_output=False, seed=1))
        with torch.no_grad():
            y = torch.atanh(generator(torch.zeros(1, 64, 160)).clamp(-0.999, 0.999))[0, 20:44, 70:90]
        uneven[upsampling] = (y[:, 1:] - y[:, :-1]).abs().max() / y.abs().max()
    assert uneven["nearest"] < 1e-4 < 1e-2 < uneven["transposed"]


def test_yoon2019_restores_odd_and_even_heights():
    body = make(84, "yoon2019", upsampling="transposed").body
    assert body.rows == [84, 42, 21, 11]
    assert [tuple(down.kernel_size) for down in body.downs] == [(4, 4), (4, 4), (3, 4)]


def test_sizes_of_the_published_networks():
    """Zhu et al.'s generator has 11.4 million parameters (3 channels in and out)."""

    def count(**options) -> float:
        with torch.device("meta"):
            return sum(p.numel() for p in Generator(GeneratorConfig(256, **options)).parameters()) / 1e6

    assert count(kind="resnet2d", channels=64, blocks=9, upsampling="transposed") == pytest.approx(
        11.4, abs=0.1
    )
    assert count(kind="unet", channels=64, blocks=8, upsampling="transposed") == pytest.approx(54.4, abs=0.5)
