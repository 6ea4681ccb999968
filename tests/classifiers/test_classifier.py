"""The classifier's shapes, its blindness to level, its files, and that it can learn one batch."""

import json

import pytest
import torch

from retimbre.classifiers.network import (
    ClassifierConfig,
    SpectrumClassifier,
    load_networks,
    probabilities,
    save_networks,
)
from retimbre.classifiers.panel import Classifiers
from retimbre.errors import RetimbreError


def make(classes=("guitar", "piano"), channels=4):
    torch.manual_seed(0)
    return SpectrumClassifier(ClassifierConfig(tuple(classes), channels, top_db=0.0, range_db=60.0))


@pytest.mark.parametrize("bins,frames", [(84, 62), (80, 62), (513, 16), (336, 100)])
def test_shapes(bins, frames):
    network = make(("a", "b", "c"))
    x = torch.randn(3, bins, frames) * 10 - 30
    assert network(x).shape == (3, 3)
    assert network.embed(x).shape == (3, 64)


def test_level_does_not_matter():
    network = make().eval()
    x = torch.randn(2, 84, 62) * 5 - 30
    torch.testing.assert_close(network(x), network(x + 4), rtol=1e-4, atol=1e-4)


def test_what_is_under_the_floor_does_not_matter():
    network = make().eval()
    x = torch.full((1, 84, 62), -70.0)
    y = x - 20
    x[:, 10:20], y[:, 10:20] = -10.0, -10.0
    torch.testing.assert_close(network(x), network(y))


def test_overfits_one_batch():
    network = make(channels=8)
    generator = torch.Generator().manual_seed(1)
    x, y = torch.randn(8, 40, 32, generator=generator) * 8 - 30, torch.tensor([0, 1] * 4)
    optimiser = torch.optim.Adam(network.parameters(), 3e-3)
    for _ in range(60):
        loss = torch.nn.functional.cross_entropy(network(x), y)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    p = probabilities(network, x)
    assert (p.argmax(1) == y).all()
    assert p.sum(1).allclose(torch.ones(8))


def test_batches_do_not_change_probabilities():
    network, x = make(), torch.randn(7, 84, 62) * 8 - 30
    torch.testing.assert_close(probabilities(network, x, batch_size=2), probabilities(network, x))
    assert probabilities(network, x[:0]).shape == (0, 2)


def test_saved_networks_come_back(tmp_path):
    networks = {"instrument": make(), "hard_piano": make(("equalised", "piano"), 6)}
    save_networks(tmp_path / "classifier", networks, {"domains": ["guitar", "piano"]})
    again, description = load_networks(tmp_path / "classifier")
    assert description["domains"] == ["guitar", "piano"]
    assert {p.suffix for p in (tmp_path / "classifier").iterdir()} == {".json", ".safetensors"}
    x = torch.randn(2, 84, 62) * 8 - 30
    for name, network in networks.items():
        assert torch.equal(again[name](x), network.eval()(x))
        assert again[name].config == network.config


def test_missing_or_broken_folder_is_named(tmp_path):
    with pytest.raises(RetimbreError, match="dvc repro classifier"):
        Classifiers.load(tmp_path / "nothing")
    (tmp_path / "config.json").write_text(json.dumps({"networks": {"style": make().config.to_dict()}}))
    no_weights = "has no trained classifier: train it with `dvc repro classifier`"
    with pytest.raises(RetimbreError, match=no_weights):
        Classifiers.load(tmp_path)
    (tmp_path / "style.safetensors").write_bytes(b"not weights")
    with pytest.raises(RetimbreError, match="is damaged"):
        Classifiers.load(tmp_path)
    save_networks(tmp_path, {"style": make()}, {"window_frames": 62})
    with pytest.raises(RetimbreError, match=r"is damaged or of another version \(KeyError\)"):
        Classifiers.load(tmp_path)
