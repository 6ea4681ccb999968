"""Where and how a training computes: Lightning Fabric, threads, seeds."""

import os
import random
from typing import TYPE_CHECKING

import numpy as np
import torch

from retimbre.errors import RetimbreError

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def make_fabric(accelerator: str = "auto", devices: int = 1, precision: str = "32-true") -> "Fabric":
    """A launched Fabric. ``accelerator`` is auto (a CUDA GPU when there is one, else the CPU), cpu or gpu;
    ``precision`` is 32-true or bf16-mixed. Raises RetimbreError when what is asked for is not there.
    """
    from lightning_fabric import Fabric  # seconds to import, which a transfer does without

    has_gpu = torch.cuda.is_available()
    if accelerator == "gpu" and not has_gpu:
        raise RetimbreError("accelerator is gpu in params.yaml, but torch finds no CUDA GPU here: set it to auto or cpu.")
    on_gpu = has_gpu and accelerator != "cpu"
    if on_gpu and devices > torch.cuda.device_count():
        raise RetimbreError(f"{devices} GPUs are asked for, but torch finds {torch.cuda.device_count()} here: ask for fewer devices.")
    fabric = Fabric(accelerator="cuda" if on_gpu else "cpu", devices=devices, precision=precision)  # type: ignore[arg-type]
    fabric.launch()
    return fabric


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
    (operations that have none warn). Crops are drawn from their own generators, see datasets.crops.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is deterministic only with a fixed workspace
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True, warn_only=True)
