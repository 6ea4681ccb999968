"""Scores of a classifier's probabilities by window and by recording, tests between two, and leaks."""

from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b

import numpy as np
import scipy.stats

from retimbre.errors import RetimbreError

CALIBRATION_BINS = 15


def by_recording(p: np.ndarray, recordings: Sequence[int]) -> np.ndarray:
    """Mean probabilities (R, K) of recordings; of windows (B, K) in recordings (B,) numbered from 0."""
    numbers = np.asarray(recordings)
    sums = np.zeros((numbers.max() + 1, p.shape[1]))
    np.add.at(sums, numbers, p)
    return sums / np.bincount(numbers)[:, None]


def scores(p: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Balanced accuracy, macro F1, AUC and calibration error of probabilities (B, K) of ``labels`` (B,).

    Only the classes that occur count. ``auc``: one class against the rest, mean over classes. ``ece``: mean
    gap between the highest probability and how often it is right, in 15 equal bins (Guo et al. 2017).
    """
    from sklearn.metrics import f1_score, recall_score

    called, there = p.argmax(axis=1), np.unique(labels)
    mean = {"average": "macro", "labels": there, "zero_division": 0}
    return {
        "balanced_accuracy": float(recall_score(labels, called, **mean)),
        "macro_f1": float(f1_score(labels, called, **mean)),
        "auc": macro_auc(p[:, there], labels[:, None] == there),
        "ece": calibration_error(p, labels),
    }


def calibration_error(p: np.ndarray, labels: np.ndarray) -> float:
    """Expected calibration error of probabilities (B, K)."""
    sure, right = p.max(axis=1), p.argmax(axis=1) == labels
    bins = np.minimum((sure * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    gaps = [abs(sure[bins == b].sum() - right[bins == b].sum()) for b in np.unique(bins)]
    return float(sum(gaps) / len(p))


def macro_auc(p: np.ndarray, tags: np.ndarray) -> float:
    """Area under the ROC curve of every tag, (B, K) both, averaged over tags: what papers on tagging report.

    Tags that all windows or none have are left out; NaN when there is no other.
    """
    known = [k for k in range(tags.shape[1]) if 0 < tags[:, k].sum() < len(tags)]
    return float(np.mean([_auc(p[:, k], tags[:, k]) for k in known])) if known else float("nan")


def micro_auc(p: np.ndarray, tags: np.ndarray) -> float:
    """Area under one ROC curve of all decisions pooled: higher, since frequent tags are easily told from rare
    ones. Foote's 0.895 is of this kind.
    """
    return _auc(p.ravel(), tags.ravel())


def _auc(p: np.ndarray, yes: np.ndarray) -> float:
    """Share of the pairs of a yes and a no that are in order; ties count half (Mann and Whitney)."""
    ranks, count = scipy.stats.rankdata(p), int(np.sum(yes))
    return float((ranks[yes.astype(bool)].sum() - count * (count + 1) / 2) / (count * (len(p) - count)))


def mcnemar_p(a: np.ndarray, b: np.ndarray) -> float:
    """Two-sided exact p of McNemar's test: are two classifiers right (B,) equally often on the same items?"""
    only_a, only_b = int(np.sum(a & ~b)), int(np.sum(~a & b))
    return float(scipy.stats.binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0


def refuse_leaks(pieces: Mapping[str, Iterable[str]], audio: Mapping[str, Iterable[np.ndarray]]) -> None:
    """Raise RetimbreError when a piece, or the same window of audio, is in two splits.

    ``pieces``: of every split; ``audio``: its windows.
    """
    seen: dict[str | bytes, str] = {}
    for split, names in pieces.items():
        for name in set(names):
            _once(seen, name, split, f"piece {name}")
    for split, windows in audio.items():
        for number, window in enumerate(windows):
            content = blake2b(np.ascontiguousarray(window).tobytes(), digest_size=16).digest()
            _once(seen, content, split, f"the audio of window {number}")


def _once(seen: dict, key: str | bytes, split: str, what: str) -> None:
    if seen.setdefault(key, split) != split:
        raise RetimbreError(f"{what} is in the splits {seen[key]} and {split}: split by piece anew.")


def threshold(p: np.ndarray, kept: float = 0.95) -> float:
    """The highest probability below which all but ``kept`` of known windows (B, K) fall: "none of these"."""
    return float(np.quantile(p.max(axis=1), 1 - kept))
