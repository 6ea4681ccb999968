"""Measures of generated notes against closed forms and other implementations."""

import numpy as np
import pytest
from scipy.linalg import sqrtm
from scipy.spatial.distance import cdist, pdist

from retimbre.metrics.distribution import Modes, ndb
from retimbre.synthesis.measures import scores


def test_inception_score_is_the_number_of_classes_that_are_sure_and_even() -> None:
    sure = np.tile(np.eye(5), (8, 1))
    assert scores.inception_score(sure, 20) == pytest.approx(5)
    assert scores.inception_score(np.full((40, 5), 0.2), 20) == pytest.approx(1)
    assert scores.inception_score(np.tile(np.eye(5)[:1], (40, 1)), 20) == pytest.approx(1)
    # two groups of one class each: nothing varies within a group
    assert scores.inception_score(np.repeat(np.eye(2), 10, axis=0), 10) == pytest.approx(1)
    assert scores.inception_score(np.repeat(np.eye(2), 10, axis=0), 20) == pytest.approx(2)


def test_inception_score_is_exp_of_mutual_information() -> None:
    p = np.random.default_rng(0).dirichlet(np.ones(4), 30)
    joint = p / len(p)
    independent = joint.sum(0, keepdims=True) * joint.sum(1, keepdims=True)
    assert scores.inception_score(p, 30) == pytest.approx(np.exp((joint * np.log(joint / independent)).sum()))


def test_entropy_of_even_and_of_sure_probabilities() -> None:
    assert scores.entropy(np.array([[0.25] * 4, [1, 0, 0, 0]])) == pytest.approx([np.log(4), 0], abs=1e-9)


def test_fid_is_that_of_normal_distributions() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(0, 1, (400, 3)), rng.normal(1, 2, (500, 3))
    a, b = np.cov(x.T), np.cov(y.T)
    expected = np.square(x.mean(0) - y.mean(0)).sum() + np.trace(a + b - 2 * sqrtm(a @ b).real)
    assert scores.fid(x, y) == pytest.approx(expected)


def test_fid_without_bias_is_nearer_to_what_many_notes_have() -> None:
    rng = np.random.default_rng(0)
    real, many, few = (rng.normal(0, 1, (n, 8)) for n in (4000, 4000, 100))
    truth = scores.fid(many, real)
    assert abs(scores.fid_without_bias(few, real) - truth) < 0.5 * abs(scores.fid(few, real) - truth)


def test_distances_are_to_the_nearest_note_that_is_another_one() -> None:
    x = np.random.default_rng(0).normal(size=(12, 3, 4)).astype(np.float32)
    flat = x.reshape(12, -1)
    apart = cdist(flat, flat)
    np.fill_diagonal(apart, np.inf)
    assert scores.nearest(x) == pytest.approx(apart.min(1), rel=1e-4)
    assert scores.nearest(x[:5], x[5:]) == pytest.approx(cdist(flat[:5], flat[5:]).min(1), rel=1e-4)
    assert scores.nearest(x[:5], x) == pytest.approx(np.zeros(5), abs=1e-3)


def test_diversity_is_within_groups_and_none_of_one_example() -> None:
    x = np.random.default_rng(0).normal(size=(9, 2, 3))
    groups = np.array([0] * 4 + [1] * 4 + [2])
    flat = x.reshape(9, -1)
    expected = np.mean([pdist(flat[:4]).mean(), pdist(flat[4:8]).mean()])
    assert scores.diversity(x, groups) == pytest.approx(expected)
    assert scores.diversity(np.repeat(x[:1], 4, axis=0), np.zeros(4)) == pytest.approx(0, abs=1e-6)
    assert np.isnan(scores.diversity(x[:2], np.array([0, 1])))


def test_numbered_clusters_count_as_the_clusters_do() -> None:
    rng = np.random.default_rng(0)
    train, other = (rng.normal(shift, 1, (300, 64, 32)).astype(np.float32) for shift in (0, 0.02))
    modes = Modes.fit(scores.pooled(train), 5)
    found = ndb(scores.visited(other, modes), scores.numbered(modes))
    assert found == pytest.approx(ndb(scores.pooled(other), modes))


def test_log_mel_of_a_tone_is_loudest_at_its_band() -> None:
    t = np.arange(8192) / 16000
    found = scores.log_mel(np.sin(2 * np.pi * 1000 * t)[None], 16000)
    assert found.shape == (1, 128, 65)
    import librosa

    centres = librosa.mel_frequencies(130, fmin=0, fmax=8000)[1:-1]
    assert abs(centres[found[0, :, 32].argmax()] - 1000) < 40


def test_an_interval_is_that_of_a_mean() -> None:
    values = np.random.default_rng(0).normal(3, 2, 400)
    found = scores.mean(values)
    half = 1.96 * values.std() / np.sqrt(400)
    assert found.value == pytest.approx(values.mean())
    assert found.high - found.value == pytest.approx(half, rel=0.3)
    assert found.value - found.low == pytest.approx(found.high - found.value)


def test_projection_error_in_decibels() -> None:
    drawn = np.ones((2, 3, 4))
    heard = np.stack([np.full((3, 4), 0.9), np.zeros((3, 4))])
    assert scores.projection_error(drawn, heard) == pytest.approx([-20, 0])
