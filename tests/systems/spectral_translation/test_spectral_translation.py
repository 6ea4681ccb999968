"""Spectral translation: both players, what E hears, an interruption, the published networks."""

from dataclasses import replace

import librosa
import numpy as np
import pytest
import torch

from retimbre.audio.companding import mu_law_encode
from retimbre.errors import RetimbreError
from retimbre.provenance import digest
from retimbre.systems import catalogue
from retimbre.systems.base import Streams
from retimbre.systems.spectral_translation import train
from retimbre.systems.spectral_translation.hearing import BINS, LOWEST_HZ, PER_OCTAVE, Hearing
from retimbre.systems.spectral_translation.network import Critic, Translator
from retimbre.systems.spectral_translation.params import Params
from retimbre.training.devices import make_fabric
from tests.toys.features import run_of
from tests.toys.models import FEATURES, melody
from tests.toys.project import smoke, under
from tests.toys.tunes import DOMAINS, continued, write_tunes


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_tunes(tmp_path_factory.mktemp("tunes"))


def params(**changes) -> Params:
    return Params.model_validate(smoke()["spectral_translation"] | changes)


def parts(data, p: Params) -> tuple[train.Trainer, torch.Tensor, torch.Tensor]:
    """A trainer, samples and spectra of one batch."""
    torch.manual_seed(0)
    hearing = Hearing(p.hears, data.features.config, data.features.statistics["cqt"]["top_db"])
    network = Translator(train.sizes(data, p, hearing))
    critic = Critic(p.critic, hearing.bins, p.critic_channels, len(DOMAINS))
    trainer = train.Trainer(network, DOMAINS, p, make_fabric("cpu"), critic, p.critic_learning_rate)
    batch = train.Crops(data, "train", p, network, hearing, 0, p.batch_size).batch(0)
    return trainer, *batch


def test_it_is_trained_and_used_by_its_name(data, tmp_path, monkeypatch):
    whole, history = train.fit(data, params(), run_of())
    again, rows = continued(train, "Trainer", data, params(), tmp_path, monkeypatch)
    own, other = (model.network.state_dict() for model in (whole, again))
    assert all(torch.equal(own[name], other[name]) for name in own)
    assert rows == history
    names = {"nll_bits", "classifier_nll", "classifier_accuracy"}
    assert {f"spectral_translation/{name}" for name in names} <= history[-1].keys()
    catalogue.store("spectral_translation", params(), whole, tmp_path / "spectral_translation")
    system = catalogue.load("spectral_translation", tmp_path)
    assert isinstance(system, Streams) and system.slow and system.sources is None
    assert digest(system) == digest(catalogue.load("spectral_translation", tmp_path)), "as the bench asks"
    x = melody(0.4)[:-7]
    made = {to: system.transfer(x, to, seed=1) for to in DOMAINS}
    assert all(y.shape == x.shape and y.dtype == np.float32 and y.std() > 0 for y in made.values())
    assert not np.array_equal(made["piano"], made["guitar"]), "a decoder for each"
    np.testing.assert_array_equal(made["piano"], whole.transfer(x, "piano", seed=1))
    with pytest.raises(RetimbreError, match="harp"):
        system.transfer(x, "harp")


def test_what_the_generator_adds_is_bounded(data):
    trainer, _, spectra = parts(data, params(change_limit=0.5))
    encoder, heard = trainer.network.encoder, spectra.flatten(0, 1)
    torch.nn.init.normal_(encoder.generator.body.out.weight, 0.0, 100.0)
    with torch.no_grad():
        added = (encoder(heard).transpose(1, 2) - heard).abs().max()
    assert 0.4 < added < 0.501


def test_the_code_of_a_chunk_is_that_of_the_whole(data):
    p = params()
    trainer, _, _ = parts(data, p)
    config = train.base_config(data.audio, data.features, "cqt")
    known = {"sample_rate": FEATURES.sample_rate, "hears": "cqt"}
    system = train.System("spectral_translation", trainer.network, config | known)
    x, (context, grid) = melody(4.0), system.chunking("piano")
    assert grid == FEATURES.hop_length
    whole, start = system.encode(x), 100
    part = system.encode(x[start * grid :])
    skipped = -(-context // grid)
    assert len(part) > 2 * skipped
    np.testing.assert_allclose(part[skipped:-skipped], whole[start + skipped : -skipped], atol=1e-3)


def test_one_batch_is_learnt_and_its_code_is_heard(data):
    trainer, samples, spectra = parts(
        data, params(batch_size=1, played_frames=16, critic="patch", steps=1000)
    )
    bits = [
        trainer.step(samples, spectra, spectra, samples, 50)["spectral_translation/nll_bits"].item()
        for _ in range(50)
    ]
    assert bits[-1] < bits[0] - 0.5
    code = trainer.encoded(spectra)
    own, other = (trainer.reconstruction(samples, x, samples, DOMAINS).item() for x in (code, -code))
    assert other > own + 0.01


def test_the_critic_learns_the_instrument_and_the_generator_hides_it(data):
    """Each player's step alone: the critic's lowers its error on codes, the generator's raises it."""
    trainer, _, spectra = parts(
        data, params(batch_size=4, critic_channels=32, critic_learning_rate=1e-2, steps=1000)
    )

    def error() -> torch.Tensor:
        return trainer.confusion(trainer.encoded(spectra))[0]

    start, encoder = error().item(), [w.clone() for w in trainer.network.encoder.parameters()]
    for _ in range(30):
        trainer.classify(spectra)
    learnt = error().item()
    assert learnt < 0.9 * start
    assert all(torch.equal(a, b) for a, b in zip(encoder, trainer.network.encoder.parameters(), strict=True))
    critic = [w.clone() for w in trainer.classifier.parameters()]
    for step in range(20):
        trainer.descend(-error(), 100 + step)  # what generator and decoders add to their own loss
    assert error() > learnt
    assert all(torch.equal(a, b) for a, b in zip(critic, trainer.classifier.parameters(), strict=True))


def test_samples_are_those_of_the_frames_that_are_played(data):
    p = params(sample_rate=16000, crop_frames=24, played_frames=8)
    trainer, samples, spectra = parts(data, p)
    assert samples.shape == (p.batch_size, 2, 8 * 256) and spectra.shape[2:] == (84, 25)
    assert trainer.encoded(spectra).shape == (p.batch_size, 2, 8, 84)
    place = data.features.domains.index("guitar")
    crops = train.AudioFeatureCrops(
        data.audio, data.features, [], ["guitar"], "train", 24, p.batch_size, 0, train.STREAM + place
    )
    audio = crops.batch(0)["audio"].numpy()
    np.testing.assert_array_equal(samples[:, place], mu_law_encode(audio[:, 8 * 256 : 16 * 256]))


def test_the_companded_signal_is_heard_as_published():
    features = replace(FEATURES, hop_length=512)
    hearing, x = Hearing("companded", features, 0.0), melody(1.0)
    ours = hearing.spectrum(x).numpy()
    signal = librosa.mu_compress(x, mu=255, quantize=False)
    magnitude = np.abs(
        librosa.cqt(signal, sr=16000, hop_length=512, fmin=LOWEST_HZ, n_bins=BINS, bins_per_octave=PER_OCTAVE)
    )
    level = np.log(magnitude + 1)
    theirs = 2 * (level - level.min()) / (level.max() - level.min()) - 1
    assert ours.shape == theirs.shape == (880, 32) and ours.min() == -1 and ours.max() == pytest.approx(1)
    assert np.abs(ours - theirs).mean() < 0.01 and hearing.longest_window_s > 5


def test_it_trains_on_the_companded_signal(data):
    p = params(hears="companded", steps=2, generator="resnet2d", generator_channels=2, critic="spectrogram")
    system, _ = train.fit(data, p, run_of())
    assert system.encode(melody(0.3)).shape == (int(0.3 * 16000) // 256 + 1, 880)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"sample_rate": 7000},
            "spectral_translation.sample_rate is 7000 Hz: it must divide audio.sample_rate",
        ),
        ({"sample_rate": 125}, "features.hop_length .256. must be a multiple of 4 samples at it"),
    ],
)
def test_what_cannot_be_trained_is_refused(data, changes, sentence):
    with pytest.raises(RetimbreError, match=sentence):
        train.fit(data, params(**changes), run_of())


def test_what_cannot_be_heard_is_refused():
    with pytest.raises(RetimbreError, match="hears is companded, which needs .* not 8000 and 64"):
        Hearing("companded", replace(FEATURES, sample_rate=8000, hop_length=64), 0.0)
    with pytest.raises(ValueError, match=r"played_frames \(48\) must not be above crop_frames \(24\)"):
        params(played_frames=48)


def test_the_profile_has_the_published_sizes(data):
    p = Params.model_validate(under("spectral_translation")["spectral_translation"])
    hearing = Hearing(p.hears, replace(FEATURES, hop_length=512), 0.0)
    with torch.device("meta"):
        network = Translator(train.sizes(data, p, hearing))
    decoder = network.config.decoder()
    assert decoder.dilations == 2 * tuple(2**n for n in range(15)) and decoder.conditioning_channels == 880
    assert (decoder.residual_channels, decoder.skip_channels, decoder.hop_length) == (128, 256, 512)
    assert p.crop_frames * decoder.hop_length == 8 * 16384
