"""Computation of something for every excerpt of ``data/resampled``: what the stages that pack it share."""

import functools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from retimbre.audio.features import FeatureConfig
from retimbre.datasets.packed.format import Excerpt, PackedAudio, total_length
from retimbre.datasets.parallel import parallel_map
from retimbre.datasets.preparation.params import Features
from retimbre.progress import Progress
from retimbre.section import Machine

Compute = Callable[[Excerpt, np.ndarray, FeatureConfig], Any]  # of an excerpt and its audio (N,)


@functools.lru_cache(maxsize=1)
def _audio(folder: Path, index_time: int) -> PackedAudio:
    """One per process and version of the folder; each process computes with one thread."""
    torch.set_num_threads(1)
    return PackedAudio(folder)


def _computed(
    excerpt: Excerpt, compute: Compute, folder: Path, index_time: int, config: FeatureConfig
) -> Any:
    source = _audio(folder, index_time)
    audio = source.read(excerpt)
    source.release()
    return compute(excerpt, audio, config)


class Pass:
    """One pass over the excerpts of ``resampled``, over the machine's jobs, in flat memory.

    ``name``: of the stage, in what it prints; ``config``: of the features of this audio.
    """

    def __init__(self, name: str, resampled: Path, p: Features, machine: Machine):
        self.name, self.folder, self.machine = name, Path(resampled), machine
        self.began, audio = time.perf_counter(), PackedAudio(resampled)
        self.index, self.rate = audio.index, audio.config["sample_rate"]
        self.config = FeatureConfig(sample_rate=self.rate, **p.model_dump())
        self.seconds = total_length(self.index) / self.rate

    def results(self, compute: Compute) -> Iterator[tuple[Excerpt, Any]]:
        """Each excerpt and what ``compute`` (a function of a module) makes of it, in the index's order."""
        index_time = (self.folder / "index.csv").stat().st_mtime_ns
        known = {"folder": self.folder, "index_time": index_time, "config": self.config}
        work, jobs = functools.partial(_computed, compute=compute, **known), self.machine.jobs
        with Progress(round(self.seconds), self.name, "s of audio") as progress:
            found = parallel_map(work, self.index, jobs, self.machine.joblib_backend)
            for excerpt, result in zip(self.index, found, strict=True):
                yield excerpt, result
                progress.update(min(round(excerpt.length / self.rate), progress.total - progress.done))

    def figures(self, out: Path) -> dict[str, float]:
        """Hours of audio and megabytes of ``out``, the metrics of the stage.

        The speed is printed, not returned, so that metrics are equal on every run.
        """
        took = time.perf_counter() - self.began
        megabytes = sum(path.stat().st_size for path in Path(out).iterdir()) / 1e6
        hours, speed = self.seconds / 3600, self.seconds / took
        print(f"{self.name} of {hours:.2f} h in {took:.0f} s ({speed:.0f} x real time), {megabytes:.0f} MB")
        return {"hours": round(hours, 4), "megabytes": round(megabytes, 2)}
