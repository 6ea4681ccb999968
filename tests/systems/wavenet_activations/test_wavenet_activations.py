import numpy as np
import pytest
import torch
from torch.nn import functional

from retimbre import params
from retimbre.audio.companding import encode_audio
from retimbre.datasets.packed.data import Data
from retimbre.errors import RetimbreError
from retimbre.nn.wavenet.network import WaveNet
from retimbre.systems import catalogue
from retimbre.systems.wavenet_activations import train
from retimbre.systems.wavenet_activations.network import nothing, residuals, unconditional
from retimbre.systems.wavenet_activations.params import Params
from retimbre.systems.wavenet_activations.system import System
from retimbre.training.fit import History
from tests.toys.features import run_of
from tests.toys.project import smoke
from tests.toys.tunes import continued
from tests.toys.vocoders import DOMAINS, tune, write_data

P = Params.model_validate(smoke()["wavenet_activations"] | {"steps": 15, "rate": 1.0, "iterations": 12})


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Data:
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def trained(data: Data) -> tuple[System, History]:
    return train.fit(data, P, run_of())


@pytest.fixture(scope="module")
def system(trained: tuple[System, History]) -> System:
    return trained[0]


def test_an_interrupted_training_ends_with_the_same_weights_and_styles(data, trained, tmp_path, monkeypatch):
    whole, history = trained
    assert history[-1]["wavenet/nll_bits"] < history[0]["wavenet/nll_bits"]
    again, rows = continued(train, "UnconditionalTrainer", data, P, tmp_path, monkeypatch)
    own, other = (model.listener.state_dict() for model in (whole, again))
    assert own["styles"].any() and all(torch.equal(own[name], other[name]) for name in own)
    assert rows == history


def test_residuals_are_those_of_the_network():
    """The skip connections and the head on top of them give the network's own outputs."""
    torch.manual_seed(0)
    network, codes = WaveNet(unconditional(4, 4, 8, 8, 64)), torch.randint(256, (2, 1024))
    network.output_bias.data.normal_()
    x = network.embedding(codes)
    h = network.segments(*nothing(1, 1024, 64), 32, 33)
    gates, skip = network.conditioning_projection(h).view(4, -1), 0
    for layer, y in enumerate([x, *residuals(network, x)]):
        taps = torch.cat([functional.pad(y, (0, 0, 2**layer, 0))[:, :1024], y], -1)
        filtered, gate = (taps @ network.gate_weight[layer] + gates[layer]).chunk(2, -1)
        skip = skip + filtered.tanh() * gate.sigmoid() @ network.output_weight[layer, :, 8:]
    skip = skip + network.output_bias[:, 8:].sum(0)
    hidden = network.head_hidden((skip * network.skip_scale).relu())
    outputs = network(codes, *nothing(2, 1024, 64))
    inside = slice(256, 768)  # the ends are conditioned by a border
    assert torch.allclose(network.head_output(hidden.relu())[:, inside], outputs[:, inside], atol=1e-4)


def test_both_losses_come_down_and_codes_are_what_is_largest(system: System):
    codes = torch.from_numpy(encode_audio(tune("reed", 9)[4000:6000], P.preemphasis, P.gain))
    network = system.listener.network
    rows = network.embedding(codes)[None]
    content = residuals(network, rows)[P.content_layer]
    of_content, of_style = system.losses(rows, content, "bell")
    assert float(of_content) == 0 < float(of_style), "the source has its own content, not the style"
    odds = (8.0 * functional.one_hot(codes, 256)).requires_grad_()
    optimiser, styles = torch.optim.Adam([odds], 0.5), []
    for _ in range(15):
        of_style = system.losses((odds.softmax(-1) @ network.embedding.weight)[None], content, "bell")[1]
        styles.append(of_style.item())
        optimiser.zero_grad()
        of_style.backward()
        optimiser.step()
    assert styles[-1] < 0.5 * styles[0]
    kept = System("x", system.listener, system.config | {"style": 0.0, "rate": 1e-4})
    assert torch.equal(kept.optimise(codes, "bell"), codes)


def test_the_trained_system_comes_back_and_writes_other_codes(system: System, tmp_path):
    catalogue.store("wavenet_activations", P, system, tmp_path / "wavenet_activations")
    loaded = catalogue.load("wavenet_activations", tmp_path)
    assert isinstance(loaded, System) and loaded.targets == DOMAINS and loaded.slow
    x = tune("reed", 9)[4000:8001]
    y = loaded.transfer(x, "bell")
    assert np.array_equal(y, system.transfer(x, "bell", 5)), "nothing is drawn"
    assert y.shape == x.shape and y.dtype == np.float32 and np.isfinite(y).all() and not np.allclose(x, y)
    with pytest.raises(RetimbreError, match="'harp' is no instrument of this system"):
        loaded.transfer(x, "harp")


def test_layers_that_are_not_there_are_refused():
    changed = smoke(wavenet_activations={"content_layer": 3})
    with pytest.raises(RetimbreError, match="content_layer count from 0, .* layer 2 is the last of 4 layers"):
        params.parse(changed)
