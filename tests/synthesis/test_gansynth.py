"""GANSynth: published shapes, growth without a step, a training that continues, pitches that are learned."""

import math

import numpy as np
import pytest
import torch

from retimbre.errors import RetimbreError
from retimbre.nn.weights import size
from retimbre.synthesis import catalogue
from retimbre.synthesis.base import Drawing, Notes, sample
from retimbre.synthesis.gansynth import train
from retimbre.synthesis.gansynth.network import Critic, Generator, Shape, down, pixel_norm, shown, up
from retimbre.synthesis.gansynth.params import Params
from retimbre.synthesis.gansynth.system import Scale, Synthesiser, tones
from tests.toys.features import run_of
from tests.toys.notes import toy_notes
from tests.toys.tunes import continued

SMALL = {
    "kind": "if", "bins": 32, "padding_behind": 0, "resolutions": 3, "normaliser": "fitted",
    "latent": 4, "even_start": True, "tones": False, "filters": 32, "most_filters": 8, "batch_sizes": [2],
    "stable_steps": [3, 3, 2], "transition_steps": [1, 2],
    "generator_rate": 1e-3, "critic_rate": 1e-3, "ema_decay": 0.5,
    "lambda_gradient_penalty": 10.0, "lambda_drift": 1e-3, "lambda_pitch": 10.0,
}  # fmt: skip
SHAPE = Shape(latent=4, pitches=3, start=(2, 4), resolutions=3, filters=32, most_filters=8)


def params(**changes) -> Params:
    return Params.model_validate(SMALL | changes)


def notes(count: int = 3):
    return toy_notes(count, 500, 4000)


def inputs(n: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    return torch.randn(n, 4, generator=draw), torch.eye(3)[torch.arange(n) % 3]


def published_size(start: tuple[int, int]) -> tuple[int, int]:
    """Parameters of both networks, layer by layer as Karras et al. list them."""
    width, cells = [256, 256, 256, 256, 256, 128, 64, 32], start[0] * start[1]
    generator = (256 + 61) * cells * 256 + 256 + 9 * 256 * 256 + 256
    critic = 9 * 257 * 256 + 256 + cells * 256 * 256 + 256 + (256 + 1) + (256 + 1) * 61
    for coarse, fine in zip(width[1:-1], width[2:], strict=True):
        generator += 9 * coarse * fine + fine + 9 * fine * fine + fine
        critic += 9 * fine * fine + fine + 9 * fine * coarse + coarse
    generator += sum(2 * w + 2 for w in width[1:])
    critic += sum(2 * w + w for w in width[1:])
    return generator, critic


@pytest.mark.parametrize(("bins", "start"), [(512, (4, 8)), (1024, (2, 16))])
def test_published_shapes_and_sizes(bins, start):
    p = params(bins=bins, resolutions=7, latent=256, filters=4096, most_filters=256, normaliser="published")
    long = toy_notes(61, 64000)
    pictures, scale, shape = train.prepare(long, p)
    assert shape.start == start and shape.pitches == 61 and scale.values == Scale.PUBLISHED
    with torch.device("meta"):
        generator, critic = Generator(shape), Critic(shape)
        made = generator(torch.zeros(4, 256), torch.zeros(4, 61), 6.0)
        score, pitch = critic(made, 6.0)
    assert made.shape == (4, 2, pictures.frames, pictures.bins) == (4, 2, 128 * 512 // bins * 2, bins)
    assert score.shape == (4,) and pitch.shape == (4, 61)
    assert (size(generator), size(critic)) == published_size(start)


def test_pictures_fade_in_without_a_step():
    """At share 0 the output is the coarser picture enlarged, at 1 the finer one, and in between a mixture."""
    torch.manual_seed(0)
    generator, z = Generator(SHAPE), inputs()
    before, after = up(generator(*z, 1.0)), generator(*z, 2.0)
    assert torch.allclose(generator(*z, 1 + 1e-6), before, atol=1e-5)
    assert torch.allclose(generator(*z, 2 - 1e-6), after, atol=1e-5)
    assert torch.allclose(generator(*z, 1.25), before + 0.25 * (after - before), atol=1e-6)
    assert (before - after).abs().max() > 0.1


def test_scores_fade_in_without_a_step():
    torch.manual_seed(0)
    critic, fine = Critic(SHAPE), torch.rand(3, 2, 8, 16)
    coarse = down(fine)
    assert coarse.shape == (3, 2, 4, 8) and torch.equal(shown(fine, 2.0), fine)
    for a, b in zip(critic(shown(fine, 1 + 1e-6), 1 + 1e-6), critic(coarse, 1.0), strict=True):
        assert torch.allclose(a, b, atol=1e-4)
    for a, b in zip(critic(fine, 2 - 1e-6), critic(fine, 2.0), strict=True):
        assert torch.allclose(a, b, atol=1e-4)
    mixed = shown(fine, 1.5)
    assert torch.allclose(mixed, (fine + up(coarse)) / 2, atol=1e-6)


def test_steps_go_through_every_resolution():
    p = params()
    passed = [p.progress(step) for step in range(p.steps)]
    assert passed == pytest.approx([0, 0, 0, 0.5, 1, 1, 1, 4 / 3, 5 / 3, 2, 2])
    assert p.steps == 11
    assert params(batch_sizes=[8, 4]).at([8, 4], 2) == 4 and params().at([8, 4], 0) == 8
    with pytest.raises(ValueError, match="power of two"):
        params(bins=48)
    with pytest.raises(RetimbreError, match="too many for 32 bins"):
        train.prepare(notes(), params(resolutions=7))


def test_parts_are_as_published():
    torch.manual_seed(0)
    x = torch.randn(2, 5, 3, 3)
    assert pixel_norm(x).square().mean(1).numpy() == pytest.approx(1, abs=1e-5)
    # Scaled weights keep the variance: outputs of the first layer are near 1 whatever the size.
    wide = Generator(Shape(200, 56, (1, 1), 1, 512, 256))
    z = pixel_norm(torch.randn(64, 256))[:, :, None, None]
    assert wide.first[0](z).var().item() == pytest.approx(2, rel=0.2)
    # The last block is told the spread of the batch: equal pictures have the least there is.
    critic, seen = Critic(SHAPE), []
    critic.first[0].register_forward_pre_hook(lambda _, given: seen.append(given[0][:, -1]))
    one = torch.rand(1, 2, 8, 16)
    critic(one.expand(3, -1, -1, -1), 2.0)
    critic(torch.cat([one, -one, 0 * one]), 2.0)
    assert (seen[0] == seen[0].flatten()[0]).all() and seen[0].max().item() == pytest.approx(1e-3, rel=1e-3)
    assert seen[1].min() > 10 * seen[0].max()


def test_scales_undo_themselves_and_cut():
    pictures = torch.stack([torch.linspace(-13, 5, 10), torch.linspace(-1, 1, 10)])[None, :, None]
    fitted = Scale.fitted(-13.0, 5.0)
    assert fitted.down(pictures)[0, 0].aminmax() == pytest.approx((-0.8, 0.8), abs=1e-6)
    assert torch.allclose(fitted.up(fitted.down(pictures)), pictures, atol=1e-5)
    published = Scale().down(pictures)
    assert published[0, 0, 0, 0] == pytest.approx(-13 * 0.0661 + 0.1137, abs=1e-3)
    assert Scale().down(100 * pictures).abs().max() == 1


def test_penalty_is_on_the_slope_per_pixel_of_the_last_resolution():
    """A critic that adds up a picture's pixels has the slope of the full picture, at every resolution."""
    torch.manual_seed(0)
    p = params(lambda_drift=0.0, lambda_pitch=0.0, stable_steps=[1], transition_steps=[1])
    made = train.GanSynthTrainer(Generator(SHAPE), Critic(SHAPE), p, run_of().fabric)

    class Sum(torch.nn.Module):
        def forward(self, x, progress, pitches):
            whole = x
            for _ in range(2 - math.ceil(progress)):
                whole = up(whole)
            return whole.flatten(1).sum(1), torch.zeros(len(x), 3)

    made.critic = Sum()
    made.descend = lambda *_: None
    pitch, share = torch.tensor([0, 1]), torch.rand(2)
    expected = (math.sqrt(2 * 8 * 16) - 1) ** 2  # of a sum over 8 x 16 pixels of two channels
    for progress, cells in ((0.0, (2, 4)), (2.0, (8, 16))):
        real, fake = torch.rand(2, 2, 2, *cells)
        batch = train.Batch(real, pitch, torch.randn(2, 4), pitch, share)
        losses = made._critic_step(batch, fake, progress)
        assert losses["loss/gradient_penalty"].item() == pytest.approx(expected, rel=1e-4)


def with_tones(**changes) -> tuple[Params, Generator, Critic, Synthesiser]:
    """Untrained networks that see tones of twelve pitches, and the generator as a synthesiser."""
    p, own = params(tones=True, bins=256, **changes), toy_notes(12, 4096, 8000)
    pictures, scale, shape = train.prepare(own, p)
    pitches = own.pitch.tolist()
    torch.manual_seed(0)
    seen = tones(pictures, scale, pitches)
    generator, critic = Generator(shape, seen), Critic(shape, seen)
    return p, generator, critic, Synthesiser(generator, pictures, scale, pitches)


def test_with_tones_a_generator_begins_at_the_pitch_it_is_asked_for():
    *_, synthesiser = with_tones()
    asked = [60, 64, 67, 71]
    spectra = np.abs(np.fft.rfft(sample(synthesiser, 4, asked, seed=2) * np.hanning(4096)))
    peaks = 69 + 12 * np.log2(spectra.argmax(1) * 8000 / 4096 / 440)
    assert peaks.round().tolist() == asked


def test_with_tones_a_critic_hears_a_wrong_pitch_and_pictures_still_fade():
    _, generator, critic, _ = with_tones()
    z, right = torch.randn(3, 4), torch.eye(12)[[0, 4, 7]]
    before, after = up(generator(z, right, 1.0)), generator(z, right, 2.0)
    assert torch.allclose(generator(z, right, 1.25), before + 0.25 * (after - before), atol=1e-6)
    wrong = right.roll(1, 0)
    assert (critic(after, 2.0, right)[0] - critic(after, 2.0, wrong)[0]).abs().min() > 1e-4
    for a, b in zip(critic(after, 2 - 1e-6, right), critic(after, 2.0, right), strict=True):
        assert torch.allclose(a, b, atol=1e-4)
    # The pitch comes by the tone alone: the first layer is as wide as the latent.
    assert generator.first[0].weight.shape[1] == 4


def test_with_tones_notes_and_recordings_of_a_batch_have_the_same_pitches_and_weights_are_enough(tmp_path):
    p, *_, synthesiser = with_tones()
    own = toy_notes(12, 4096, 8000)
    batch = train.batches(own, synthesiser.pictures, synthesiser.scale, p, 0)(9)
    assert torch.equal(batch.pitch, batch.real_pitch)
    catalogue.store("gansynth", synthesiser, tmp_path / "gansynth")
    again, z = catalogue.load("gansynth", tmp_path), synthesiser.latents(2, 0)
    assert np.array_equal(again.decode(z, [60, 65]), synthesiser.decode(z, [60, 65]))
    assert (tmp_path / "gansynth/generator.safetensors").stat().st_size < 2 * 4 * size(synthesiser.network)


@pytest.mark.parametrize("seen", [False, True])
def test_an_interrupted_training_ends_with_the_same_weights(seen, tmp_path, monkeypatch):
    """Broken off at step 7, where the last resolution begins to fade in; continued from step 5."""
    p = params(tones=seen, decay_from=0.4 if seen else 1.0)
    assert (p.progress(6), p.progress(7)) == (1.0, pytest.approx(4 / 3))
    whole, history = train.fit(notes(), p, run_of())
    again, rows = continued(train, "GanSynthTrainer", notes(), p, tmp_path, monkeypatch)
    own, other = (made.network.state_dict() for made in (whole, again))
    assert all(torch.equal(own[name], other[name]) for name in own)
    assert rows == history
    assert {"loss/critic", "loss/pitch_fake", "pitch/fake_accuracy"} <= history[-1].keys()


def test_it_learns_two_notes_and_which_is_which(tmp_path):
    """Two notes an octave apart: whatever the latent, a sound is nearer to the note that was asked for."""
    both = toy_notes(13, 250, 4000)
    audio = both.audio[[0, 12]] / np.abs(both.audio[[0, 12]]).max(1, keepdims=True)
    two = Notes(
        audio, both.pitch[[0, 12]], both.velocity[[0, 12]], both.instrument[[0, 12]], ("a", "b"), 4000
    )
    p = params(
        resolutions=2, batch_sizes=[8], stable_steps=[10, 90], transition_steps=[10], generator_rate=4e-3,
        critic_rate=4e-3, ema_decay=0.9, filters=64, most_filters=16,
    )  # fmt: skip
    made, history = train.fit(two, p, run_of())
    assert isinstance(made, Synthesiser) and made.pitches == (60, 72)
    assert history[-1]["pitch/fake_accuracy"] > 0.9
    low, high = (sample(made, 8, [pitch] * 8, seed=1) for pitch in made.pitches)
    assert low.shape == (8, 250) and np.abs(low).max() <= 1
    low, high, true = (
        made.pictures.encode(torch.from_numpy(x))[:, 0].mean(1).numpy() for x in (low, high, two.audio)
    )
    alike = [np.corrcoef(sounds, true)[:8, 8:] for sounds in (low, high)]
    lower = [to[:, 0] - to[:, 1] for to in alike]
    assert (lower[0] > lower[1]).mean() >= 0.75 and lower[0].mean() > lower[1].mean() + 0.1

    catalogue.store("gansynth", made, tmp_path / "gansynth")
    again, z = catalogue.load("gansynth", tmp_path), made.latents(3, 5)
    assert np.array_equal(again.decode(z, [60, 72, 60]), made.decode(z, [60, 72, 60]))
    assert again.parameters == size(made.network)
    assert torch.equal(made.latents(2, 5), made.latents(3, 5)[:2])
    with pytest.raises(RetimbreError, match="61"):
        made.decode(made.latents(1, 0), [61])
    with pytest.raises(RetimbreError, match="pitch"):
        made.decode(made.latents(1, 0))
    with pytest.raises(RetimbreError, match="no trained gansynth"):
        catalogue.load("gansynth", tmp_path / "none")


def test_pictures_begin_even_and_a_step_moves_a_large_kernel_as_far_as_a_small_one():
    unevenness = {}
    for even in (False, True):
        torch.manual_seed(0)
        generator = Generator(Shape(8, 69, (16, 64), 1, 64, 16, even_start=even))
        picture = generator(torch.randn(6, 8), torch.eye(69)[:6], 0.0)
        unevenness[even] = float((picture - picture.mean((2, 3), keepdim=True)).abs().mean().detach())
    assert unevenness[True] < unevenness[False] / 2
    small, large = (Generator(Shape(4, 3, start, 1, 32, 8, True)) for start in [(2, 4), (16, 64)])
    assert small.first[0].scale == large.first[0].scale


@pytest.mark.parametrize("kind", ["if_mel", "phase"])
def test_other_pictures_train_too(kind):
    made, history = train.fit(notes(), params(kind=kind, normaliser="published"), run_of())
    z, pitches = made.latents(2, 0), [made.pitches[0]] * 2
    drawn, heard = made.drawn(z, pitches), made.analysed(made.decode(z, pitches))
    assert isinstance(made, Drawing) and drawn.shape == heard.shape
    assert np.isfinite(sample(made, 2, seed=0)).all() and np.isfinite(list(history[-1].values())).all()
