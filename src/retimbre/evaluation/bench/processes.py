"""Processes of one thread each that measure side by side: times are of one core, and sums have one order."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from retimbre.training.devices import one_thread
from retimbre.workers import worker_pool

MOST_JOBS = 4  # of measurements that nobody sets a number for: each holds torch and models
Map = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]  # as the built-in


@contextmanager
def side_by_side(jobs: int | None = None) -> Iterator[Map]:
    """A ``map`` over ``jobs`` processes.

    None: as many as torch has threads, at most :data:`MOST_JOBS`; 1: this process. Not joblib's, which ends
    workers that grow, as all do that import torch, and lets others import it again.
    """
    jobs = min(torch.get_num_threads(), MOST_JOBS) if jobs is None else jobs
    with one_thread():
        if jobs == 1:
            yield map
            return
        advice = "run the command again with OMP_NUM_THREADS=1, which takes one process"
        with worker_pool(jobs, advice) as pool:
            yield pool.map
