"""The STFT autoencoder: its shapes, its training, and what becomes of pitch."""

import numpy as np
import pytest
import torch

from retimbre.audio.features import spectrum_of
from retimbre.errors import RetimbreError
from retimbre.provenance import digest
from retimbre.systems import catalogue
from retimbre.systems.base import Streams
from retimbre.systems.stft_autoencoder import train
from retimbre.systems.stft_autoencoder.network import Autoencoders, FramesConfig
from retimbre.systems.stft_autoencoder.params import Params
from tests.toys.features import run_of
from tests.toys.models import FEATURES, melody
from tests.toys.project import smoke
from tests.toys.tunes import continued, write_tunes


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_tunes(tmp_path_factory.mktemp("tunes"))


def params(**changes) -> Params:
    return Params.model_validate(smoke()["stft_autoencoder"] | changes)


def shapes(network: torch.nn.Module) -> list[tuple[int, ...]]:
    return [tuple(m.weight.shape) for m in network.modules() if isinstance(m, torch.nn.Linear)]


def test_the_published_layers_are_those_of_the_lstm_variant():
    """Real and imaginary parts of a 4096-point STFT, as the authors' code has them."""
    made = Autoencoders(FramesConfig(4098, 1, "own", "lstm", 2, (2048, 1024, 1024), 80))
    lstm = made.encoders[0].lstm
    assert shapes(made.encoders[0].dense) == [(2048, 4098), (1024, 2048), (1024, 1024)]
    assert (lstm.input_size, lstm.hidden_size) == (1024, 80)
    assert shapes(made.decoders[0].dense) == [(1024, 80), (1024, 1024), (2048, 1024), (4098, 2048)]


@pytest.mark.parametrize("encoder", ["own", "shared"])
def test_it_starts_as_the_best_linear_autoencoder(encoder):
    torch.manual_seed(0)
    frames = [torch.randn(200, 5) @ torch.randn(5, 9) + torch.randn(9) for _ in range(2)]
    made = Autoencoders(FramesConfig(9, 2, encoder, "none", 1, (8,), 3))
    made.start_at(frames)
    for place, own in enumerate(frames):
        known = own if encoder == "own" else torch.cat(frames)
        _, _, axes = np.linalg.svd((known - known.mean(0)).numpy(), full_matrices=False)
        centred = (own - known.mean(0)).numpy()
        best = centred @ axes[:3].T @ axes[:3] + known.mean(0).numpy()
        got = made(own.T[None], place)[0].T.detach().numpy()
        assert np.allclose(got, best, atol=1e-3)


@pytest.mark.parametrize("memory", ["none", "lstm"])
def test_a_frame_depends_on_its_context_alone(memory):
    made = Autoencoders(FramesConfig(9, 2, "shared", memory, 2, (8, 6), 4))
    torch.nn.init.ones_(made.encoders[0].gain)
    x = torch.randn(1, 9, 12).requires_grad_()
    y = made(x, 1)
    assert y.shape == x.shape
    y[..., 7].sum().backward()
    assert np.flatnonzero(x.grad.abs().sum((0, 1))).tolist() == [5, 6, 7]


@pytest.mark.parametrize(("encoder", "encoders"), [("own", 2), ("shared", 1)])
def test_an_interrupted_training_ends_with_the_same_weights(data, tmp_path, monkeypatch, encoder, encoders):
    p = params(encoder=encoder)
    whole, history = train.fit(data, p, run_of())
    assert len(whole.network.encoders) == encoders and history[-1]["step"] == p.steps
    again, rows = continued(train, "FrameTrainer", data, p, tmp_path, monkeypatch)
    own, other = (model.network.state_dict() for model in (whole, again))
    assert all(torch.equal(own[name], other[name]) for name in own)
    assert rows == history


def test_it_gets_better_than_its_linear_start(data):
    changes = {"widths": [64], "code": 2, "steps": 150, "batch_size": 4, "learning_rate": 1e-2}
    losses = [row["loss/mse"] for row in train.fit(data, params(**changes), run_of())[1]]
    assert losses[-1] < 0.9 * losses[0]


def test_what_it_learns_keeps_the_pitch_and_travels(data, tmp_path):
    p = params(widths=[64], code=16)
    model, _ = train.fit(data, p, run_of())
    catalogue.store("stft_autoencoder", p, model, tmp_path / "stft_autoencoder")
    system = catalogue.load("stft_autoencoder", tmp_path)  # no vocoder is there, and none is needed
    assert isinstance(system, Streams) and not system.slow and system.sources is None
    assert digest(system) == digest(catalogue.load("stft_autoencoder", tmp_path)), "as the bench asks"
    x = melody(3.0)
    made = {to: system.transfer(x, to) for to in system.targets}
    assert all(y.shape == x.shape and np.isfinite(y).all() for y in made.values())
    assert np.abs(made["piano"] - made["guitar"]).max() > 0.01
    heard, sung = (spectrum_of(y, FEATURES, "stft") for y in (x, made["guitar"]))
    loud = heard.max(0) > heard.max() - 20
    lost = np.abs(heard.argmax(0) - sung.argmax(0))[loud] > 1
    assert loud.sum() > 50 and lost.mean() <= 0.12
    with pytest.raises(RetimbreError, match="harp"):
        system.transfer(x, "harp")


def test_sizes_that_cannot_work_are_refused(data):
    with pytest.raises(RetimbreError, match=r"lower stft_autoencoder.crop_frames"):
        train.fit(data, params(crop_frames=500), run_of())
    with pytest.raises(RetimbreError, match=r"stft_autoencoder.code is 600, and a spectrum has 513 bins"):
        train.fit(data, params(code=600), run_of())
    with pytest.raises(ValueError, match=r"context_frames \(16\) must be below crop_frames \(16\)"):
        params(context_frames=16)
