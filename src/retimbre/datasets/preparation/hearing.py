"""Content of every excerpt: what a transcriber hears of it, computed once and packed like features."""

import functools
from pathlib import Path

import numpy as np

from retimbre.audio.features import FeatureConfig
from retimbre.datasets.packed.format import Excerpt, FeatureWriter
from retimbre.datasets.preparation.packing import Pass
from retimbre.datasets.preparation.params import Features
from retimbre.nn.transcriber.content import Content
from retimbre.section import Machine

_content = functools.lru_cache(maxsize=1)(Content)  # one per process


def excerpt_content(excerpt: Excerpt, audio: np.ndarray, config: FeatureConfig) -> np.ndarray:
    """Content of an excerpt's audio (N,): (T, C) float16."""
    return _content(config).frames(audio).astype(np.float16)


def cache_content(
    resampled: Path, out: Path, p: Features, shard_mb: float, machine: Machine
) -> dict[str, float]:
    """Hear every excerpt of ``resampled`` and pack what is heard in ``out``; returns :meth:`Pass.figures`."""
    work = Pass("content", resampled, p, machine)
    with FeatureWriter(out, work.config.to_dict(), shard_mb) as writer:
        for excerpt, content in work.results(excerpt_content):
            writer.add(excerpt, {"content": content})
    return work.figures(out)
