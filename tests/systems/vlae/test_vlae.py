"""The variational lossy autoencoder: a decoder that cannot do without its codes, and what is refused."""

import numpy as np
import pytest
import torch

from retimbre.errors import RetimbreError
from retimbre.provenance import digest
from retimbre.systems import catalogue
from retimbre.systems.vlae import train
from retimbre.systems.vlae.params import Params
from tests.toys.features import run_of
from tests.toys.models import melody
from tests.toys.project import smoke
from tests.toys.tunes import continued, write_tunes


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_tunes(tmp_path_factory.mktemp("tunes"))


def params(**changes) -> Params:
    return Params.model_validate(smoke()["vlae"] | changes)


def test_an_interrupted_training_ends_with_the_same_weights(data, tmp_path, monkeypatch):
    whole, history = train.fit(data, params(), run_of())
    again, rows = continued(train, "VlaeTrainer", data, params(), tmp_path, monkeypatch)
    own, other = (model.network.state_dict() for model in (whole, again))
    assert all(torch.equal(own[name], other[name]) for name in own)
    assert rows == history
    names = {"loss/nll", "loss/kl", "code/kl_bits", "code/bits_per_sample", "code/shuffled_cost_bits"}
    assert names <= history[-1].keys()


def test_codes_say_something_and_are_sung(data, tmp_path):
    p = params(steps=100, batch_size=4, noise_share=0.5, encoder_channels=16, learning_rate=1e-2)
    system, history = train.fit(data, p, run_of())
    assert history[-1]["loss/nll"] < history[0]["loss/nll"]
    # Measured with four seeds: 0.85 to 2.2, and 0.02 to 0.09.
    assert history[-1]["code/kl_bits"] > 0.5
    assert history[-1]["code/shuffled_cost_bits"] > 0.01
    catalogue.store("vlae", p, system, tmp_path / "vlae")
    loaded = catalogue.load("vlae", tmp_path)
    assert loaded.slow and loaded.sources is None and loaded.sample_rate == 16000
    assert digest(loaded) == digest(catalogue.load("vlae", tmp_path)), "as the bench asks"
    x = melody(0.3)[:-7]
    y = loaded.transfer(x, "guitar", seed=1)
    assert y.shape == x.shape and y.dtype == np.float32 and np.isfinite(y).all() and y.std() > 0
    assert np.array_equal(y, system.transfer(x, "guitar", seed=1))
    assert not np.array_equal(y, loaded.transfer(x, "guitar", seed=2))
    assert not np.array_equal(y, loaded.transfer(x, "piano", seed=1)), "the instrument is heard"
    code = loaded.encode(x)
    assert np.array_equal(y, loaded.decode(code, len(x), "guitar", seed=1))
    assert code.shape == (4, (len(x) // 256) // 4 + 1)
    with pytest.raises(RetimbreError, match="harp"):
        loaded.transfer(x, "harp")


def test_the_past_is_told_with_noise_and_the_same_in_every_run(data):
    p = params(noise_share=0.5, batch_size=64, crop_frames=16)
    crops = train.Crops(data, p, 3, 0.0)
    codes = np.full((64, 500), 100)
    told = crops.told(codes, 5)
    assert np.array_equal(told, crops.told(codes, 5)) and not np.array_equal(told, crops.told(codes, 6))
    spread = told.std(1)
    assert 20 < (spread == 0).sum() < 44 and spread.max() < 2 * p.noise_codes and told.max() < 256
    assert np.abs(told.mean() - 100) < 2


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"layers": 9}, "sees 512 samples of its past, and a code stands for 512: use fewer layers"),
        ({"sample_rate": 7000}, "vlae.sample_rate is 7000 Hz, no divisor of audio.sample_rate .16000 Hz."),
        ({"sample_rate": 125, "code_frames": 1}, "would stand for 2 samples, and a multiple of 4 is needed"),
    ],
)
def test_what_cannot_be_trained_is_refused(data, changes, sentence):
    with pytest.raises(RetimbreError, match=sentence):
        train.fit(data, params(**changes), run_of())
