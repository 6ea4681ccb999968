"""WaveGAN, SpecGAN and TiFGAN: their sizes, their one training, and what they keep."""

from importlib import import_module
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.stats import truncnorm

from retimbre.errors import RetimbreError
from retimbre.nn.weights import size
from retimbre.synthesis.adversarial import WassersteinTrainer, batches, normal
from retimbre.synthesis.base import Drawing, sample
from retimbre.synthesis.dcgan import Critic, Generator
from retimbre.synthesis.tifgan.train import audible
from tests.toys.features import run_of
from tests.toys.notes import toy_notes
from tests.toys.tunes import continued

SYSTEMS = {"wavegan": {"post_filter": 0}, "specgan": {}, "tifgan": {"variant": "m"}}
SHARED = {
    "channels": 2,
    "latent": 4,
    "steps": 10,
    "batch_size": 2,
    "critic_steps": 1,
    "lambda_gradient_penalty": 10.0,
    "learning_rate": 1e-3,
    "adam_beta1": 0.5,
    "adam_beta2": 0.9,
    "ema_decay": 0.5,
    "phase_shuffle": 1,
    "phase_shuffle_per_example": False,
    "upsampling": "transposed",
    "initial": "he",
}


def params(name: str, **changes):
    kind = import_module(f"retimbre.synthesis.{name}.params").Params
    return kind.model_validate(SHARED | SYSTEMS[name] | changes)


def fit(name: str, notes=None, **changes):
    train = import_module(f"retimbre.synthesis.{name}.train")
    return train.fit(notes or toy_notes(), params(name, **changes), run_of())


def networks(name: str, samples: int, **changes) -> tuple[Generator, Critic]:
    p, package = params(name, **changes), f"retimbre.synthesis.{name}"
    shape = import_module(f"{package}.network").config(samples, p)
    return import_module(f"{package}.system").Synthesiser.build(shape.to_dict()), Critic(shape)


@pytest.mark.parametrize(
    ("name", "changes", "generator", "critic", "example"),
    [
        ("wavegan", {}, 19_065_345, 17_427_969, (1, 16384)),
        ("wavegan", {"upsampling": "nearest"}, 19_065_345, 17_427_969, (1, 16384)),
        ("wavegan", {"post_filter": 512}, 19_065_345 + 512, 17_427_969, (1, 16384)),
        ("specgan", {}, 19_065_345, 17_427_969, (1, 128, 128)),
        ("specgan", {"upsampling": "nearest"}, 19_065_345, 17_427_969, (1, 128, 128)),
        ("tifgan", {}, 17_288_385, 25_104_577, (1, 256, 128)),
        ("tifgan", {"variant": "mtf"}, 17_292_995, 25_109_185, (3, 256, 128)),
    ],
)
def test_published_sizes(name, changes, generator, critic, example):
    with torch.device("meta"):
        made = networks(name, 16384, channels=64, latent=100, **changes)
        x = made[0](torch.zeros(2, 100))
        assert x.shape == (2, *example) and made[1](x).shape == (2,)
    assert [size(network) for network in made] == [generator, critic]


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_quarter_of_the_published_channels_trains(name):
    made, history = fit(
        name, toy_notes(2, 16384), channels=16, latent=100, steps=2, critic_steps=1, learning_rate=1e-4
    )
    assert made.samples == 16384 and len(history) == 1
    assert 0 < history[0]["loss/gradient_penalty"] < 2


@pytest.mark.parametrize("name", SYSTEMS)
def test_an_interrupted_training_ends_with_the_same_weights(name, tmp_path, monkeypatch):
    train = import_module(f"retimbre.synthesis.{name}.train")
    whole, history = fit(name)
    stepped = SimpleNamespace(fit=train.fit, WassersteinTrainer=WassersteinTrainer)
    again, rows = continued(stepped, "WassersteinTrainer", toy_notes(), params(name), tmp_path, monkeypatch)
    own, other = (made.network.state_dict() for made in (whole, again))
    assert all(torch.equal(own[key], other[key]) for key in own)
    assert rows == history
    assert {"loss/critic", "loss/gradient_penalty", "loss/generator"} <= history[-1].keys()


@pytest.mark.parametrize(("name", "changes"), [*((n, {}) for n in SYSTEMS), ("tifgan", {"variant": "mtf"})])
def test_notes_are_the_seeds_own_and_outlive_the_disk(name, changes, tmp_path):
    made, _ = fit(name, steps=1, **changes)
    notes = sample(made, 3, seed=5)
    assert notes.shape == (3, 4096) and np.isfinite(notes).all() and 0 < np.abs(notes).max() <= 1
    assert np.array_equal(notes[:2], sample(made, 2, seed=5))
    assert not np.array_equal(notes, sample(made, 3, seed=6))
    made.save(tmp_path / name)
    loaded = type(made).load(tmp_path / name)
    assert np.array_equal(notes, sample(loaded, 3, seed=5))
    assert isinstance(made, Drawing) == (name != "wavegan")
    if isinstance(made, Drawing):
        drawn = made.drawn(made.latents(3, 5))
        assert drawn.shape == made.analysed(notes).shape and (drawn >= 0).all()
    assert (loaded.sample_rate, loaded.samples, loaded.pitches) == (16000, 4096, ())
    assert loaded.parameters == size(made.network) > 1000
    with pytest.raises(RetimbreError, match="gansynth"):
        loaded.decode(loaded.latents(1, 0), [60])


@pytest.mark.parametrize("name", SYSTEMS)
def test_notes_of_another_length_are_refused(name):
    with pytest.raises(RetimbreError, match="4000 samples"):
        fit(name, toy_notes(2, 4000))


def test_a_phase_shuffle_that_leaves_nothing_of_a_layer_is_refused():
    with pytest.raises(RetimbreError, match="phase_shuffle is 2: .* 1 at most"):
        fit("specgan", phase_shuffle=2)


def test_silent_notes_are_left_out():
    notes = toy_notes(3)
    notes.audio[1] = 0
    kept = audible(notes)
    assert (
        len(kept) == 2 and kept.pitch.tolist() == [60, 62] and np.array_equal(kept.audio[1], notes.audio[2])
    )
    notes.audio[:] = 0
    with pytest.raises(RetimbreError, match="silent"):
        fit("tifgan", notes)


def test_latents_are_drawn_from_their_priors():
    made, _ = fit("wavegan", steps=1)
    flat = made.latents(20000, 0).numpy()
    assert flat.min() == pytest.approx(-1, abs=0.01) and flat.var() == pytest.approx(1 / 3, abs=0.01)
    made, _ = fit("tifgan", steps=1)
    tall = made.latents(20000, 0).numpy()
    assert np.abs(tall).max() <= 2.5
    assert tall.var() == pytest.approx(truncnorm(-2.5, 2.5).var(), abs=0.01)


@pytest.mark.parametrize("per_example", [False, True])
def test_a_batch_depends_on_its_number_alone(per_example):
    p = params(
        "wavegan", critic_steps=3, batch_size=4, phase_shuffle=2, phase_shuffle_per_example=per_example
    )
    notes = toy_notes()
    draw, again = (batches(notes, 4, normal, p, 3) for _ in range(2))
    first, second = draw(7), draw(8)
    assert all(torch.equal(x, y) for x, y in zip(vars(first).values(), vars(again(7)).values(), strict=True))
    assert not torch.equal(first.latents, second.latents) and not torch.equal(first.shifts, second.shifts)
    examples = (4,) if per_example else ()
    assert first.shifts.shape == (3, 3, 4, *examples) and first.own_shifts.shape == (4, *examples)
    assert first.real.shape == (3, 4, 4096) and first.latents.shape == (4, 4, 4)
    assert {*first.shifts.unique().tolist(), *second.shifts.unique().tolist()} == {-2, -1, 0, 1, 2}
    assert all((note == notes.audio).all(1).any() for note in first.real.flatten(0, 1).numpy())
