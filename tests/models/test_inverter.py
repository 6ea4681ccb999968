import torch

from retimbre.models.inverter import FLOOR_DB, InverterConfig, SpectralInverter, inverter_loss


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
