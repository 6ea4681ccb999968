"""Processes of one thread each that measure side by side: times are of one core, and sums have one order."""

import multiprocessing
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any

import torch

from retimbre.errors import RetimbreError
from retimbre.training.devices import one_thread

MOST_JOBS = 4  # of measurements that nobody sets a number for: each holds torch and models
Map = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]  # as the built-in


def _begin(start: Callable[..., None] | None, given: tuple[Any, ...]) -> None:
    """A worker process begins."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all: the first process ends the others
    torch.set_num_threads(1)
    if start is not None:
        start(*given)


@contextmanager
def worker_pool(
    jobs: int, advice: str, start: Callable[..., None] | None = None, *given: Any
) -> Iterator[ProcessPoolExecutor]:
    """``jobs`` processes, each of which calls ``start(*given)`` first; none is waited for after a failure.

    Raises RetimbreError with ``advice`` when one was ended from outside.
    """
    # A fork would inherit locks of threads that it does not have.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(jobs, context, _begin, (start, given))
    try:
        yield pool
    except BaseException as error:
        workers = list((pool._processes or {}).values())
        pool.shutdown(wait=False, cancel_futures=True)
        for worker in workers:
            worker.terminate()
        if isinstance(error, BrokenProcessPool):
            said = "a process was ended from outside, perhaps for lack of memory"
            raise RetimbreError(f"{said}: {advice}.") from None
        raise
    pool.shutdown()


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
