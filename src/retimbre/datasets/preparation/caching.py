"""Features of every excerpt, computed once, and the statistics of the training split.

Two streaming passes: the first computes the features and counts levels in a histogram, from which the
top of the scale follows; the second reads the packed frames again for each bin's mean and standard
deviation within that scale. Sums are taken in the index's order, so the result does not depend on
the number of processes.
"""

import functools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from retimbre.audio.features import REPRESENTATIONS, FeatureConfig, FeatureExtractor, decibels
from retimbre.datasets.packed.format import Excerpt, FeatureWriter, mapped
from retimbre.datasets.parallel import parallel_map
from retimbre.datasets.preparation.packing import Pass
from retimbre.datasets.preparation.params import Features
from retimbre.section import Machine

TOP_SHARE = 0.999  # of the cells lie below the top of the scale
HISTOGRAM_DB = (-100.0, 100.0, 4000)  # from, to, cells: 0.05 dB each, under float16's step at these levels
READ_FRAMES = 16384  # of one block of the second pass
ByRepresentation = dict[str, np.ndarray]


@functools.lru_cache(maxsize=1)
def _extractor(config: FeatureConfig) -> FeatureExtractor:
    """One per process."""
    return FeatureExtractor(config).eval()


def level_histogram(decibels: np.ndarray) -> np.ndarray:
    """Counts of dB values in cells of 0.05 dB; what is outside the range counts in the outermost cells."""
    low, high, cells = HISTOGRAM_DB
    index = ((decibels.astype(np.float32) - low) * (cells / (high - low))).astype(np.int32)
    return np.bincount(np.clip(index, 0, cells - 1).ravel(), minlength=cells)


def histogram_point(histogram: np.ndarray, share: float) -> float:
    """The level (dB, to 0.05 dB) below which ``share`` of the values lie, interpolated within its cell."""
    low, high, cells = HISTOGRAM_DB
    below = np.cumsum(histogram)
    target = share * below[-1]
    cell = int(np.searchsorted(below, target))
    inside = (target - (below[cell] - histogram[cell])) / max(histogram[cell], 1)
    return low + (cell + float(inside)) * (high - low) / cells


def excerpt_features(
    excerpt: Excerpt, audio: np.ndarray, config: FeatureConfig
) -> tuple[ByRepresentation, ByRepresentation]:
    """Features of an excerpt's audio (N,), (T, F) float16 dB, and their level histograms (training split
    only).
    """
    extractor = _extractor(config)
    features = {}
    with torch.inference_mode():
        for representation in REPRESENTATIONS:
            db = decibels(extractor(torch.from_numpy(audio)[None], representation))[0]  # (F, T)
            features[representation] = np.ascontiguousarray(db.T.numpy().astype(np.float16))
    histograms = (
        {name: level_histogram(block) for name, block in features.items()} if excerpt.split == "train" else {}
    )
    return features, histograms


def _runs(excerpts: Iterable[Excerpt]) -> list[Excerpt]:
    """Stretches of at most READ_FRAMES frames, as excerpts of their own: the second pass's tasks."""
    runs = []
    for e in excerpts:
        for start in range(0, e.length, READ_FRAMES):
            length = min(READ_FRAMES, e.length - start)
            runs.append(
                Excerpt(e.id, e.domain, e.split, e.piece, e.performance, e.shard, e.offset + start, length)
            )
    return runs


def _moments(
    task: tuple[str, Excerpt], folder: Path, top_db: dict[str, float], range_db: float
) -> tuple[np.ndarray, np.ndarray]:
    """Sum and sum of squares over a run's frames, per bin, of dB within the scale, relative to its top."""
    name, run = task
    path = folder / f"{name}_{run.split}_{run.domain}_{run.shard:03d}.npy"
    block = mapped(path)[run.offset : run.offset + run.length].astype(np.float64)
    block = np.clip(block, top_db[name] - range_db, top_db[name]) - top_db[name]
    return block.sum(axis=0), np.square(block).sum(axis=0)


def statistics(
    folder: Path,
    excerpts: list[Excerpt],
    histograms: dict[str, dict[str, np.ndarray]],
    range_db: float,
    machine: Machine,
) -> dict[str, Any]:
    """``{representation: {top_db, mean_db: {domain: [F]}, std_db: ...}}`` of the training excerpts.

    ``histograms``: representation -> domain -> counts. top_db is the largest of the domains' 99.9 % points.
    """
    tops = {
        name: round(max(histogram_point(h, TOP_SHARE) for h in of.values()), 3)
        for name, of in histograms.items()
    }
    tasks = [(name, run) for name in histograms for run in _runs(e for e in excerpts if e.split == "train")]
    work = functools.partial(_moments, folder=folder, top_db=tops, range_db=range_db)
    count: dict[tuple[str, str], int] = {}
    total: dict[tuple[str, str], np.ndarray] = {}
    squares: dict[tuple[str, str], np.ndarray] = {}
    for (name, run), (one, two) in zip(
        tasks, parallel_map(work, tasks, machine.jobs, machine.joblib_backend), strict=True
    ):
        key = (name, run.domain)
        count[key] = count.get(key, 0) + run.length
        total[key], squares[key] = total.get(key, 0.0) + one, squares.get(key, 0.0) + two
    result: dict[str, Any] = {
        name: {"top_db": top_db, "mean_db": {}, "std_db": {}} for name, top_db in tops.items()
    }
    for (name, domain), frames in count.items():
        mean = total[name, domain] / frames
        std = np.sqrt(np.maximum(squares[name, domain] / frames - mean**2, 0))
        result[name]["mean_db"][domain] = [round(float(value), 4) for value in mean + tops[name]]
        result[name]["std_db"][domain] = [round(float(value), 4) for value in std]
    return result


def cache_features(
    resampled: Path, out: Path, p: Features, shard_mb: float, machine: Machine
) -> dict[str, float]:
    """Compute all representations of every excerpt of ``resampled`` into ``out``; returns
    :meth:`Pass.figures`.
    """
    work = Pass("features", resampled, p, machine)
    histograms: dict[str, dict[str, np.ndarray]] = {name: {} for name in REPRESENTATIONS}
    with FeatureWriter(out, work.config.to_dict(), shard_mb) as writer:
        for excerpt, (features, counts) in work.results(excerpt_features):
            writer.add(excerpt, features)
            for name, count in counts.items():
                histograms[name][excerpt.domain] = histograms[name].get(excerpt.domain, 0) + count
        writer.close_shards()
        writer.set_statistics(statistics(writer.folder, writer.rows, histograms, p.range_db, machine))
    return work.figures(out)
