"""The way between latents over the sphere."""

import pytest
import torch

from retimbre.synthesis.latents import slerp


def test_the_way_keeps_its_length_and_its_pace():
    """Between vectors of lengths 2 and 4 at a right angle: 30 degrees and 8/3 after a third."""
    a, b = torch.tensor([[2.0, 0.0, 0.0]]), torch.tensor([[0.0, 4.0, 0.0]])
    assert torch.allclose(slerp(a, b, 0.0), a) and torch.allclose(slerp(a, b, 1.0), b, atol=1e-6)
    expected = 8 / 3 * torch.tensor([[3**0.5 / 2, 0.5, 0.0]])
    assert torch.allclose(slerp(a, b, 1 / 3), expected, atol=1e-6)


def test_latents_of_one_direction_are_joined_by_a_line():
    a = torch.tensor([[1.0, 1.0]])
    assert torch.allclose(slerp(a, 3 * a, 0.5), 2 * a)
    assert slerp(a, -a, 0.5).isfinite().all()
    noise = torch.randn(2, 256, generator=torch.Generator().manual_seed(0))
    assert slerp(noise[:1], noise[1:], 0.5).norm().item() == pytest.approx(16, rel=0.1)
