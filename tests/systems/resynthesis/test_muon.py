"""Muon: orthogonal steps for kernels, Adam's for the rest, and a state that goes on to the same bits."""

import copy

import pytest
import torch
from torch import nn

from retimbre.systems.resynthesis.muon import Muon, orthogonalised

RATE = 1e-2


@pytest.mark.parametrize("shape", [(24, 24), (16, 60), (60, 16)])
def test_singular_values_come_nearer_to_one_and_directions_stay(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    left, values, right = torch.linalg.svd(torch.randn(shape, dtype=torch.float64), full_matrices=False)
    values = torch.logspace(0, -1, len(values), dtype=torch.float64)
    made = orthogonalised(left @ torch.diag(values) @ right)
    in_its_directions = left.T @ made @ right.T
    assert torch.allclose(in_its_directions, torch.diag(in_its_directions.diagonal()), atol=1e-9)
    assert in_its_directions.diagonal().min() > 0.35
    assert in_its_directions.diagonal().max() < 1.3


def test_a_gradient_of_null_moves_nothing() -> None:
    assert not orthogonalised(torch.zeros(4, 6)).any()


def test_a_step_adds_its_rate_to_a_kernel_whatever_the_gradient_is() -> None:
    torch.manual_seed(0)
    kernel = nn.Parameter(torch.zeros(32, 16, 3))
    for scale in (1e-3, 1e3):
        before = kernel.detach().clone()
        kernel.grad = scale * torch.randn_like(kernel)
        Muon([kernel], RATE).step()
        moved = (kernel - before).square().mean().sqrt().item()
        assert 0.8 * RATE < moved < 1.2 * RATE


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv1d(3, 8, 3), nn.Flatten(), nn.Linear(8 * 6, 2))


def descend(model: nn.Module, optimiser: torch.optim.Optimizer, steps: range) -> None:
    for step in steps:
        generator = torch.Generator().manual_seed(step)
        optimiser.zero_grad()
        model(torch.randn(4, 3, 8, generator=generator)).square().sum().backward()
        optimiser.step()


def test_what_is_no_kernel_is_moved_as_by_adam() -> None:
    given = [nn.Parameter(torch.ones(5)), nn.Parameter(torch.ones(5))]
    rivals = [Muon(given[:1], RATE), torch.optim.Adam(given[1:], RATE)]
    for step in range(5):
        for x, rival in zip(given, rivals, strict=True):
            x.grad = torch.arange(5.0) - step
            rival.step()
    assert torch.allclose(*given, atol=1e-6)


def test_a_stored_state_goes_on_to_the_same_bits() -> None:
    whole = network()
    descend(whole, Muon(whole.parameters(), RATE), range(6))
    half = network()
    first = Muon(half.parameters(), RATE)
    descend(half, first, range(3))
    later = Muon(half.parameters(), RATE)
    later.load_state_dict(copy.deepcopy(first.state_dict()))
    descend(half, later, range(3, 6))
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), half.parameters(), strict=True))


def test_a_loss_is_lowered() -> None:
    model = network()
    audio = torch.randn(4, 3, 8, generator=torch.Generator().manual_seed(9))
    first = model(audio).square().sum().item()
    descend(model, Muon(model.parameters(), RATE), range(50))
    assert model(audio).square().sum().item() < 0.1 * first
