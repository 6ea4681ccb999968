"""Figures of a set of notes, each with its interval over the notes.

Conventions
-----------
* An interval is the estimate and 1.96 deviations of it over bootstrap draws of the notes, on both sides. The
  percentiles of such draws would not hold the estimate: a draw repeats notes, and repeated notes raise a
  score of diversity or a distance of distributions.
* What a figure says depends on the number of notes (scores and distances are biased): compare equal numbers.
* Distances between notes are Euclidean, of log-mel spectra.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from scipy.spatial.distance import cdist
from sklearn.neighbors import NearestNeighbors

from retimbre.audio.distances import frechet_distance
from retimbre.audio.spectral import mel_filters, stft
from retimbre.metrics.distribution import Modes

MEL_FRAME, MEL_HOP, MEL_BANDS = 2048, 128, 128  # WaveGAN's, of its distances
MEL_FLOOR = 1e-6
POOLED = (64, 32)  # bands and frames of the spectra that are clustered
Z = 1.959964
DRAWS = 100


class Score(NamedTuple):
    """An estimate with its 95 % interval."""

    value: float
    low: float
    high: float


def over(notes: int, statistic: Callable[[np.ndarray], float], draws: int = DRAWS, seed: int = 0) -> Score:
    """``statistic`` of the numbers of the notes that it is taken over."""
    value, rng = statistic(np.arange(notes)), np.random.default_rng(seed)
    deviation = np.std([statistic(rng.integers(notes, size=notes)) for _ in range(draws)], ddof=1)
    return Score(float(value), float(value - Z * deviation), float(value + Z * deviation))


def mean(values: np.ndarray) -> Score:
    """Mean of values (n,) of notes."""
    return over(len(values), lambda picked: float(values[picked].mean()))


# ---------------------------------------------------------------------------------- of what is heard


def inception_score(p: np.ndarray, group: int) -> float:
    """exp of the mean divergence of p (n, K) from its mean, the mean over groups of so many notes.

    Salimans et al. 2016; from 1 (all alike, or nothing sure) to K. What is left over after the last whole
    group does not count. Raises ValueError for fewer notes than a group.
    """
    if len(p) < group:
        raise ValueError(f"{len(p)} notes are no group of {group}")
    groups = p[: len(p) // group * group].astype(np.float64).reshape(-1, group, p.shape[1])
    marginal = groups.mean(axis=1, keepdims=True)
    ratio = np.log(np.maximum(groups, 1e-16)) - np.log(np.maximum(marginal, 1e-16))
    return float(np.exp((groups * ratio).sum(axis=2).mean(axis=1)).mean())


def entropy(p: np.ndarray) -> np.ndarray:
    """Entropy (n,) in nats of probabilities (n, K)."""
    p = p.astype(np.float64)
    return -(p * np.log(np.maximum(p, 1e-16))).sum(axis=1)


# ------------------------------------------------------------------------------- of the embeddings


def fid(x: np.ndarray, real: np.ndarray) -> float:
    """Fréchet distance of embeddings (n, d) and (m, d); biased upwards by about 1 / n. Heusel et al. 2017."""
    return frechet_distance(x.astype(np.float64), real.astype(np.float64))


def fid_without_bias(x: np.ndarray, real: np.ndarray, seed: int = 0) -> float:
    """:func:`fid` of infinitely many notes: the line through those of parts of ``x``, at 1 / n = 0.

    Chong and Forsyth 2020. May come out below 0 for sets that are alike.
    """
    sizes = np.linspace(len(x) / 2, len(x), 8).astype(int)
    rng = np.random.default_rng(seed)
    found = [fid(x[rng.permutation(len(x))[:size]], real) for size in sizes for _ in range(4)]
    return float(np.polyfit(1 / np.repeat(sizes, 4), found, 1)[1])


# --------------------------------------------------------------------------------- of the spectra


@torch.no_grad()
def log_mel(audio: np.ndarray, rate: int) -> np.ndarray:
    """Log-mel spectra (n, 128, T) of audio (n, N): frames of 2048 samples every 128, natural logarithm."""
    filters = mel_filters(rate, MEL_FRAME, MEL_BANDS)
    parts = torch.from_numpy(np.asarray(audio, np.float32)).split(64)
    found = [(filters @ stft(part, MEL_FRAME, MEL_HOP).abs() + MEL_FLOOR).log() for part in parts]
    return torch.cat(found).numpy()


def nearest(spectra: np.ndarray, others: np.ndarray | None = None) -> np.ndarray:
    """Distances (n,) of spectra (n, ...) to the nearest of ``others``, or of each other if None."""
    x = spectra.reshape(len(spectra), -1)
    if others is None:
        found = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(x)
        return found.kneighbors()[0][:, 0]  # without a point itself
    found = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(others.reshape(len(others), -1))
    return found.kneighbors(x)[0][:, 0]


def diversity(spectra: np.ndarray, groups: np.ndarray) -> float:
    """Mean distance between two notes (n, ...) of one group, the mean over groups (n,) of two and more."""
    x, found = spectra.reshape(len(spectra), -1).astype(np.float64), []
    for group in np.unique(groups):
        own = x[groups == group]
        if len(own) > 1:
            squares = np.square(own).sum(axis=1)
            apart = np.sqrt(np.maximum(squares[:, None] + squares - 2 * own @ own.T, 0))
            found.append(apart.sum() / (len(own) * (len(own) - 1)))
    return float(np.mean(found)) if found else float("nan")


def pooled(spectra: np.ndarray) -> np.ndarray:
    """Spectra (n, F, T) as rows (n, 2048) of means over 64 bands and 32 stretches of time."""
    x = torch.nn.functional.adaptive_avg_pool2d(torch.from_numpy(spectra)[:, None], POOLED)
    return x.flatten(1).numpy()


def visited(spectra: np.ndarray, modes: Modes) -> np.ndarray:
    """The nearest cluster (n, 1) of spectra (n, F, T)."""
    return cdist(pooled(spectra), modes.centres).argmin(axis=1)[:, None].astype(np.float64)


def numbered(modes: Modes) -> Modes:
    """The same clusters, of which a note is now given by the number of its cluster: what
    :func:`retimbre.metrics.distribution.ndb` counts of :func:`visited` ones, without distances in each draw.
    """
    return Modes(np.arange(len(modes.counts), dtype=np.float64)[:, None], modes.counts)


# ------------------------------------------------------------------------- of a spectrum that is drawn


def projection_error(drawn: np.ndarray, heard: np.ndarray) -> np.ndarray:
    """Distance (n,) in dB of magnitudes (n, F, T) as drawn from those of the audio made of them, relative to
    what was drawn: how far a generator's spectra are from spectra of any sound.
    """
    axes = tuple(range(1, drawn.ndim))
    difference = np.square(drawn.astype(np.float64) - heard).sum(axes)
    return 10 * np.log10(np.maximum(difference / np.maximum(np.square(drawn).sum(axes), 1e-20), 1e-20))
