"""``python -m tests.fuzz 10000``: many damaged recordings, each batch in a process of its own.

A crash of the process, a hang or a wrong end is named with its number, for ``FOUND`` in test_fuzz.py.
"""

import multiprocessing
import os
import sys
import tempfile
import traceback
from collections import Counter
from pathlib import Path

from retimbre.progress import Progress
from tests.fuzz import cases

BATCH = 50
PATIENCE_S = 60.0


def _work(numbers: range, queue: "multiprocessing.SimpleQueue[tuple[int, str]]") -> None:
    for stream in (1, 2):  # progress of every transfer, and what the decoders say in C
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
    for number in numbers:
        with tempfile.TemporaryDirectory() as folder:
            try:
                queue.put((number, cases.run(number, Path(folder))))
            except BaseException:
                queue.put((number, f"WRONG {traceback.format_exc()}"))


def main(count: int) -> int:
    """Number of cases that ended wrongly."""
    context = multiprocessing.get_context("fork")
    ended: Counter[str] = Counter()
    wrong = 0
    with Progress(count, "fuzz", "files") as progress:
        first = 0
        while first < count:
            queue = context.Queue()
            process = context.Process(target=_work, args=(range(first, min(first + BATCH, count)), queue))
            process.start()
            number = first - 1
            while number < min(first + BATCH, count) - 1:
                try:
                    number, end = queue.get(timeout=PATIENCE_S if process.is_alive() else 1)
                except Exception:
                    number += 1
                    end = f"WRONG the process hangs or died (exit code {process.exitcode})"
                    process.kill()
                progress.update()
                ended[end.split(" (")[0].split(":")[0]] += 1
                if end.startswith("WRONG"):
                    wrong += 1
                    print(f"{number}: {end}", flush=True)
                if not process.is_alive() and queue.empty():
                    break
            process.join()
            first = number + 1
    for end, times in ended.most_common():
        print(f"{times:6d}  {end}")
    return wrong


if __name__ == "__main__":
    sys.exit(bool(main(int(sys.argv[1]))))
