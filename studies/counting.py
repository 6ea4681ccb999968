"""Processor time of trainings that may be interrupted."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from retimbre.tracking import StageRun


class Counting:
    """A tracker that also keeps the processor seconds of a training and of the interrupted ones before.

    ``tracker`` None: nothing else is kept.
    """

    def __init__(self, tracker: StageRun | None, path: Path):
        self.tracker, self.path = tracker, path
        self.before = float(path.read_text()) if path.is_file() else 0.0
        self.began = time.process_time()

    @property
    def seconds(self) -> float:
        return self.before + time.process_time() - self.began

    def log(self, step: int, values: Mapping[str, float]) -> None:
        if self.tracker:
            self.tracker.log(step, values)
        self.path.write_text(f"{self.seconds:.1f}")

    def metrics(self, values: Mapping[str, Any]) -> None:
        if self.tracker:
            self.tracker.metrics(values)
