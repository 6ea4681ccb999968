"""Base of the training-free systems: recordings to draw on, edges, levels.

A system keeps a few minutes of every domain's training split (its corpora) and what it derives from them; it
transfers mono audio at the pipeline's rate into any of these domains, whatever it was played on.
"""

import zlib
from abc import ABC, abstractmethod
from typing import Any, Self

import numpy as np
import torch

from retimbre.audio.features import FeatureConfig
from retimbre.audio.levels import rms
from retimbre.audio.spectral import stft
from retimbre.datasets.packed.format import Excerpt, PackedAudio, PackedFeatures
from retimbre.errors import RetimbreError, check_target
from retimbre.systems.base import RMS
from retimbre.systems.baselines.params import Baselines

SEGMENT_S = 10.0  # longest stretch taken from one excerpt at a time: many pieces matter more than whole ones
SHORTEST_CORPUS_S = 1.0
SHORTEST_S = 0.5  # shorter inputs are padded to this and cut again
SILENCE_RMS = 1e-4  # -80 dB: nothing that could be transferred
PEAK_LIMIT = 0.99

Corpus = list[np.ndarray]  # segments (N,) float32 of one domain


def draw_corpus(
    audio: PackedAudio, domain: str, seconds: float, seed: int, segment_s: float = SEGMENT_S
) -> Corpus:
    """Up to ``seconds`` of a domain's training split, as segments from as many excerpts as possible.

    Excerpts take turns in an order drawn from the seed; each gives its next ``segment_s`` seconds. A split
    that is shorter than ``seconds`` is taken whole. Raises RetimbreError under ``SHORTEST_CORPUS_S``
    seconds.
    """
    rate = audio.config["sample_rate"]
    excerpts = audio.excerpts(domain=domain, split="train")
    rng = np.random.default_rng([seed, zlib.crc32(domain.encode())])
    step, wanted = int(segment_s * rate), int(seconds * rate)
    places: list[tuple[int, int, Excerpt]] = [
        (start, turn, excerpts[i])
        for turn, i in enumerate(rng.permutation(len(excerpts)))
        for start in range(0, excerpts[i].length, step)
    ]
    corpus: Corpus = []
    for start, _, excerpt in sorted(places, key=lambda place: place[:2]):
        length = min(step, excerpt.length - start, wanted)
        if length <= 0:
            break
        corpus.append(audio.read(excerpt, start, start + length))
        wanted -= length
    total = sum(len(x) for x in corpus) / rate
    if total < SHORTEST_CORPUS_S:
        raise RetimbreError(
            f"the training split of {domain!r} has {total:.1f} s of audio for the training-free systems: "
            f"give recordings of at least {SHORTEST_CORPUS_S:g} s or raise baselines.corpus_s."
        )
    return corpus


def looped(corpus: Corpus, samples: int, rng: np.random.Generator) -> np.ndarray:
    """A clip (samples,) of the corpus: segments from a random one on, again from the first where they end."""
    first, parts, size = int(rng.integers(len(corpus))), [], 0
    while size < samples:
        parts.append(corpus[(first + len(parts)) % len(corpus)])
        size += len(parts[-1])
    return np.concatenate(parts)[:samples]


def window_samples(sample_rate: int, published_samples: int, published_rate: int) -> int:
    """A published window in samples at another rate: the nearest multiple of 256 samples, so that a quarter
    is a hop of whole samples (2048 at 22,050 Hz is 1536 at 16,000 Hz: 96 instead of 93 ms).
    """
    return max(256, round(published_samples * sample_rate / published_rate / 256) * 256)


class TrainingFree(ABC):
    """Base of the systems: they set ``name`` and ``slow``, and write ``convert``.

    ``corpora``: segments of every domain; ``settings``: the section ``baselines.<name>`` of params.yaml.
    """

    name: str
    slow: bool
    rms = RMS
    sources = None  # they hear any instrument
    segment_s = SEGMENT_S

    def __init__(self, corpora: dict[str, Corpus], config: FeatureConfig, settings: Any):
        self.corpora, self.config, self.settings = corpora, config, settings
        self.sample_rate = config.sample_rate

    @classmethod
    def fit(cls, audio: PackedAudio, features: PackedFeatures, p: Baselines, seed: int) -> Self:
        """Draw every domain's corpus from its training split. Raises RetimbreError when it is too short."""
        settings = getattr(p, cls.name)
        seconds = getattr(settings, "corpus_s", p.corpus_s)
        corpora = {d: draw_corpus(audio, d, seconds, seed, cls.segment_s) for d in audio.domains}
        return cls(corpora, features.config, settings)

    @property
    def targets(self) -> list[str]:
        return list(self.corpora)

    @abstractmethod
    def convert(self, x: np.ndarray, domain: str, rng: np.random.Generator) -> np.ndarray:
        """Audio (N,) of at least ``SHORTEST_S`` seconds, not silent, to (N,) of any level."""

    @torch.no_grad()
    def transfer(self, audio: np.ndarray, to: str, seed: int = 0) -> np.ndarray:
        """Mono audio (N,) at the pipeline's rate to the same music on ``to``: (N,) float32, with the
        source's root mean square unless that would clip. The same seed gives the same samples. Silence comes
        back as it is. Raises RetimbreError for an unknown domain and for audio that is not finite or not
        mono.
        """
        check_target(to, self.targets)
        x = np.ascontiguousarray(audio, np.float32)
        if x.ndim != 1 or not np.isfinite(x).all():
            raise RetimbreError("the audio must be finite samples of shape (N,).")
        if rms(x) < SILENCE_RMS:
            return x.copy()
        shortest = int(SHORTEST_S * self.sample_rate)
        padded = np.pad(x, (0, max(0, shortest - len(x))))
        y = self.convert(padded, to, np.random.default_rng([seed, zlib.crc32(to.encode())]))[: len(x)]
        gain = rms(x) / max(rms(y), 1e-9)
        return (y * min(gain, PEAK_LIMIT / max(float(np.abs(y).max()), 1e-9))).astype(np.float32)


class Windowed(TrainingFree):
    """Base of those that look through the STFT of a published ``window``: samples at Hz, a quarter as hop."""

    window: tuple[int, int]

    def __init__(self, corpora: dict[str, Corpus], config: FeatureConfig, settings: Any):
        super().__init__(corpora, config, settings)
        self.n_fft = window_samples(config.sample_rate, *self.window)
        self.hop = self.n_fft // 4

    def spectrum(self, x: np.ndarray) -> torch.Tensor:
        """Complex STFT (F, T) of audio (N,)."""
        return stft(torch.from_numpy(x)[None], self.n_fft, self.hop)[0]
