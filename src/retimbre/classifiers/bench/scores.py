"""Scores of a classifier's probabilities by window and by recording, tests between two, and leaks."""

from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b

import numpy as np

from retimbre.errors import RetimbreError


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
    import torch
    from torchmetrics.functional.classification import multiclass_calibration_error

    found = torch.from_numpy(p), torch.from_numpy(labels)
    return float(multiclass_calibration_error(*found, num_classes=p.shape[1]))


def macro_auc(p: np.ndarray, tags: np.ndarray) -> float:
    """Area under the ROC curve of every tag, (B, K) both, averaged over tags: what papers on tagging report.

    Tags that all windows or none have are left out; NaN when there is no other.
    """
    known = [k for k in range(tags.shape[1]) if 0 < tags[:, k].sum() < len(tags)]
    return _auc(p[:, known], tags[:, known], "macro") if known else float("nan")


def micro_auc(p: np.ndarray, tags: np.ndarray) -> float:
    """Area under one ROC curve of all decisions pooled: higher, since frequent tags are easily told from rare
    ones. Foote's 0.895 is of this kind.
    """
    return _auc(p, tags, "micro")


def _auc(p: np.ndarray, tags: np.ndarray, average: str) -> float:
    from sklearn.metrics import roc_auc_score  # not among the packages that `retimbre classify` needs

    return float(roc_auc_score(tags, p, average=average))


def mcnemar_p(a: np.ndarray, b: np.ndarray) -> float:
    """Two-sided exact p of McNemar's test: are two classifiers right (B,) equally often on the same items?"""
    from statsmodels.stats.contingency_tables import mcnemar

    table = [[np.sum(a & b), np.sum(a & ~b)], [np.sum(~a & b), np.sum(~a & ~b)]]
    return float(mcnemar(table, exact=True).pvalue)


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
            if not np.any(window):  # silence is everybody's
                continue
            content = blake2b(np.ascontiguousarray(window).tobytes(), digest_size=16).digest()
            _once(seen, content, split, f"the audio of window {number}")


def _once(seen: dict, key: str | bytes, split: str, what: str) -> None:
    if seen.setdefault(key, split) != split:
        raise RetimbreError(f"{what} is in the splits {seen[key]} and {split}: split by piece anew.")


def threshold(p: np.ndarray, kept: float = 0.95) -> float:
    """The highest probability below which all but ``kept`` of known windows (B, K) fall: "none of these"."""
    return float(np.quantile(p.max(axis=1), 1 - kept))
