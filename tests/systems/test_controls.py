"""Equalisers between two domains, from the statistics of their training splits."""

from types import SimpleNamespace

import numpy as np
import pytest

from retimbre.errors import RetimbreError
from retimbre.systems.base import Change
from retimbre.systems.controls import EqualiserChange
from tests.toys.features import CONFIG

STATISTICS = {
    "top_db": 0.0,
    "mean_db": {"harp": [-20.0, -30.0], "lute": [-10.0, -40.0]},
    "std_db": {"harp": [5.0, 4.0], "lute": [10.0, 4.0]},
}
FEATURES = SimpleNamespace(statistics={"mel": STATISTICS}, config=CONFIG, domains=["harp", "lute", "bell"])


def control(affine: bool) -> EqualiserChange:
    return EqualiserChange(FEATURES, "mel", affine)


def test_it_is_a_change_between_the_first_two_domains():
    c = control(False)
    assert isinstance(c, Change) and (c.targets, c.sources) == (["harp", "lute"], ["harp", "lute"])
    assert (c.context("lute"), c.stride("lute")) == (0, 1)
    with pytest.raises(RetimbreError, match="'bell' is no instrument of this system: choose harp, lute."):
        c.transfer(np.zeros((2, 3), np.float32), "bell")


def test_eq_match_moves_each_bin_by_the_difference_of_the_means():
    x = np.array([[-25.0, -15.0], [-30.0, -20.0]], np.float32)
    assert np.allclose(control(False).transfer(x, "lute"), x + [[10.0], [-10.0]])


def test_eq_affine_gives_the_target_mean_and_spread():
    rng = np.random.default_rng(0)
    x = rng.normal([[-20.0], [-30.0]], [[2.5], [2.0]], (2, 4000)).astype(np.float32)
    y = control(True).transfer(x, "lute")
    assert np.allclose(y.mean(1), [-10, -40], atol=0.3) and np.allclose(y.std(1), [5, 2], atol=0.2)


@pytest.mark.parametrize("affine", [False, True])
def test_there_and_back_is_the_identity_inside_the_range(affine):
    x, c = np.array([[-25.0, -15.0], [-30.0, -20.0]], np.float32), control(affine)
    assert np.allclose(c.transfer(c.transfer(x, "lute"), "harp"), x, atol=1e-4)


def test_spectra_stay_in_the_range():
    y = control(False).transfer(np.array([[0.0, -80.0], [-55.0, -60.0]], np.float32), "lute")
    assert (y.max(), y.min()) == (0, -60)
