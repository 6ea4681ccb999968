"""Time of a training step by its parts: forward, backward, optimiser.

A step says ``with part("forward"): ...``; the loop that runs it collects. On a CPU that is two readings of a
clock. On a GPU two events are recorded in the stream and read when the loop logs, when it has to wait for
the device anyway: a step never waits for its own timing. Outside a loop ``part`` does nothing.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

PARTS = ("forward", "backward", "optimiser")


class PartTimes:
    """Seconds by part, of the steps so far."""

    def __init__(self):
        self.seconds = dict.fromkeys(PARTS, 0.0)
        self._pending: list[tuple[str, torch.cuda.Event, torch.cuda.Event]] = []

    @contextmanager
    def measure(self, name: str) -> Iterator[None]:
        if torch.cuda.is_available() and torch.cuda.is_initialized():
            first, last = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            first.record()
            yield
            last.record()
            self._pending.append((name, first, last))
        else:
            began = time.perf_counter()
            yield
            self.seconds[name] += time.perf_counter() - began

    def collect(self) -> dict[str, float]:
        """The seconds, with the GPU's events read; waits for the device."""
        if self._pending:
            self._pending[-1][2].synchronize()
        for name, first, last in self._pending:
            self.seconds[name] += first.elapsed_time(last) / 1000
        self._pending.clear()
        return self.seconds


_current: PartTimes | None = None


@contextmanager
def collecting(times: PartTimes) -> Iterator[None]:
    """Parts within this block count for ``times``."""
    global _current
    before, _current = _current, times
    try:
        yield
    finally:
        _current = before


@contextmanager
def part(name: str) -> Iterator[None]:
    """Count this block as one of ``PARTS`` of the training step that is being run."""
    if _current is None:
        yield
        return
    with _current.measure(name):
        yield
