import torch

from retimbre.audio.spectral import mel_filters
from retimbre.vocoders.inverter.convnext import FLOOR_DB, BandDistance
from retimbre.vocoders.inverter.network import InverterConfig, SpectralInverter, inverter_loss


def test_shapes_and_start_in_the_range_of_real_levels():
    torch.manual_seed(0)
    network = SpectralInverter(InverterConfig(bins=84, n_fft=512, channels=32))
    out = network(torch.rand(2, 84, 20) * 2 - 1)
    assert out.shape == (2, 257, 20)
    assert -60 < out.mean() < -10


def test_loss_ignores_what_lies_below_the_floor():
    a, b = torch.full((1, 4, 5), FLOOR_DB - 30), torch.full((1, 4, 5), FLOOR_DB - 1)
    assert inverter_loss(a, b) == 0
    assert inverter_loss(a + 40, b) == 10


def test_learns_a_fixed_map():
    torch.manual_seed(0)
    network = SpectralInverter(InverterConfig(bins=12, n_fft=32, channels=32, blocks=1))
    z = torch.rand(4, 12, 24) * 2 - 1
    target = (torch.randn(17, 12) * 4 @ z) - 30
    optimiser = torch.optim.AdamW(network.parameters(), 3e-3)
    first = inverter_loss(network(z), target).item()
    for _ in range(150):
        optimiser.zero_grad()
        loss = inverter_loss(network(z), target)
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.25 * first


def test_distance_of_bands_is_in_db_and_ruled_by_what_is_loud():
    distance = BandDistance(mel_filters(16000, 512, 20))
    random = torch.Generator().manual_seed(0)
    level = torch.rand(2, 257, 30, generator=random) * 20
    assert distance(level, level) < 0.05
    assert abs(distance(level + 6, level) - 6) < 0.01
    partials, quieter, weaker = (torch.full((1, 257, 8), -30.0) for _ in range(3))
    for x, peak, rest in ((partials, 20, -30), (quieter, 20, -36), (weaker, 14, -30)):
        x[:], x[:, ::16] = rest, peak
    assert distance(weaker, partials) > 3 * distance(quieter, partials)
    assert inverter_loss(weaker, partials) < inverter_loss(quieter, partials)


def test_distance_of_bands_has_a_finite_gradient_everywhere():
    distance = BandDistance(mel_filters(16000, 512, 20))
    for start in (-1e4, 0.0, 1e4):
        x = torch.full((1, 257, 8), start, requires_grad=True)
        distance(x, torch.zeros(1, 257, 8)).backward()
        assert torch.isfinite(x.grad).all()
