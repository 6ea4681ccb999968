"""Scores against scikit-learn and by hand; leaks between splits."""

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from retimbre.classifiers.bench import scores
from retimbre.errors import RetimbreError

RNG = np.random.default_rng(0)


def test_tagging_auc_against_scikit_learn():
    p, tags = RNG.random((200, 6)).round(1), RNG.random((200, 6)) < [0.02, 0.1, 0.2, 0.3, 0.4, 0.5]
    assert scores.macro_auc(p, tags) == pytest.approx(roc_auc_score(tags, p, average="macro"))
    assert scores.micro_auc(p, tags) == pytest.approx(roc_auc_score(tags, p, average="micro"))


def test_macro_and_micro_auc_by_hand():
    """Both tags are ordered at random, but one is frequent and always given more: pooling hides it."""
    p = np.array([[0.9, 0.1], [0.8, 0.2], [0.9, 0.1], [0.8, 0.2]])
    tags = np.array([[1, 0], [1, 0], [0, 1], [1, 0]], bool)
    # tag 1: yes 0.9 0.8 0.8, no 0.9: half of a tie; tag 2: yes 0.1, no 0.2 0.1 0.2: half of a tie
    assert scores.macro_auc(p, tags) == pytest.approx((0.5 / 3 + 0.5 / 3) / 2)
    # pooled: yes 0.9 0.8 0.8 0.1, no 0.9 0.1 0.2 0.2: 3.5 + 3 + 3 + 0.5 of 16 pairs are in order
    assert scores.micro_auc(p, tags) == pytest.approx(10 / 16)
    assert np.isnan(scores.macro_auc(p, np.ones((4, 2), bool)))


def test_scores_of_windows_and_recordings():
    labels = np.repeat([0, 1, 2], [8, 4, 4])
    p = RNG.dirichlet(np.ones(3), 16) + np.eye(3)[labels]
    p /= p.sum(1, keepdims=True)
    found = scores.scores(p, labels)
    assert found["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(labels, p.argmax(1)))
    assert found["auc"] == pytest.approx(roc_auc_score(labels, p, multi_class="ovr"))
    pooled = scores.by_recording(p, np.repeat(np.arange(4), 4))
    np.testing.assert_allclose(pooled[1], p[4:8].mean(0))
    # ten windows of 0.75 of which six are right
    sure = np.tile([0.75, 0.25], (10, 1))
    assert scores.calibration_error(sure, np.array([0] * 6 + [1] * 4)) == pytest.approx(0.15)


def test_mcnemar_counts_what_one_alone_gets_right():
    """Of eight items that one alone gets right, seven are the first's: 2 (1 + 8) / 256."""
    a, b = np.array([1] * 7 + [0] + [1] * 20, bool), np.array([0] * 7 + [1] + [1] * 20, bool)
    assert scores.mcnemar_p(a, b) == pytest.approx(18 / 256)
    assert scores.mcnemar_p(a, a) == 1.0


def test_leaks_are_refused():
    pieces = {"train": ["a", "b", "b"], "test": ["c"]}
    audio = {split: RNG.standard_normal((3, 50)).astype(np.float32) for split in pieces}
    for windows in audio.values():
        windows[0] = 0  # silence tells no pieces apart
    scores.refuse_leaks(pieces, audio)
    with pytest.raises(RetimbreError, match="piece c is in the splits train and test"):
        scores.refuse_leaks({"train": ["a", "c"], "test": ["c", "b"]}, audio)  # permuted between splits
    audio["test"][1] = audio["train"][2]
    with pytest.raises(RetimbreError, match="window 1 is in the splits train and test"):
        scores.refuse_leaks(pieces, audio)


def test_threshold_keeps_what_is_asked():
    p = np.linspace(0.5, 1, 101)[:, None]
    assert scores.threshold(p, 0.9) == pytest.approx(0.55)
