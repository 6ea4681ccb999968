"""Scattering against closed forms: no energy is lost, time does not matter, a modulation has one answer."""

import pytest
import torch

from retimbre.classifiers.bench import scattering
from retimbre.classifiers.bench.scattering import BIN_RATES, OCTAVE_RATES, TIME_RATES, bank


@pytest.mark.parametrize(("size", "rates"), [(128, TIME_RATES), (84, BIN_RATES), (7, OCTAVE_RATES)])
def test_filters_lose_no_energy(size, rates):
    filters = bank(size, rates)
    torch.testing.assert_close(filters.square().sum(0), torch.ones(size))
    x = torch.randn(3, size, generator=torch.Generator().manual_seed(0))
    parts = scattering._along(x.to(torch.complex64), 1, rates)
    torch.testing.assert_close(parts.abs().square().sum((1, 2)), x.square().sum(1))


def test_three_axes_lose_no_energy():
    """Time (real: positive frequencies count twice, the low-pass once), log-frequency, octaves."""
    x = torch.rand(2, 84, 128, generator=torch.Generator().manual_seed(0))
    low = torch.fft.ifft(torch.fft.fft(x) * bank(128, TIME_RATES)[0])
    energy = low.abs().square().sum()
    y = scattering._along(scattering._along_time(x), -2, BIN_RATES).unflatten(-2, (-1, 12))
    energy += 2 * scattering._along(y, -3, OCTAVE_RATES).abs().square().sum()
    torch.testing.assert_close(energy, x.square().sum(), rtol=1e-4, atol=0)


def test_time_does_not_matter_and_order_does():
    x = torch.rand(1, 84, 128, generator=torch.Generator().manual_seed(1))
    for transform in (
        lambda v: scattering.time_scattering(v)[1], scattering.joint_scattering, scattering.spiral_scattering,
    ):  # fmt: skip
        torch.testing.assert_close(transform(x), transform(x.roll(17, 2)), rtol=1e-4, atol=1e-6)
    # a chirp and its mirror image have the same spectrum of every bin, and other joint coefficients
    chirp = torch.zeros(1, 84, 128)
    for t in range(128):
        chirp[0, (t // 2) % 84, t] = 1.0
    mirror = chirp.flip(2)
    one, other = (scattering.time_scattering(v)[1] for v in (chirp, mirror))
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)
    one, other = (scattering.joint_scattering(v).sum(-1) for v in (chirp, mirror))
    assert (one - other).abs().max() > 0.2 * one.abs().max()


@pytest.mark.parametrize("cycles", [4, 8, 32])
def test_a_modulation_has_a_closed_form(cycles):
    """|1 + a cos| through an analytic wavelet is a / 2 times the filter's gain, at every moment."""
    t = torch.arange(128) / 128
    x = (1 + 0.6 * torch.cos(2 * torch.pi * cycles * t)).expand(1, 84, 128)
    _, second = scattering.time_scattering(x)
    expected = 0.3 * bank(128, TIME_RATES)[1 : 1 + TIME_RATES, cycles]
    torch.testing.assert_close(second[0, 40], expected, rtol=1e-4, atol=1e-6)
    # stable: a modulation 5 % faster moves the coefficients by little
    near = (1 + 0.6 * torch.cos(2 * torch.pi * 1.05 * cycles * t)).expand(1, 84, 128)
    moved = (scattering.time_scattering(near)[1] - second)[0, 40].norm()
    assert moved < 0.25 * second[0, 40].norm() + 0.02


def test_an_octave_pattern_is_heard_on_the_spiral_alone():
    """Octaves in alternation: the spiral's wavelets across octaves answer, at the place of that pitch."""
    x = torch.zeros(1, 84, 128)
    x[0, ::24] = 1 + torch.cos(2 * torch.pi * 8 * torch.arange(128) / 128)
    apart = scattering.spiral_scattering(x)
    x = torch.zeros(1, 84, 128)
    x[0, ::12] = 1 + torch.cos(2 * torch.pi * 8 * torch.arange(128) / 128)
    even = scattering.spiral_scattering(x)
    share = [v[0, 1:].sum() / v[0].sum() for v in (apart, even)]
    assert share[0] > 2 * share[1]
