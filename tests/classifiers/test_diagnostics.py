"""Diagnostics of classifiers: curves of known answers, projection on the axes of real clips."""

import numpy as np
import pytest

from retimbre.classifiers.diagnostics import Question, project


def test_reliability_and_its_error_of_known_answers():
    """40 of 100 windows at 0.25 are so, 225 of 300 at 0.75: a mean gap of 0.15 x 100 / 400."""
    probability = np.repeat([0.25, 0.75], [100, 300])
    truth = np.concatenate([np.arange(100) < 40, np.arange(300) < 225])
    asked = Question("is it?", probability, truth)
    predicted, observed, windows = asked.reliability()
    assert predicted.tolist() == pytest.approx([0.25, 0.75]) and observed.tolist() == pytest.approx(
        [0.4, 0.75]
    )
    assert windows.tolist() == [100, 300]
    assert asked.calibration_error == pytest.approx(0.15 / 4)


def test_curves_end_where_they_must_and_the_area_is_the_share_of_right_orders():
    asked = Question("is it?", np.array([0.1, 0.4, 0.35, 0.8]), np.array([False, False, True, True]))
    assert asked.auc == pytest.approx(0.75)  # of four pairs of a yes and a no, three are in the right order
    false_positive, true_positive = asked.roc()
    assert (false_positive[0], true_positive[0]) == (0, 0) and (false_positive[-1], true_positive[-1]) == (
        1,
        1,
    )
    recall, precision = asked.precision_recall()
    assert recall[0] == 1.0 and precision[-1] == 1.0


def test_projection_is_fitted_on_real_clips_alone():
    rng = np.random.default_rng(0)
    real = {"a": list(rng.normal(size=(20, 8)) * [9, 3, 1, 1, 1, 1, 1, 1])}
    far = {"x": list(1000 + rng.normal(size=(5, 8)))}
    axes, outputs, explained = project(real, far)
    assert axes["a"].shape == (20, 2) and outputs["x"].shape == (5, 2) and explained[0] > explained[1]
    assert np.allclose(axes["a"], project(real, {})[0]["a"]) and np.allclose(axes["a"].mean(axis=0), 0)
    assert project({"a": real["a"][:2]}, far) is None
