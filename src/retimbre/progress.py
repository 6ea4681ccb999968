"""Progress of long work: a bar on a terminal, a line now and then elsewhere."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TextIO, TypeVar

from tqdm import tqdm

from retimbre.paths import shown

T = TypeVar("T")
SECONDS_BETWEEN_LINES = 10.0
_listener: ContextVar[Callable[["Progress"], None] | None] = ContextVar("listener", default=None)


@contextmanager
def told(listener: Callable[["Progress"], None]) -> Iterator[None]:
    """Call ``listener`` after every update of the work of this block; what it raises ends the work."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


class Progress:
    """Counts units of work. On a terminal a bar with rate and time left; elsewhere one line
    every ten seconds and one at the end.

    ``total`` is the number of units, ``start`` how many were done before (a resumed training).
    """

    def __init__(self, total: int, title: str, unit: str = "it", start: int = 0):
        self.total, self.title, self.unit, self.done, self.start = total, shown(title), unit, start, start
        self.began = self.last_line = time.monotonic()
        self.note = ""
        self.bar: tqdm | None = None
        if sys.stderr.isatty():
            self.bar = tqdm(total=total, initial=start, desc=self.title, unit=unit, dynamic_ncols=True)

    def update(self, n: int = 1, note: str | None = None) -> None:
        """``n`` more units are done; ``note`` (short) is shown beside the count."""
        self.done += n
        self.note = self.note if note is None else note
        if self.bar is not None:
            if note is not None:
                self.bar.set_postfix_str(note, refresh=False)
            self.bar.update(n)
        elif time.monotonic() - self.last_line >= SECONDS_BETWEEN_LINES:
            self._line()
        if listener := _listener.get():
            listener(self)

    def expect(self, total: int) -> None:
        """It is known by now how many units there are."""
        self.total = total
        if self.bar is not None:
            self.bar.total = total
            self.bar.refresh()

    def _line(self) -> None:
        self.last_line = now = time.monotonic()
        rate = (self.done - self.start) / max(now - self.began, 1e-9)
        left = (self.total - self.done) / rate if rate > 0 else float("inf")
        note = f"  {self.note}" if self.note else ""
        self._say(f", {rate:.3g}/s, {left:.0f} s left{note}")

    def _say(self, more: str) -> None:
        print(f"{self.title}: {self.done}/{self.total} {self.unit}{more}", file=sys.stderr, flush=True)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, error: object, *where: object) -> None:
        refused = error is not None and self.done == self.start  # what is wrong is said by the error alone
        if self.bar is not None:
            self.bar.leave = not refused
            self.bar.close()
        elif not refused:
            self._say(f" in {time.monotonic() - self.began:.1f} s")


def track(items: Iterable[T], title: str, total: int | None = None, unit: str = "it") -> Iterator[T]:
    """Yield ``items``, showing progress."""
    size = total if total is not None else len(items)  # type: ignore[arg-type]
    with Progress(size, title, unit) as progress:
        for item in items:
            yield item
            progress.update()


def say(text: str, file: TextIO) -> None:
    """Print a line, above the bar if there is one."""
    tqdm.write(text, file=file)
