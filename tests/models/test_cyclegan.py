import pytest
import torch

from retimbre.models.cyclegan import Discriminator, Generator, GeneratorConfig


@pytest.mark.parametrize("kind", ["resnet1d", "resnet2d"])
@pytest.mark.parametrize(("bins", "frames"), [(84, 64), (81, 37), (80, 20)])
def test_generator_keeps_the_shape_and_the_range(kind, bins, frames):
    torch.manual_seed(0)
    generator = Generator(GeneratorConfig(bins, kind, channels=8, blocks=2))
    x = torch.rand(2, bins, frames) * 2 - 1
    y = generator(x)
    assert y.shape == x.shape
    assert y.min() >= -1 and y.max() <= 1


def test_an_untrained_generator_is_the_equaliser_of_its_offset():
    generator = Generator(GeneratorConfig(12, channels=8))
    offset = torch.linspace(-0.2, 0.2, 12)
    with torch.no_grad():
        generator.offset.copy_(offset)
    x = torch.rand(1, 12, 30) - 0.5
    assert torch.allclose(generator(x), x + offset[:, None], atol=0.05)


def test_the_change_is_bounded_but_not_the_offset():
    torch.manual_seed(0)
    generator = Generator(GeneratorConfig(12, channels=8, change_limit=0.1))
    torch.nn.init.normal_(generator.body.out.weight, 0, 10.0)
    x = torch.zeros(1, 12, 30)
    change = generator(x).abs()
    assert 0.099 < change.max() <= 0.1 + 1e-6
    with torch.no_grad():
        generator.offset.fill_(0.5)
    assert generator(x).max() > 0.5


def test_gradients_pass_the_clip():
    """A plain clamp would stop learning wherever the output sits at the floor."""
    generator = Generator(GeneratorConfig(12, channels=8))
    x = torch.full((1, 12, 16), -1.0)
    with torch.no_grad():
        generator.offset.fill_(-0.5)
    generator(x).sum().backward()
    assert generator.offset.grad.abs().min() > 0


@pytest.mark.parametrize("frames", [16, 64, 250])
def test_full_spectrum_discriminator_judges_all_frequencies_at_once_and_patch_does_not(frames):
    x = torch.rand(2, 84, frames)
    assert Discriminator(84, "full_spectrum", 16)(x).shape == (2, 1, 1, -(-frames // 8))
    assert Discriminator(84, "patch", 16)(x).shape[2] == 11


def test_a_patch_score_does_not_see_distant_bins_and_a_full_spectrum_score_does():
    torch.manual_seed(0)
    x = torch.rand(1, 84, 32)
    moved = x.clone()
    moved[:, :4] += 1.0  # only the lowest bins
    for kind, sees in (("full_spectrum", True), ("patch", False)):
        d = Discriminator(84, kind, 16)
        for layer in d.modules():  # group norm would carry the change everywhere
            if isinstance(layer, torch.nn.GroupNorm):
                layer.forward = lambda h: h
        top = (d(x) - d(moved))[0, 0, -1].abs().max() > 1e-6
        assert bool(top) == sees
