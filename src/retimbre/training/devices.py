"""Machine that a training computes on: Lightning Fabric, threads, seeds."""

import os
import random
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from retimbre.errors import RetimbreError
from retimbre.training.processes import end_with_parent

if TYPE_CHECKING:
    from lightning_fabric import Fabric

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
# A process joins its group once, however many networks it trains.
_joined: dict[tuple[str, int, str, int], "Fabric"] = {}


def make_fabric(
    accelerator: str = "auto", devices: int = 1, precision: str = "32-true", nodes: int = 1
) -> "Fabric":
    """A launched Fabric. ``accelerator`` is auto (a CUDA GPU when there is one, else the CPU), cpu or gpu;
    ``precision`` is 32-true or bf16-mixed. Raises RetimbreError when what is asked for is not there.

    ``devices`` is the number of processes on each of ``nodes`` machines. More than one: this process starts
    the others of its machine, which run the same command. Under torchrun, which starts all, its numbers
    hold; more than one machine need it.
    """
    from lightning_fabric import Fabric  # seconds to import, which a transfer does without

    has_gpu = torch.cuda.is_available()
    if accelerator == "gpu" and not has_gpu:
        raise RetimbreError(
            "accelerator is gpu in params.yaml, but torch finds no CUDA GPU here: set it to auto or cpu."
        )
    devices, nodes = _under_torchrun(devices, nodes)
    on_gpu = has_gpu and accelerator != "cpu"
    if on_gpu and devices > torch.cuda.device_count():
        found = f"torch finds {torch.cuda.device_count()} here"
        raise RetimbreError(f"{devices} GPUs are asked for, but {found}: ask for fewer devices.")
    key = ("cuda" if on_gpu else "cpu", devices, precision, nodes)
    if key in _joined:
        return _joined[key]
    size: Any = {"devices": devices, "num_nodes": nodes, "precision": precision}
    fabric = Fabric(accelerator=key[0], **size)
    fabric.launch()
    if fabric.world_size > 1:
        _joined[key] = fabric
        if fabric.local_rank > 0 or torch.distributed.is_torchelastic_launched():
            end_with_parent()
    return fabric


def _under_torchrun(devices: int, nodes: int) -> tuple[int, int]:
    """Devices and nodes: as given, or torchrun's when it started this process and both are left at 1."""
    if not torch.distributed.is_torchelastic_launched():
        # It would wait for the other machines until a time-out.
        if nodes > 1 and "SLURM_NTASKS" not in os.environ:
            raise RetimbreError(
                f"nodes is {nodes} in params.yaml: start the training with torchrun on each machine "
                "(docs/training.md), or set it to 1."
            )
        return devices, nodes
    local, world = int(os.environ["LOCAL_WORLD_SIZE"]), int(os.environ["WORLD_SIZE"])
    started = (local, world // local)
    if (devices, nodes) not in ((1, 1), started):
        raise RetimbreError(
            f"devices is {devices} and nodes {nodes} in params.yaml, but torchrun started {local} processes "
            f"on each of {started[1]} machines: make them equal, or leave both at 1."
        )
    return started


def compile_networks(wanted: bool, networks: Iterable[nn.Module], backend: str = "inductor") -> None:
    """``torch.compile`` the networks in place, if ``wanted``, after copies were taken; names stay.

    Raises RetimbreError when there is no compiler, which the first step would otherwise fail for.
    """
    if not wanted:
        return
    compilers = (os.environ.get("CXX") or "g++", "c++", "clang++", "cl")
    if backend == "inductor" and not any(map(shutil.which, compilers)):
        raise RetimbreError(
            "compile is true in params.yaml, but no C++ compiler is here: install g++ or set it to false."
        )
    for network in networks:
        network.compile(backend=backend)


@contextmanager
def compiled(wanted: bool, *networks: nn.Module) -> Iterator[None]:
    """``compile_networks`` for a block: what follows has other lengths, and would compile anew."""
    compile_networks(wanted, networks)
    try:
        yield
    finally:
        for network in networks:
            network._compiled_call_impl = None  # what Module.compile sets; it has no undoing of its own


def set_threads() -> int:
    """Use OMP_NUM_THREADS threads when it is set, else one per physical core that this process may use
    (affinity and container limits count). Returns the number: weights are bit-equal only for the same one.
    """
    given = os.environ.get("OMP_NUM_THREADS", "")
    if given.isdigit() and int(given) > 0:
        threads = int(given)
    else:
        from joblib import cpu_count  # knows affinity and cgroup limits, which torch does not

        threads = cpu_count(only_physical_cores=True)
    torch.set_num_threads(threads)
    return threads


def seed_everything(seed: int) -> None:
    """Seed Python's, NumPy's and torch's global random numbers, and ask torch for deterministic algorithms
    (operations that have none warn). Crops are drawn from their own generators (``datasets.packed.crops``).
    """
    # cuBLAS is deterministic only with a fixed workspace.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True, warn_only=True)


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread for this process's torch and for processes started inside."""
    before, given = torch.get_num_threads(), {name: os.environ.get(name) for name in THREADS}
    torch.set_num_threads(1)
    os.environ.update(dict.fromkeys(THREADS, "1"))
    try:
        yield
    finally:
        torch.set_num_threads(before)
        for name, value in given.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
