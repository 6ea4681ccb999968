import numpy as np
import torch

from retimbre.audio.equaliser import Equaliser
from retimbre.systems.controls import EqualiserControl

STATISTICS = {
    "top_db": 0.0,
    "mean_db": {"harp": [-20.0, -30.0], "lute": [-10.0, -40.0]},
    "std_db": {"harp": [5.0, 4.0], "lute": [10.0, 4.0]},
}


def control(affine: bool) -> EqualiserControl:
    pairs = (("harp", "lute"), ("lute", "harp"))
    return EqualiserControl({target: Equaliser.between(STATISTICS, source, target, 60.0) for source, target in pairs}, affine)


def test_eq_match_moves_each_bin_by_the_difference_of_the_means():
    x = np.array([[-25.0, -15.0], [-30.0, -20.0]], np.float32)
    assert np.allclose(control(False).transfer(x, "lute"), x + [[10.0], [-10.0]])


def test_eq_affine_gives_the_target_mean_and_spread():
    rng = np.random.default_rng(0)
    x = rng.normal([[-20.0], [-30.0]], [[2.5], [2.0]], (2, 4000)).astype(np.float32)
    y = control(True).transfer(x, "lute")
    assert np.allclose(y.mean(1), [-10, -40], atol=0.3) and np.allclose(y.std(1), [5, 2], atol=0.2)


def test_there_and_back_is_the_identity_inside_the_range():
    x = np.array([[-25.0, -15.0], [-30.0, -20.0]], np.float32)
    for affine in (False, True):
        c = control(affine)
        assert np.allclose(c.transfer(c.transfer(x, "lute"), "harp"), x, atol=1e-4)


def test_levels_stay_in_the_range():
    x = np.array([[0.0, -80.0], [-55.0, -60.0]], np.float32)
    y = control(False).transfer(x, "lute")
    assert y.max() <= 0 and y.min() >= -60
    assert torch.is_tensor(Equaliser.between(STATISTICS, "harp", "lute", 60.0).shift(torch.zeros(2, 3)))
