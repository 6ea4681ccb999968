"""Ordered maps over processes, threads or a Dask cluster, in flat memory."""

import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from itertools import islice
from typing import TypeVar

import joblib

from retimbre.errors import RetimbreError

Task = TypeVar("Task")
Result = TypeVar("Result")
TASKS_PER_JOB = 8  # of a block: results of one block at a time are held in memory


@contextmanager
def _dask_cluster(jobs: int) -> Iterator[None]:
    """A client of the cluster at ``DASK_SCHEDULER_ADDRESS``, else of a local one with ``jobs`` processes."""
    try:
        from distributed import Client
    except ImportError:
        raise RetimbreError(
            "joblib_backend dask needs the distributed package: `pip install distributed`, or use loky."
        ) from None
    address = os.environ.get("DASK_SCHEDULER_ADDRESS")
    options = {} if address else {"n_workers": jobs, "threads_per_worker": 1, "dashboard_address": None}
    try:
        client = Client(address, **options)
    except (OSError, TimeoutError):
        raise RetimbreError(
            f"no Dask scheduler answers at {address}: correct DASK_SCHEDULER_ADDRESS or unset it."
        ) from None
    with client:
        yield


def parallel_map(
    function: Callable[[Task], Result], tasks: Iterable[Task], jobs: int, backend: str = "loky"
) -> Iterator[Result]:
    """``map(function, tasks)`` over ``jobs`` workers, in order.

    Tasks are taken in blocks, so at most ``TASKS_PER_JOB * jobs`` results are held; a caller that
    stops early wastes less than a block. One job runs in this process. ``backend``: loky (processes),
    threading or dask (at ``DASK_SCHEDULER_ADDRESS``, else a local cluster; workers must see the files).
    """
    if jobs == 1 and backend != "dask":
        yield from map(function, tasks)
        return
    # loky restarts a worker that has grown by 300 MB, which importing torch alone can do; no work is lost.
    warnings.filterwarnings(
        "ignore", message="A worker stopped while some jobs were given", category=UserWarning
    )
    tasks = iter(tasks)
    with _dask_cluster(jobs) if backend == "dask" else nullcontext():
        workers = -1 if backend == "dask" else jobs
        with (
            joblib.parallel_config(backend=backend),
            joblib.Parallel(n_jobs=workers, batch_size=1) as parallel,
        ):
            while block := list(islice(tasks, TASKS_PER_JOB * jobs)):
                yield from parallel(joblib.delayed(function)(task) for task in block)
