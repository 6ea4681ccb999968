"""Pools of processes of one thread each."""

import gc
import multiprocessing
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any

import torch

from retimbre.errors import RetimbreError


def _begin(threshold: tuple[int, ...], start: Callable[..., None] | None, given: tuple[Any, ...]) -> None:
    """A worker process begins; it looks for garbage as often as the first process."""
    gc.set_threshold(*threshold)
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
    pool = ProcessPoolExecutor(jobs, context, _begin, (gc.get_threshold(), start, given))
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
