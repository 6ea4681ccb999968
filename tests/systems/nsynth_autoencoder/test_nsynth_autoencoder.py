"""NSynth's autoencoder and its spectral baseline: training, use, morphing, published shapes."""

import numpy as np
import pytest
import torch

from retimbre.errors import RetimbreError
from retimbre.systems import catalogue
from retimbre.systems.base import Streams
from retimbre.systems.nsynth_autoencoder import train
from retimbre.systems.nsynth_autoencoder.network import (
    WINDOW,
    SpectralAutoencoder,
    log_magnitude,
    magnitude,
    weights,
)
from retimbre.systems.nsynth_autoencoder.params import Params
from retimbre.systems.nsynth_autoencoder.system import Baseline
from tests.toys.features import run_of
from tests.toys.project import under
from tests.toys.samples import params_of, tune, write_audio

TWO = ("reed", "bell")


@pytest.fixture(scope="module")
def system(tmp_path_factory):
    models, p = tmp_path_factory.mktemp("models"), params_of(Params, ema_decay=0.9)
    model, history = train.fit(write_audio(tmp_path_factory.mktemp("audio"), *TWO), p, run_of())
    assert {"nsynth_autoencoder/nll_bits", "validation/nll_bits", "validation/gap_bits"} <= set(history[-1])
    catalogue.store("nsynth_autoencoder", p, model, models / "nsynth_autoencoder")
    return catalogue.load("nsynth_autoencoder", models)


def test_it_is_used_by_its_name_and_plays_what_it_is_told(system):
    assert isinstance(system, Streams) and system.targets == list(TWO)
    x = tune("horn", 9)
    reed, bell = (system.transfer(x, to, seed=2) for to in TWO)
    assert reed.shape == x.shape and not np.array_equal(reed, bell)


def test_a_morph_goes_from_one_recording_to_the_other(system, monkeypatch):
    a, b = tune("reed", 1), tune("bell", 2)[:-500]
    ends = {share: system.morph(a, b, "reed", share) for share in (0, 1)}
    np.testing.assert_array_equal(ends[0], system.transfer(a[: len(b)], "reed"))
    np.testing.assert_array_equal(ends[1], system.transfer(b, "reed"))
    heard = []
    with monkeypatch.context() as patched:
        patched.setattr(system, "decode", lambda code, *rest: heard.append(code))
        system.morph(a, b, "reed")
    first, second = system.encode(a[: len(b)]), system.encode(b)
    np.testing.assert_allclose(heard[0][[0, -1]], [first[0], second[-1]])
    with pytest.raises(RetimbreError, match="share is 1.5, and a number from 0 to 1 is needed"):
        system.morph(a, b, "reed", 1.5)


def test_the_profile_has_the_published_sizes():
    """But for what tells two instruments: two numbers for each of the decoder's conditioning layers."""
    p = Params.model_validate(under("nsynth")["nsynth_autoencoder"])
    with torch.device("meta"):
        network = train.Autoencoder(p.network(list(TWO), one_decoder=True, relu_first=True))
    assert sum(w.numel() for w in network.encoder.parameters()) == 1_976_336
    told = 2 * (30 * 1024 + 256)
    assert sum(w.numel() for w in network.decoders.parameters()) == 59_827_712 + told
    assert network.config.decoder().receptive_field() == network.encoder.receptive_field == 6_141
    assert p.crop_codes * p.pool == 6_144


def test_the_baseline_has_the_published_shapes():
    sizes = under("nsynth")["nsynth_autoencoder"]["spectral"]
    with torch.device("meta"):
        network = SpectralAutoencoder(sizes["channels"], sizes["latent"], sizes["instrument"], 128)
        z = torch.zeros(2, 512, 256)
        code = network.encode(z)
        assert network.down(z[:, None]).shape == (2, 1024, 1, 1)
        assert code.shape == (2, 1984)
        assert network.decode(code, torch.zeros(2, dtype=torch.long)).shape == z.shape
    rising = [128] * 3 + [256] * 3 + [512] * 3 + [1024]
    assert [block[1].out_channels for block in network.down] == rising
    falling = [1024] + [512] * 2 + [256] * 3 + [128] * 4
    assert [block[0].out_channels for block in network.up] == falling


def test_its_spectrogram_and_weights_are_the_published_ones():
    t = torch.arange(WINDOW) / 16000
    sine = torch.sin(2 * torch.pi * 1000 * t)[None]
    z = log_magnitude(sine)
    assert z.shape == (1, 512, 256)
    assert abs(z[0, 64, 100].item() - 1) < 1e-3 and z.min() >= 0, "full scale is 1"
    whole = magnitude(z)
    assert whole.shape == (1, 513, 256) and abs(whole[0, 64, 100].item() - 256) < 1
    w = weights(16000)[:, 0]
    assert w[0] == 10 and torch.isclose(w[128], torch.tensor(5.5)) and (w[256:] == 1).all()


def test_the_baseline_learns_and_comes_back(tmp_path):
    spectral = {
        "channels": 2,
        "latent": 16,
        "instrument": 2,
        "steps": 25,
        "batch_size": 2,
        "learning_rate": 1e-2,
        "griffin_lim_iterations": 1,
    }
    p = params_of(Params, model="spectral", spectral=spectral)
    data = write_audio(tmp_path / "audio", *TWO, repeats=9)
    model, history = train.fit(data, p, run_of())
    losses = [row["nsynth_autoencoder/spectral_mse"] for row in history]
    assert losses[-1] < 0.7 * losses[0]
    catalogue.store("nsynth_autoencoder", p, model, tmp_path / "models/nsynth_autoencoder")
    loaded = catalogue.load("nsynth_autoencoder", tmp_path / "models")
    assert isinstance(loaded, Baseline)
    for x in (np.tile(tune("reed", 1), 9), tune("reed", 1)[:3000]):
        y = loaded.transfer(x, "bell")
        assert y.shape == x.shape and np.isfinite(y).all()
        np.testing.assert_array_equal(y, model.transfer(x, "bell"))


def test_windows_that_overlap_change_nothing_by_themselves():
    network = SpectralAutoencoder(1, 2, 1, 2)
    config = {"sample_rate": 8000, "rms": 0.1, "domains": ["a", "b"], "griffin_lim_iterations": 0}
    x = np.random.default_rng(0).normal(0, 0.1, 3 * WINDOW // 2 + 777).astype(np.float32)
    z = Baseline("n", network, config).windowed(x, lambda z: z)
    own = log_magnitude(torch.from_numpy(x)[None])[0]
    assert torch.allclose(z[:, : own.shape[1] - 2], own[:, :-2], atol=1e-6)
