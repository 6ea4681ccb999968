"""Content of every excerpt: what a transcriber hears of it, computed once and packed like features."""

import functools
import time
from pathlib import Path

import numpy as np
import torch

from retimbre.audio.features import FeatureConfig
from retimbre.datasets.packed.format import Excerpt, FeatureWriter, PackedAudio, total_length
from retimbre.datasets.parallel import parallel_map
from retimbre.datasets.preparation.params import Features
from retimbre.nn.transcriber.content import Content
from retimbre.progress import Progress
from retimbre.section import Machine


@functools.lru_cache(maxsize=1)
def _content(config: FeatureConfig) -> Content:
    """One per process; each process computes with one thread, since processes are the parallelism."""
    torch.set_num_threads(1)
    return Content(config)


def excerpt_content(excerpt: Excerpt, source: PackedAudio, config: FeatureConfig) -> np.ndarray:
    """Content of one excerpt: (T, C) float16."""
    heard = _content(config).frames(source.read(excerpt)).astype(np.float16)
    source.release()
    return heard


def cache_content(
    resampled: Path, out: Path, p: Features, shard_mb: float, machine: Machine
) -> dict[str, float]:
    """Hear every excerpt of ``resampled`` and pack what is heard in ``out``; memory stays flat.

    Returns hours of audio and megabytes of content; the speed is shown, not returned, so that metrics are
    equal on every run.
    """
    began, audio = time.perf_counter(), PackedAudio(resampled)
    rate = audio.config["sample_rate"]
    config = FeatureConfig(sample_rate=rate, **p.model_dump())
    work = functools.partial(excerpt_content, source=audio, config=config)
    seconds = total_length(audio.index) / rate
    with FeatureWriter(out, config.to_dict(), shard_mb) as writer:
        with Progress(round(seconds), "content", "s of audio") as progress:
            heard = parallel_map(work, audio.index, machine.jobs, machine.joblib_backend)
            for excerpt, content in zip(audio.index, heard, strict=True):
                writer.add(excerpt, {"content": content})
                progress.update(min(round(excerpt.length / rate), progress.total - progress.done))
    took = time.perf_counter() - began
    megabytes = sum(path.stat().st_size for path in writer.folder.iterdir()) / 1e6
    print(f"content of {seconds / 3600:.2f} h in {took:.0f} s ({seconds / took:.0f} x real time)")
    return {"hours": round(seconds / 3600, 4), "megabytes": round(megabytes, 2)}
