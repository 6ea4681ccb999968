"""Validation figures and the choice of the step, on data whose figures are known."""

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm

from retimbre.audio.distances import frechet_distance
from retimbre.audio.equaliser import Equaliser
from retimbre.datasets.packed.format import Excerpt
from retimbre.systems.cyclegan.selection import (
    Selection,
    Validation,
    beginning,
    paired_excerpts,
    window_shapes,
)
from tests.toys.features import BINS, TOP_DB, write_features

DOMAINS = ["flat", "steep"]


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    return write_features(tmp_path_factory.mktemp("paired"))


def true_targets(features, representation="mel"):
    """A transfer that knows the answer: source levels -> the paired target's."""
    answers = {}
    excerpts = [features.excerpts(domain=d, split="validation") for d in DOMAINS]
    for a, b in paired_excerpts(*excerpts):
        x, y = (
            np.clip(
                np.asarray(features.read(e, representation=representation), np.float32).T, TOP_DB - 60, TOP_DB
            )
            for e in (a, b)
        )
        answers[x.tobytes(), "steep"], answers[y.tobytes(), "flat"] = y, x
    return lambda level_db, target: answers[np.ascontiguousarray(level_db).tobytes(), target]


def equalised(features):
    other = {"flat": "steep", "steep": "flat"}

    def transfer(level_db, target):
        return (
            Equaliser.between(features.statistics["mel"], other[target], target, 60.0)
            .shift(torch.from_numpy(level_db))
            .numpy()
        )

    return transfer


def test_the_truth_scores_zero_and_the_equaliser_two(features):
    validation = Validation(features, "mel", DOMAINS)
    truth = validation.figures(true_targets(features))
    assert truth["validation/score"] == pytest.approx(0, abs=1e-6)
    for name in ("ab", "ba"):
        assert truth[f"validation/feature_lsd_{name}"] == 0
        assert truth[f"validation/chroma_ratio_{name}"] == pytest.approx(1)
    eq = validation.figures(equalised(features))
    assert eq["validation/score"] == pytest.approx(2)
    assert eq["validation/style_ab"] == pytest.approx(1)


def test_mute_and_wrong_notes_are_told_from_content(features):
    validation = Validation(features, "mel", DOMAINS)
    mute = validation.figures(lambda level_db, target: np.full_like(level_db, -200.0))
    assert mute["validation/chroma_ratio_ab"] < 0.3
    right = true_targets(features)
    wrong = validation.figures(lambda level_db, target: np.roll(right(level_db, target), 3, axis=0))
    assert wrong["validation/chroma_ratio_ab"] < 0.9
    reversed_time = validation.figures(lambda level_db, target: right(level_db, target)[:, ::-1])
    assert reversed_time["validation/style_ba"] > 0.05, "attack and decay belong to the style"


def test_without_pairs_the_equaliser_is_the_measure(tmp_path):
    unpaired = write_features(tmp_path / "unpaired", paired=False)
    validation = Validation(unpaired, "mel", DOMAINS)
    assert not validation.paired and not validation.empty
    figures = validation.figures(equalised(unpaired))
    assert not any("lsd" in name for name in figures)
    assert figures["validation/score"] == pytest.approx(1) and figures[
        "validation/chroma_ratio_ba"
    ] == pytest.approx(1)
    unpaired.excerpts = lambda **chosen: []
    assert Validation(unpaired, "mel", DOMAINS).empty


def test_distance_against_scipy():
    rng = np.random.default_rng(3)
    x, y = rng.normal(0, 1, (200, 5)) @ rng.normal(0, 1, (5, 5)), rng.normal(0.5, 2, (150, 5))
    s_x, s_y = np.cov(x.T), np.cov(y.T)
    expected = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(s_x + s_y - 2 * sqrtm(s_x @ s_y).real)
    assert frechet_distance(x, y) == pytest.approx(expected)
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-9)


def test_windows_of_short_recordings():
    shapes = window_shapes([np.zeros((BINS, 5), np.float32)], TOP_DB, 60)
    assert shapes.shape == (2, 64) and frechet_distance(shapes, shapes) == 0, (
        "two, for a distance needs a spread"
    )
    assert window_shapes(
        [np.zeros((BINS, 40), np.float32), np.zeros((BINS, 20), np.float32)], TOP_DB, 60
    ).shape == (7 + 2, 64)


def test_long_validation_splits_are_cut(features):
    excerpts = features.excerpts(domain="flat", split="train")  # 96 frames each
    assert (
        len(beginning(excerpts, 96 * 4)) == 4
        and len(beginning(excerpts, 95)) == 1
        and len(beginning(excerpts, 10**6)) == 6
    )


def test_parts_of_a_piece_are_paired_in_their_order():
    def part(domain: str, performance: str, number: int, length: int = 90) -> Excerpt:
        return Excerpt(
            f"{domain}{performance}{number}", domain, "validation", "song", performance, 0, 0, length
        )

    first = [part("flat", "1", n) for n in range(3)]
    second = [part("steep", "2", 0), part("steep", "1", 0), part("steep", "1", 1), part("steep", "1", 2, 80)]
    assert [(a.id, b.id) for a, b in paired_excerpts(first, second)] == [
        ("flat10", "steep10"),
        ("flat11", "steep11"),
    ]


def offer_all(selection: Selection, network: torch.nn.Linear, rows: list[tuple[float, float]]) -> None:
    for n, (score, ratio) in enumerate(rows, 1):
        torch.nn.init.constant_(network.weight, n)
        selection.offer(
            n * 10,
            {
                "validation/score": score,
                "validation/chroma_ratio_ab": 1.0,
                "validation/chroma_ratio_ba": ratio,
            },
        )


ROWS = [(1.5, 1.0), (0.8, 1.0), (0.2, 0.5), (0.9, 1.0)]  # the third lost the notes


def test_best_is_the_lowest_score_that_kept_the_notes():
    network = torch.nn.Linear(1, 1)
    selection = Selection("best", network, "model.select")
    offer_all(selection, network, ROWS[:2])
    state = selection.state_dict()
    selection = Selection("best", network, "model.select")  # an interrupted training goes on
    selection.load_state_dict(state)
    offer_all(selection, network, [(9.0, 1.0), (9.0, 1.0), *ROWS[2:]])
    assert selection.apply() == {"selection/step": 20, "selection/score": 0.8}
    assert network.weight.item() == 2


def test_last_keeps_the_last_and_best_without_candidates_too(capsys):
    network = torch.nn.Linear(1, 1)
    for rule, rows, said in (
        ("last", ROWS, ""),
        ("best", [(0.2, 0.5)] * 4, "model.select is best, but no step kept 90% of the true target's harmony"),
    ):
        selection = Selection(rule, network, "model.select")
        offer_all(selection, network, rows)
        assert selection.apply() == {} and network.weight.item() == 4
        heard = capsys.readouterr().err
        assert said in heard if said else heard == ""
