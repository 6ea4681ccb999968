import numpy as np
import pytest
import torch

from retimbre.classifiers.windows import split_windows
from retimbre.datasets.packed.format import PackedFeatures
from retimbre.nn.style import gram
from retimbre.systems import catalogue
from retimbre.systems.classifier_style import train
from retimbre.systems.classifier_style.params import Params
from retimbre.systems.classifier_style.system import Change, activations
from tests.toys.features import data_of, run_of, write_features
from tests.toys.project import smoke

SMALL = {"representation": "mel", "steps": 20, "iterations": 30}
P = Params.model_validate(smoke()["classifier_style"] | SMALL)


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> PackedFeatures:
    return write_features(tmp_path_factory.mktemp("features"))


@pytest.fixture(scope="module")
def change(features: PackedFeatures) -> Change:
    return train.fit(data_of(features), P, run_of())[0]


@pytest.fixture(scope="module")
def source(features: PackedFeatures) -> torch.Tensor:
    return split_windows(features, "mel", "flat", "validation", 24)[:3].clamp(-60, 0)


def test_the_layers_end_where_the_embedding_begins(change: Change, source: torch.Tensor):
    network = change.classifier
    seen = activations(network, source)
    assert [y.shape[1] for y in seen] == [4, 8, 16]
    assert torch.equal(network.body[9:](seen[-1]), network.embed(source))


def test_styles_are_means_over_all_training_windows(features: PackedFeatures, change: Change):
    for place, domain in enumerate(("flat", "steep")):
        x = split_windows(features, "mel", domain, "train", 24)
        expected = [gram(y).mean(0) for y in activations(change.classifier, x)]
        for found, wanted in zip(change.networks["styles"].of(place), expected, strict=True):
            assert torch.allclose(found, wanted, rtol=1e-4, atol=1e-6) and wanted.abs().sum() > 0


def test_content_costs_nothing_at_the_source_and_style_falls(change: Change, source: torch.Tensor):
    content, style = change.losses(source, source, "steep")
    assert torch.all(content == 0)
    made = np.concatenate([change.transfer(x.numpy(), "steep") for x in source])
    after = change.losses(torch.from_numpy(made).view_as(source), source, "steep")
    assert torch.all(after[1] < 0.7 * style) and torch.all(after[0] < 1)
    kept = Change(change.networks, change.config | {"style": 0.0})
    assert np.allclose(kept.transfer(source[0].numpy(), "steep"), source[0].numpy(), atol=1e-4)


def test_what_is_stored_comes_back(change: Change, source: torch.Tensor, tmp_path):
    catalogue.store("classifier_style", P, change, tmp_path / "classifier_style")
    assert catalogue.targets_of("classifier_style", tmp_path) == ["flat", "steep"]
    loaded, x = Change.load(tmp_path / "classifier_style"), source[0].numpy()
    assert np.array_equal(loaded.transfer(x, "flat"), change.transfer(x, "flat"))
