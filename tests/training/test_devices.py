"""Devices, compilation and processes of a training."""

import pytest
import torch

from retimbre.errors import RetimbreError
from retimbre.training import devices


def test_a_missing_compiler_is_said_before_the_first_step(monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(RetimbreError, match=r"no C\+\+ compiler is here: install g\+\+ or set it to false"):
        devices.compile_networks(True, [torch.nn.Linear(1, 1)])
    devices.compile_networks(False, [torch.nn.Linear(1, 1)])


def test_compiled_for_a_block_only(monkeypatch):
    """Backend "eager" traces and generates no code; names of weights stay, and so does what is computed."""
    compile_networks = devices.compile_networks
    monkeypatch.setattr(
        devices, "compile_networks", lambda wanted, networks: compile_networks(wanted, networks, "eager")
    )
    network = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))
    names, x = list(network.state_dict()), torch.linspace(-1, 1, 15).reshape(5, 3)
    plain = network(x)
    with devices.compiled(True, network):
        assert network._compiled_call_impl is not None
        assert torch.allclose(network(x), plain)
        assert list(network.state_dict()) == names
    assert network._compiled_call_impl is None
    with devices.compiled(False, network):
        assert network._compiled_call_impl is None


def test_torchrun_and_params_must_agree(monkeypatch):
    for name, value in {
        "TORCHELASTIC_RUN_ID": "x",
        "LOCAL_WORLD_SIZE": "2",
        "WORLD_SIZE": "4",
        "RANK": "0",
        "LOCAL_RANK": "0",
    }.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(
        RetimbreError,
        match="devices is 3 and nodes 1 in params.yaml, but torchrun started 2 processes on each of 2 m",
    ):
        devices.make_fabric("cpu", 3)
    assert devices._under_torchrun(1, 1) == devices._under_torchrun(2, 2) == (2, 2)


def test_several_machines_need_torchrun(monkeypatch):
    for name in ("TORCHELASTIC_RUN_ID", "SLURM_NTASKS"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(
        RetimbreError, match="nodes is 2 in params.yaml: start the training with torchrun on each machine"
    ):
        devices.make_fabric("cpu", nodes=2)


def test_a_gpu_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(
        RetimbreError, match="accelerator is gpu in params.yaml, but torch finds no CUDA GPU here"
    ):
        devices.make_fabric("gpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(RetimbreError, match="2 GPUs are asked for, but torch finds 1 here"):
        devices.make_fabric("auto", 2)
