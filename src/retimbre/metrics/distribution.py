"""Distances between sets: are a system's outputs, all together, spread like recordings of the target?

Conventions
-----------
* A set is an array (n, d): n windows (or frames) described by d numbers; the output's set comes first, the
  real one second.
* Two descriptions: the style classifier's embedding (``_clf``) and MFCC statistics (``_mfcc``), both of
  one-second windows with 50 % overlap.
* Windows of a clip are alike, so intervals resample *clips*. A distance says little alone: read it beside
  that of real windows of the same number (``_real``), and beside the oracle's row.
* The kernel distance is unbiased at every n; the Fréchet distance of n windows from the same distribution is
  not 0 but about d^2 / n, so it is taken on at most 16 principal axes of the real set, and refused at n <= d.
"""

from dataclasses import dataclass

import numpy as np
import scipy.fft
from scipy.spatial.distance import cdist, jensenshannon, pdist
from sklearn.cluster import KMeans

from retimbre.audio.distances import frechet_distance

MFCC = 12  # coefficients 1 to 12; 0 is the level
MFCC_RANGE_DB = 60.0  # levels further under the clip's peak are noise floors
FAD_AXES = 16
THINNED = 16  # one frame in so many is kept
NDB_BINS, NDB_FRAMES_PER_BIN, NDB_LEVEL_Z = 50, 10, 1.959964  # z of a two-sided 5 % test
NEIGHBOURS = 5  # of the k-NN balls


def validate(x: np.ndarray, real: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both sets as float64. Raises ValueError unless finite, (n, d) with one d and at least two rows each."""
    for name, array in (("the set", x), ("the real set", real)):
        if array.ndim != 2 or len(array) < 2 or not np.isfinite(array).all():
            raise ValueError(f"{name} must be a finite array (n, d) with n >= 2, not of shape {array.shape}")
    if x.shape[1] != real.shape[1]:
        raise ValueError(f"the set has {x.shape[1]} columns, the real set {real.shape[1]}")
    return x.astype(np.float64), real.astype(np.float64)


# ----------------------------------------------------------------------------------- descriptions


def mfcc(mel_db: np.ndarray) -> np.ndarray:
    """Cepstral coefficients 1 to 12, (12, T), of a log-mel spectrum (F, T) in dB cut 60 dB under its peak.

    DCT-II, as librosa.
    """
    cut = np.maximum(mel_db, mel_db.max() - MFCC_RANGE_DB).astype(np.float64)
    return scipy.fft.dct(cut, axis=0, norm="ortho")[1 : MFCC + 1]


def mfcc_windows(mel_db: np.ndarray, frames: int) -> np.ndarray:
    """Mean and deviation of the MFCC in windows of ``frames`` with 50 % overlap: (F, T) -> (W, 24).

    A clip shorter than a window is one window.
    """
    coefficients = mfcc(mel_db)
    starts = range(0, max(1, coefficients.shape[1] - frames + 1), max(1, frames // 2))
    parts = [coefficients[:, s : s + frames] for s in starts]
    statistics = [np.concatenate([part.mean(axis=1), part.std(axis=1)]) for part in parts]
    return np.stack(statistics).astype(np.float32)


def thinned_frames(mel_db: np.ndarray) -> np.ndarray:
    """Every 16th frame of a log-mel spectrum (F, T) without its mean: (S, F). Neighbours are too alike."""
    frames = np.maximum(mel_db, mel_db.max() - MFCC_RANGE_DB)[:, THINNED // 2 :: THINNED].T
    return (frames - frames.mean(axis=1, keepdims=True)).astype(np.float32)


# ---------------------------------------------------------------------------------- kernel distance


@dataclass(frozen=True)
class KernelDistance:
    """100 x the squared maximum mean discrepancy and its 95 % interval over clips (NaN without draws)."""

    value: float
    low: float
    high: float


def kad(x: np.ndarray, real: np.ndarray) -> float:
    """Kernel audio distance: 100 times the unbiased squared MMD with a Gaussian kernel.

    Chung et al. 2025 (KAD): the bandwidth is the median distance within the *real* set, so it is not
    symmetric. About 0 between samples of one distribution, and then slightly negative half of the time.
    """
    return kernel_distance(x, real).value


def kernel_distance(
    x: np.ndarray,
    real: np.ndarray,
    clips: np.ndarray | None = None,
    real_clips: np.ndarray | None = None,
    draws: int = 0,
    seed: int = 0,
) -> KernelDistance:
    """:func:`kad` with a percentile interval from ``draws`` bootstrap resamples of the clips of both sets.

    ``clips`` (n,), ``real_clips`` (m,): which clip a window is of (default: each its own). A clip that was
    drawn twice is not compared with itself, which would make every resample look more alike than the set.
    """
    x, real = validate(x, real)
    distances = pdist(real)
    width = np.median(distances[distances > 0]) if (distances > 0).any() else 1.0
    member_x, member_real = (_one_hot(len(s), groups) for s, groups in ((x, clips), (real, real_clips)))

    def between(a: np.ndarray, b: np.ndarray, member_a: np.ndarray, member_b: np.ndarray) -> np.ndarray:
        """Sums of the kernel over the windows of two clips: (clips of a, clips of b)."""
        kernel = np.exp(-cdist(a, b, "sqeuclidean") / (2 * width**2))
        if a is b:
            np.fill_diagonal(kernel, 0.0)
        return member_a.T @ kernel @ member_b

    within_x, within_real = between(x, x, member_x, member_x), between(real, real, member_real, member_real)
    across = between(x, real, member_x, member_real)
    sizes_x, sizes_real = member_x.sum(axis=0), member_real.sum(axis=0)

    def mean(times: np.ndarray, sums: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        """Mean kernel of pairs of different windows when clips are there so many ``times`` (draws, clips)."""
        own = sums.diagonal()
        total = ((times @ (sums - np.diag(own))) * times).sum(axis=1) + times @ own
        count = (times @ sizes) ** 2 - (times**2) @ sizes**2 + times @ (sizes * (sizes - 1))
        return total / np.maximum(count, 1)

    def discrepancy(times_x: np.ndarray, times_real: np.ndarray) -> np.ndarray:
        pairs = (times_x @ sizes_x) * (times_real @ sizes_real)
        both = ((times_x @ across) * times_real).sum(axis=1) / pairs
        alone = mean(times_x, within_x, sizes_x) + mean(times_real, within_real, sizes_real)
        return 100.0 * (alone - 2 * both)

    value = float(discrepancy(np.ones((1, len(sizes_x))), np.ones((1, len(sizes_real))))[0])
    if not draws:
        return KernelDistance(value, float("nan"), float("nan"))
    rng = np.random.default_rng(seed)
    drawn = [rng.multinomial(len(s), np.full(len(s), 1 / len(s)), draws) for s in (sizes_x, sizes_real)]
    low, high = np.percentile(discrepancy(*(times.astype(np.float64) for times in drawn)), [2.5, 97.5])
    return KernelDistance(value, float(low), float(high))


def _one_hot(count: int, groups: np.ndarray | None) -> np.ndarray:
    """Membership (count, clips) of windows in clips."""
    _, member = np.unique(np.arange(count) if groups is None else groups, return_inverse=True)
    return np.eye(member.max() + 1)[member]


# --------------------------------------------------------------------------------- Fréchet distance


def principal_axes(real: np.ndarray, axes: int = FAD_AXES) -> tuple[np.ndarray, np.ndarray]:
    """Mean (d,) and the first principal axes (d, k) of a real set, k = min(axes, d, n - 1)."""
    mean = real.astype(np.float64).mean(axis=0)
    # Ascending; quicker than the SVD of all windows.
    _, directions = np.linalg.eigh((real - mean).T @ (real - mean))
    return mean, directions[:, ::-1][:, : min(axes, real.shape[1], len(real) - 1)]


def fad(x: np.ndarray, real: np.ndarray, axes: int = FAD_AXES) -> float:
    """Fréchet audio distance on principal axes fitted on the real set (Kilgour et al. 2019).

    At most 32 axes. Biased upwards by about axes^2 / n: compare only equal n. Raises ValueError when either
    set has no more windows than axes.
    """
    x, real = validate(x, real)
    if axes > 32:
        raise ValueError(f"axes is {axes}: at most 32 are allowed, because the bias grows with their square")
    mean, directions = principal_axes(real, axes)
    x, real = (x - mean) @ directions, (real - mean) @ directions
    if (fewest := min(len(x), len(real))) <= x.shape[1]:
        raise ValueError(f"{fewest} windows are too few for {x.shape[1]} axes: give more windows than axes")
    return frechet_distance(x, real)


# ------------------------------------------------------------------------------------------- modes


@dataclass(frozen=True)
class Modes:
    """Clusters of real frames: centres (k, F), counts (k,)."""

    centres: np.ndarray
    counts: np.ndarray

    @classmethod
    def fit(cls, frames: np.ndarray, bins: int = NDB_BINS, seed: int = 0) -> "Modes":
        """k-means of real frames (S, F) into ``bins`` clusters, fewer where there are not ten frames each."""
        bins = max(2, min(bins, len(frames) // NDB_FRAMES_PER_BIN))
        found = KMeans(bins, n_init=1, max_iter=50, random_state=seed).fit(frames)
        return cls(found.cluster_centers_, np.bincount(found.labels_, minlength=bins))


def ndb(frames: np.ndarray, modes: Modes) -> tuple[float, float]:
    """Share of modes that frames (S, F) visit more or less often than real ones, and their divergence.

    Richardson & Weiss 2018: two-proportion z-test per mode at 5 %, so about 0.05 for independent real frames
    (frames of a few pieces are not: see the oracle); the divergence of the two histograms in bits, 0 to 1.
    """
    counts = np.bincount(cdist(frames, modes.centres).argmin(axis=1), minlength=len(modes.counts))
    n, m = counts.sum(), modes.counts.sum()
    p, q = counts / n, modes.counts / m
    pooled = (counts + modes.counts) / (n + m)
    spread = np.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))
    z = np.abs(p - q) / np.where(spread > 0, spread, np.inf)
    return float((z > NDB_LEVEL_Z).mean()), float(jensenshannon(p, q, base=2) ** 2)


def prdc(x: np.ndarray, real: np.ndarray) -> dict[str, float]:
    """Precision, recall, density and coverage of a set (n, d) by balls to the 5th neighbour.

    ``precision``: share of outputs inside a ball of a real window; ``recall``: share of real windows inside a
    ball of an output (low: few modes; Kynkäänniemi et al. 2019); ``density``: mean number of real balls round
    an output over 5, may exceed 1; ``coverage``: share of real balls with an output inside (Naeem et al.
    2020). NaN with no more windows than neighbours.
    """
    x, real = validate(x, real)
    names = ("precision", "recall", "density", "coverage")
    if min(len(x), len(real)) <= NEIGHBOURS:
        return dict.fromkeys(names, float("nan"))
    radius_x, radius_real = (np.partition(cdist(s, s), NEIGHBOURS, axis=1)[:, NEIGHBOURS] for s in (x, real))
    distance = cdist(real, x)  # (m, n)
    inside = distance < radius_real[:, None]
    values = (
        inside.any(axis=0).mean(),
        (distance < radius_x[None]).any(axis=1).mean(),
        inside.sum(axis=0).mean() / NEIGHBOURS,
        (distance.min(axis=1) < radius_real).mean(),
    )
    return dict(zip(names, map(float, values), strict=True))


def nearest_timbre(timbre: np.ndarray, bank: np.ndarray) -> float:
    """D of ``style_shift``: mean of 1 - cosine from a mean MFCC (12,) to its 5 nearest in a bank (n, 12)."""
    distances = cdist(timbre[None], bank, "cosine")[0]
    return float(np.sort(distances)[:NEIGHBOURS].mean())
