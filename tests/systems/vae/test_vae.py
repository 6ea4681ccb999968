"""The variational autoencoder of spectra: its codes carry bits, and its decoders need them."""

import numpy as np
import pytest
import torch
from torch.distributions import Normal, kl_divergence

from retimbre.errors import RetimbreError
from retimbre.nn.spectral.gaussian import GaussianEncoder, drawn, kl_nats, paid_nats
from retimbre.systems import catalogue
from retimbre.systems.base import Change as Contract
from retimbre.systems.vae import train
from retimbre.systems.vae.network import Decoder, Vae, VaeConfig
from retimbre.systems.vae.params import Params
from retimbre.systems.vae.system import Change
from tests.toys.features import run_of
from tests.toys.project import smoke
from tests.toys.tunes import continued, write_tunes


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_tunes(tmp_path_factory.mktemp("tunes"))


def params(**changes) -> Params:
    return Params.model_validate(smoke()["vae"] | changes)


def test_bits_are_those_of_gaussians_and_some_are_free():
    mean, log_variance = torch.randn(2, 3, 5), torch.randn(2, 3, 5)
    own, prior = Normal(mean, (0.5 * log_variance).exp()), Normal(0.0, 1.0)
    kl = kl_nats(mean, log_variance)
    assert torch.allclose(kl, kl_divergence(own, prior), atol=1e-5)
    assert paid_nats(kl, 0) == pytest.approx(kl.sum(1).mean().item(), rel=1e-5)
    zero = torch.zeros(2, 3, 5).requires_grad_()
    paid = paid_nats(kl_nats(zero, zero), 0.5)
    assert paid.item() == pytest.approx(3 * 0.5 * np.log(2))
    paid.backward()
    assert not zero.grad.any(), "nothing is asked of what is free"
    torch.manual_seed(0)
    codes = drawn(torch.full((1, 1, 9000), 2.0), torch.full((1, 1, 9000), np.log(0.25)))
    assert codes.mean().item() == pytest.approx(2, abs=0.03) and codes.std().item() == pytest.approx(
        0.5, abs=0.03
    )


@pytest.mark.parametrize("stride", [1, 4])
def test_codes_are_centred_on_their_frames(stride):
    encoder = GaussianEncoder(6, 8, 2, 3, stride)
    x = torch.zeros(1, 6, 65).requires_grad_()
    mean, _ = encoder(x)
    assert mean.shape == (1, 3, 64 // stride + 1)
    mean[..., 32 // stride].sum().backward()
    seen = np.flatnonzero(x.grad.abs().sum((0, 1)))
    assert seen.min() == 32 - encoder.context and seen.max() == 32 + encoder.context


def test_likelihood_is_that_of_a_gaussian():
    decoder, code, x = Decoder(VaeConfig(6, 1, 8, 1, 3)), torch.randn(2, 3, 9), torch.randn(2, 6, 9)
    own = Normal(decoder(code), decoder.log_deviation.exp()[:, None])
    assert decoder.nats(code, x).item() == pytest.approx(-own.log_prob(x).sum(1).mean().item(), rel=1e-4)


def test_context_is_what_an_output_depends_on():
    made = Vae(VaeConfig(6, 2, 8, 2, 3))
    x = torch.zeros(1, 6, 101).requires_grad_()
    made(x, 1)[..., 50].sum().backward()
    seen = np.flatnonzero(x.grad.abs().sum((0, 1)))
    assert seen.min() == 50 - made.context and seen.max() == 50 + made.context


def test_an_interrupted_training_ends_with_the_same_weights(data, tmp_path, monkeypatch):
    whole, history = train.fit(data, params(), run_of())
    again, rows = continued(train, "VaeTrainer", data, params(), tmp_path, monkeypatch)
    own, other = (model.network.state_dict() for model in (whole, again))
    assert all(torch.equal(own[name], other[name]) for name in own)
    assert rows == history
    assert {"loss/nll", "loss/kl", "code/kl_bits", "code/shuffled_cost_bits"} <= history[-1].keys()


def test_codes_say_something_and_travel(data, tmp_path):
    p = params(channels=32, steps=80, batch_size=4, code=8)
    model, history = train.fit(data, p, run_of())
    assert history[-1]["loss/nll"] < history[0]["loss/nll"]
    assert history[-1]["code/kl_bits"] > 1
    assert history[-1]["code/shuffled_cost_bits"] > 1
    catalogue.store("vae", p, model, tmp_path / "vae")
    loaded = Change.load(tmp_path / "vae")
    assert isinstance(loaded, Contract) and catalogue.targets_of("vae", tmp_path) == ["piano", "guitar"]
    e = data.features.index[0]
    x = np.asarray(data.features.read(e, representation="cqt"), np.float32).T
    y = loaded.transfer(x, "guitar")
    assert y.shape == x.shape and np.array_equal(y, model.transfer(x, "guitar"))
    assert np.abs(y - loaded.transfer(x, "piano")).max() > 1
    with pytest.raises(RetimbreError, match="harp"):
        loaded.transfer(x, "harp")


def test_bits_that_cost_too_much_are_not_used(data):
    """Posterior collapse, which the figures must show."""
    _, history = train.fit(
        data, params(channels=32, steps=80, batch_size=4, beta=1000, free_bits=0), run_of()
    )
    assert history[-1]["code/kl_bits"] < 0.5 and abs(history[-1]["code/shuffled_cost_bits"]) < 0.5
