"""One thread for a while: times are of one core, sums have one order, and processes side by side do not fight for cores."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
MOST_JOBS = 4  # each holds torch and models


def measuring_jobs() -> int:
    """How many processes measure side by side: as many as torch has threads here, but not more than :data:`MOST_JOBS`."""
    return min(torch.get_num_threads(), MOST_JOBS)


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread for this process's torch, and for processes started inside."""
    before, given = torch.get_num_threads(), {name: os.environ.get(name) for name in THREADS}
    torch.set_num_threads(1)
    os.environ.update(dict.fromkeys(THREADS, "1"))
    try:
        yield
    finally:
        torch.set_num_threads(before)
        for name, value in given.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
