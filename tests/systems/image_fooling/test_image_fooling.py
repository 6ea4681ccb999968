import numpy as np
import pytest
import torch

from retimbre.classifiers.network import probabilities
from retimbre.classifiers.optimised import descend
from retimbre.datasets.packed.format import PackedFeatures
from retimbre.errors import RetimbreError
from retimbre.systems import catalogue
from retimbre.systems.image_fooling import train
from retimbre.systems.image_fooling.params import Params
from retimbre.systems.image_fooling.system import Change
from tests.toys.features import data_of, run_of, write_features
from tests.toys.project import smoke

SMALL = {"representation": "mel", "steps": 40, "iterations": 30, "noise_db": 0}


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> PackedFeatures:
    return write_features(tmp_path_factory.mktemp("features"))


@pytest.fixture(scope="module")
def change(features: PackedFeatures) -> Change:
    p = Params.model_validate(smoke()["image_fooling"] | SMALL)
    model, history = train.fit(data_of(features), p, run_of())
    assert history[-1]["instrument/accuracy"] > 0.9
    return model


def spectrum(features: PackedFeatures, frames: int) -> np.ndarray:
    excerpt = features.excerpts(domain="flat", split="validation")[0]
    return features.read(excerpt, 0, frames, representation="mel").astype(np.float32).T


def test_descent_is_of_each_example_alone_and_within_its_bounds():
    goal = torch.tensor([[[-80.0, -30.0]], [[5.0, -10.0]]])
    start = torch.full((2, 1, 2), -20.0)

    def loss(goal: torch.Tensor):
        return lambda x: (x - goal).square().sum()

    both = descend(loss(goal), start, -60.0, 0.0, 300, 0.5)
    assert torch.allclose(both, goal.clamp(-60, 0), atol=0.2)
    alone = descend(loss(goal[:1]), start[:1], -60.0, 0.0, 300, 0.5)
    assert torch.equal(alone, both[:1]) and torch.all(start == -20)


def test_the_classifier_takes_the_output_for_the_target(features: PackedFeatures, change: Change):
    x = spectrum(features, 72)  # three windows
    y = change.transfer(x, "steep")
    p = [
        probabilities(change.classifier, torch.from_numpy(z).unflatten(1, (3, 24)).transpose(0, 1))[:, 1]
        for z in (x, y)
    ]
    assert p[0].max() < 0.5 and p[1].min() > 0.9
    assert y.shape == x.shape and y.min() >= -60 and y.max() <= 0
    assert np.abs(y - x.clip(-60, 0)).max() <= 30 * change.config["rate_db"] * 1.01, "a few dB are enough"


def test_a_price_on_the_change_keeps_it_small(features: PackedFeatures, change: Change):
    x = spectrum(features, 24)
    dear = Change(change.networks, change.config | {"content": 100.0})
    moved = [np.abs(c.transfer(x, "steep") - x.clip(-60, 0)).mean() for c in (change, dear)]
    assert moved[1] < 0.3 * moved[0]


def test_chunks_on_the_grid_come_out_as_the_whole(features: PackedFeatures, change: Change):
    x, width = spectrum(features, 90), change.stride("steep")
    whole, end = change.transfer(x, "steep"), change.transfer(x[:, 2 * width :], "steep")
    assert np.allclose(end, whole[:, 2 * width :], atol=1e-3) and whole.shape == x.shape


def test_what_is_stored_comes_back(features: PackedFeatures, change: Change, tmp_path):
    p = Params.model_validate(smoke()["image_fooling"] | SMALL)
    catalogue.store("image_fooling", p, change, tmp_path / "image_fooling")
    assert catalogue.targets_of("image_fooling", tmp_path) == ["flat", "steep"]
    loaded, x = Change.load(tmp_path / "image_fooling"), spectrum(features, 30)
    assert np.array_equal(loaded.transfer(x, "steep"), change.transfer(x, "steep"))
    assert loaded.parameters == change.parameters and loaded.sources is None
    with pytest.raises(RetimbreError, match="'harp' is no instrument of this system: choose flat, steep"):
        loaded.transfer(x, "harp")
