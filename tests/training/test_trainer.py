"""Schedules of learning rates."""

import pytest

from retimbre.training.trainer import linear_rate


@pytest.mark.parametrize(("share", "factor"), [(0.0, 1.0), (0.49, 1.0), (0.75, 0.5), (1.0, 0.02)])
def test_rates_are_constant_then_fall(share, factor):
    assert linear_rate(share, 0.5) == pytest.approx(factor)


def test_rates_fall_to_the_lowest_or_never():
    assert linear_rate(0.999, 0.4, lowest=0.0) == pytest.approx(0.001 / 0.6)
    assert linear_rate(0.999, 1.0) == 1
