"""Universal Music Translation: three domains and a fourth later, both players, an interruption."""

import numpy as np
import pytest
import torch

from retimbre.errors import RetimbreError
from retimbre.systems import catalogue, streaming
from retimbre.systems.base import Streams
from retimbre.systems.streaming import Chunking
from retimbre.systems.umtn import train
from retimbre.systems.umtn.params import Params
from retimbre.systems.umtn.system import System
from retimbre.training.devices import make_fabric
from tests.toys.features import run_of
from tests.toys.project import under
from tests.toys.samples import RATE, params_of, tune, write_audio
from tests.toys.tunes import continued

THREE = ("reed", "bell", "pipe")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_audio(tmp_path_factory.mktemp("audio"), *THREE)


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    """The folder of a model of three domains, and its history."""
    models = tmp_path_factory.mktemp("models")
    p = params_of(Params)
    model, history = train.fit(data, p, run_of())
    catalogue.store("umtn", p, model, models / "umtn")
    return models, history


def test_it_trains_three_domains_and_is_used_by_its_name(trained):
    models, history = trained
    assert {"umtn/nll_bits", "umtn/classifier_nll", "validation/gap_bits"} <= set(history[-1])
    system = catalogue.load("umtn", models)
    assert isinstance(system, Streams) and system.targets == list(THREE) and system.sources is None
    x = tune("horn", 9)
    made = {to: system.transfer(x, to, seed=1) for to in THREE}
    assert all(y.shape == x.shape and y.dtype == np.float32 for y in made.values())
    assert not np.array_equal(made["reed"], made["bell"]), "a decoder for each"
    np.testing.assert_array_equal(made["reed"], system.transfer(x, "reed", seed=1))


def test_long_recordings_go_on_where_a_chunk_ended(trained):
    system = catalogue.load("umtn", trained[0])
    long = np.concatenate([tune("horn", i) for i in range(3)])
    y = streaming.transfer(system, long, RATE, "pipe", chunking=Chunking(1.0, 0.25, 0.02))
    assert y.shape == long.shape and np.isfinite(y).all()
    context, grid = system.chunking("pipe")
    assert grid == 2 * 16 and context > 2 * system.network.encoder.receptive_field // 2
    # A code does not change with where a chunk began, on the grid and with this much context.
    code, start = system.encode(long), 20
    part = system.encode(long[start * grid :])
    skipped = -(-context // grid)
    near = 0.1 * code.std()
    np.testing.assert_allclose(part[skipped:-skipped], code[start + skipped : -skipped], atol=near)


def test_a_fourth_domain_is_a_decoder_on_the_frozen_encoder(trained, tmp_path):
    folder = trained[0] / "umtn"
    p = params_of(Params, frozen_from=str(folder))
    assert p.inputs == (str(folder),), "the checkpoint's key has it"
    model, history = train.fit(write_audio(tmp_path, "horn"), p, run_of())
    assert model.targets == [*THREE, "horn"]
    assert not any(name.startswith("umtn/classifier") for row in history for name in row)
    before, after = System.load(folder).network.state_dict(), model.network.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert {name.split(".")[1] for name in after if name not in before} == {"horn"}
    start = train.extended(folder, ["horn"], p)[0].decoder("horn").gate_weight
    assert not torch.equal(start, model.network.decoder("horn").gate_weight)


def test_what_cannot_be_added_is_refused_by_name(data, trained, tmp_path):
    folder = str(trained[0] / "umtn")
    with pytest.raises(RetimbreError, match="has decoders for reed, bell, pipe already: name another"):
        train.fit(data, params_of(Params, frozen_from=folder), run_of())
    horn = write_audio(tmp_path, "horn")
    with pytest.raises(RetimbreError, match="other sizes than the section umtn: make them equal"):
        train.fit(horn, params_of(Params, frozen_from=folder, layers=4), run_of())
    with pytest.raises(RetimbreError, match="has no trained encoder for umtn.frozen_from"):
        train.fit(horn, params_of(Params, frozen_from=str(tmp_path / "none")), run_of())
    with pytest.raises(RetimbreError, match="umtn.sample_rate is 3000 Hz, by which audio.sample_rate"):
        train.fit(horn, params_of(Params, sample_rate=3000), run_of())


def test_an_interrupted_training_ends_with_the_same_weights(data, trained, tmp_path, monkeypatch):
    model, history = continued(train, "ConfusionTrainer", data, params_of(Params), tmp_path, monkeypatch)
    whole = System.load(trained[0] / "umtn").network.state_dict()
    assert all(torch.equal(value, whole[name]) for name, value in model.network.state_dict().items())
    assert history == trained[1]


def test_the_classifier_learns_the_domain_and_the_encoder_hides_it(data):
    """Each player's step alone: the classifier's lowers its error on codes, the encoder's raises it."""
    p = params_of(Params, code_channels=8, batch_size=4, classifier_learning_rate=1e-2)
    torch.manual_seed(0)
    network = train.Autoencoder(p.network(list(THREE), False, False))
    classifier = train.DomainClassifier(p.code_channels, p.classifier_channels, len(THREE))
    rate = p.classifier_learning_rate
    trainer = train.ConfusionTrainer(network, THREE, p, make_fabric("cpu"), classifier, rate)
    samples = train.SampleCrops(data.audio, THREE, "train", p, network, 0).batch(0)
    amplitudes = train.companded(samples)

    def error() -> torch.Tensor:
        return trainer.confusion(trainer.encoded(amplitudes))[0]

    start, encoder = error().item(), [w.clone() for w in network.encoder.parameters()]
    for _ in range(60):
        trainer.classify(amplitudes)
    learnt = error().item()
    assert learnt < 0.95 * start
    assert all(torch.equal(a, b) for a, b in zip(encoder, network.encoder.parameters(), strict=True))
    judge = [w.clone() for w in trainer.classifier.parameters()]
    for step in range(20):
        trainer.descend(-error(), 100 + step)  # what encoder and decoders add to their own loss
    assert error() > learnt
    assert all(torch.equal(a, b) for a, b in zip(judge, trainer.classifier.parameters(), strict=True))


def test_a_classifier_that_is_worse_than_chance_is_fooled_no_further(data):
    """However heavy the confusion, the networks' step is that of reconstruction alone then, and no other."""
    after = {}
    for heavy in (0.0, 100.0):
        p = params_of(Params, lambda_confusion=heavy)
        torch.manual_seed(0)
        network = train.Autoencoder(p.network(list(THREE), False, False))
        classifier = train.DomainClassifier(p.code_channels, p.classifier_channels, len(THREE))
        trainer = train.ConfusionTrainer(network, THREE, p, make_fabric("cpu"), classifier, 1e-9)
        samples = train.SampleCrops(data.audio, THREE, "train", p, network, 0).batch(0)
        amplitudes = train.companded(samples)
        with torch.no_grad():
            classifier.body[-1].bias.copy_(torch.tensor([50.0, 0.0, 0.0]))  # "the first", whatever it hears
        assert trainer.confusion(trainer.encoded(amplitudes))[0] > 10
        trainer.step(samples, amplitudes, amplitudes, samples, 50)
        after[heavy] = torch.cat([w.detach().flatten() for w in network.parameters()])
    assert torch.equal(after[0.0], after[100.0])


def test_stretches_are_out_of_tune_and_targets_are_not():
    clean = torch.rand(2, 3, 400, generator=torch.Generator().manual_seed(0)) - 0.5
    moved = train.out_of_tune(clean, 0.5, 1, 2)
    share = (moved != clean).float().mean(2)
    assert share.min() > 0.2 and share.max() < 0.55
    assert torch.equal(moved, train.out_of_tune(clean, 0.5, 1, 2))
    assert torch.allclose(train.out_of_tune(clean, 0.0, 1, 2), clean)


def test_the_profile_has_the_published_sizes():
    p = Params.model_validate(under("umtn")["umtn"])
    with torch.device("meta"):
        network = train.Autoencoder(p.network(["cello"], one_decoder=False, relu_first=False))
    assert sum(w.numel() for w in network.encoder.parameters()) == 1_982_528
    assert sum(w.numel() for w in network.decoders.parameters()) == 6_540_288
    assert network.config.decoder().receptive_field() == 65_534
    assert p.crop_codes * p.pool == 12_000
