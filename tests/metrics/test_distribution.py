"""Distances between sets, against other libraries, brute force and known distributions."""

import librosa
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist, pdist
from torchmetrics.image.fid import FrechetInceptionDistance

from retimbre.metrics import distribution as dist


def gaussian(n, d, seed, shift=0.0, scale=1.0):
    return np.random.default_rng(seed).normal(size=(n, d)) * scale + shift


def test_kad_is_the_unbiased_mmd():
    x, y = gaussian(20, 3, 0), gaussian(30, 3, 1, 0.3)
    width = np.median(pdist(y))

    def kernel(a, b):
        return np.exp(-(cdist(a, b) ** 2) / (2 * width**2))

    within = (kernel(x, x).sum() - 20) / (20 * 19) + (kernel(y, y).sum() - 30) / (30 * 29)
    assert dist.kad(x, y) == pytest.approx(100 * (within - 2 * kernel(x, y).mean()))


def test_kad_is_unbiased_at_any_size_and_the_frechet_distance_is_not():
    """At 60 windows in 16 dimensions the latter is mostly bias."""
    sizes = {n: [(gaussian(n, 16, [n, i]), gaussian(n, 16, [n, i, 1])) for i in range(10)] for n in (60, 400)}
    both = (dist.kad, dist.fad)
    kad, fad = ({n: np.mean([f(*p) for p in pairs]) for n, pairs in sizes.items()} for f in both)
    assert abs(kad[60]) < 0.4 and abs(kad[400]) < 0.1
    assert fad[60] > 5 * fad[400] > 0


def test_both_grow_with_the_distance():
    real = gaussian(300, 8, 0)
    shifted = [gaussian(200, 8, 1, s) for s in (0.0, 0.3, 0.6, 1.2)]
    for distance in (dist.kad, dist.fad):
        values = [distance(x, real) for x in shifted]
        assert values == sorted(values) and values[-1] > 10 * abs(values[0])


def test_frechet_distance_of_known_gaussians():
    n, d = 20000, 4
    x, y = gaussian(n, d, 0, 0.5, 2.0), gaussian(n, d, 1)
    assert dist.fad(x, y) == pytest.approx(d * 0.25 + d * (2 - 1) ** 2, rel=0.05)


class Flat(torch.nn.Module):
    """Features that torchmetrics takes as they are."""

    num_features = 6

    def forward(self, x):
        return x.flatten(1)


def test_frechet_distance_equals_torchmetrics():
    x, y = gaussian(100, 6, 0, 0.2), gaussian(150, 6, 1)
    theirs = FrechetInceptionDistance(feature=Flat(), input_img_size=(1, 1, 6), normalize=True)
    theirs = theirs.set_dtype(torch.float64)
    for values, real in ((y, True), (x, False)):
        theirs.update(torch.from_numpy(values)[:, None, None, :], real=real)
    assert dist.fad(x, y, axes=6) == pytest.approx(float(theirs.compute()), rel=1e-4)  # all axes: only turned


def test_frechet_distance_refuses():
    with pytest.raises(ValueError, match="too few"):
        dist.fad(gaussian(16, 20, 0), gaussian(200, 20, 1), 16)
    with pytest.raises(ValueError, match="at most 32"):
        dist.fad(gaussian(100, 40, 0), gaussian(100, 40, 1), 33)
    with pytest.raises(ValueError, match="columns"):
        dist.kad(gaussian(10, 3, 0), gaussian(10, 4, 0))
    with pytest.raises(ValueError, match="finite"):
        dist.prdc(np.full((10, 3), np.nan), gaussian(10, 3, 0))
    with pytest.raises(ValueError, match="n >= 2"):
        dist.kad(gaussian(1, 3, 0), gaussian(10, 3, 0))


def clips(count, seed, shift=0.0):
    """Windows of clips that each have a colour of their own: (windows, clip numbers)."""
    rng = np.random.default_rng(seed)
    windows = [rng.normal(size=6) * 0.5 + shift + rng.normal(size=(10, 6)) for _ in range(count)]
    return np.concatenate(windows), np.repeat(np.arange(count), 10)


def test_interval_covers_equal_sets_of_clips_and_excludes_different_ones():
    covered = []
    for seed in range(20):
        (x, of_x), (y, of_y) = clips(12, [seed, 0]), clips(24, [seed, 1])
        found = dist.kernel_distance(x, y, of_x, of_y, 100, seed)
        covered.append(found.low <= 0 <= found.high)
        assert found.low < found.value < found.high
    assert np.mean(covered) >= 0.7
    (x, of_x), (y, of_y) = clips(12, 0, 1.0), clips(24, 1)
    assert dist.kernel_distance(x, y, of_x, of_y, 100).low > 2
    assert dist.kernel_distance(x, y, of_x, of_y, 50, 3) == dist.kernel_distance(x, y, of_x, of_y, 50, 3)


def test_windows_of_a_clip_are_not_independent():
    """An interval that takes each window for a clip of its own is too narrow."""
    (x, of_x), (y, of_y) = clips(12, 0), clips(24, 1)
    by_clip, by_window = dist.kernel_distance(x, y, of_x, of_y, 200), dist.kernel_distance(x, y, draws=200)
    assert by_clip.value == pytest.approx(by_window.value)
    assert by_clip.high - by_clip.low > by_window.high - by_window.low


def test_prdc_sees_what_is_missing():
    real = np.concatenate([gaussian(100, 4, 0), gaussian(100, 4, 1, 8.0)])  # two modes
    like = np.concatenate([gaussian(100, 4, 2), gaussian(100, 4, 3, 8.0)])
    sets = (like, gaussian(200, 4, 4), gaussian(200, 4, 5, 30.0))
    same, collapsed, far = (dist.prdc(x, real) for x in sets)
    assert min(same.values()) > 0.8
    assert collapsed["precision"] > 0.8 and collapsed["recall"] < 0.6 and collapsed["coverage"] < 0.6
    assert set(far.values()) == {0.0}
    assert all(np.isnan(v) for v in dist.prdc(real[:5], real).values())


def test_prdc_of_a_set_with_itself():
    x = gaussian(60, 3, 0)
    ones = dict.fromkeys(("precision", "recall", "density", "coverage"), 1)
    assert dist.prdc(x, x) == pytest.approx(ones, abs=0.1)


def test_ndb_counts_bins_that_are_visited_otherwise():
    real = gaussian(2000, 5, 0)
    modes = dist.Modes.fit(real, bins=20)
    assert len(modes.counts) == 20 and modes.counts.sum() == 2000
    same, moved = dist.ndb(gaussian(1000, 5, 1), modes), dist.ndb(gaussian(1000, 5, 1, 1.0), modes)
    assert same[0] <= 0.2 and same[1] < 0.02
    assert moved[0] > 0.6 and moved[1] > 0.15
    one = dist.ndb(np.tile(real[:1], (500, 1)), modes)
    assert one[0] > 0.9 and one[1] > 0.7


def test_few_frames_have_fewer_modes():
    assert len(dist.Modes.fit(gaussian(100, 4, 0)).counts) == 10


def test_mfcc_is_librosas():
    mel_db = gaussian(80, 100, 0, -30, 8)
    expected = librosa.feature.mfcc(S=np.maximum(mel_db, mel_db.max() - 60), n_mfcc=13)[1:]
    np.testing.assert_allclose(dist.mfcc(mel_db), expected, atol=1e-9)


def test_mfcc_windows_know_nothing_of_level():
    mel_db = gaussian(80, 200, 0, -30, 8)
    x = dist.mfcc_windows(mel_db, 62)
    assert x.shape == (5, 24) and np.allclose(x, dist.mfcc_windows(mel_db + 12, 62), atol=1e-3)
    assert dist.mfcc_windows(mel_db[:, :20], 62).shape == (1, 24)


def test_thinned_frames():
    mel_db = gaussian(80, 200, 0, -30, 8)
    x = dist.thinned_frames(mel_db)
    assert x.shape == (12, 80) and np.allclose(x.mean(axis=1), 0, atol=1e-4)
    np.testing.assert_allclose(x, dist.thinned_frames(mel_db - 20), atol=1e-4)


def test_nearest_timbre():
    bank = np.concatenate([np.tile([1.0, 0.0], (5, 1)), np.tile([0.0, 1.0], (20, 1))])
    assert dist.nearest_timbre(np.array([3.0, 0.0]), bank) == pytest.approx(0, abs=1e-9)
    # The five nearest are at right angles.
    assert dist.nearest_timbre(np.array([-1.0, 0.0]), bank) == pytest.approx(1)


@settings(max_examples=30, deadline=None)
@given(st.integers(6, 40), st.integers(6, 40), st.integers(1, 6), st.integers(0, 1000))
def test_any_sets_have_finite_distances_in_range(n, m, d, seed):
    x, y = np.round(gaussian(n, d, seed)), np.round(gaussian(m, d, seed + 1))  # rounded: many ties
    found = dist.prdc(x, y)
    assert all(0 <= found[name] <= 1 for name in ("precision", "recall", "coverage"))
    assert found["density"] >= 0
    assert -200 <= dist.kad(x, y) <= 200
