"""Training of GANSynth: Wasserstein distance with gradient penalty, and the pitch that the critic hears.

What is random in a step is drawn from ``np.random.default_rng([seed, stream, step])``.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from retimbre.errors import RetimbreError
from retimbre.synthesis.base import Notes
from retimbre.synthesis.gansynth.network import Critic, Generator, Shape, down, shown
from retimbre.synthesis.gansynth.params import Params
from retimbre.synthesis.gansynth.system import Scale, Synthesiser, tones
from retimbre.synthesis.instantaneous_frequency import Pictures
from retimbre.synthesis.opponents import Opponents
from retimbre.training import fit as loop
from retimbre.training.gan import (
    interpolated,
    slope_penalty,
    wasserstein_discriminator,
    wasserstein_generator,
)
from retimbre.training.timing import part
from retimbre.training.trainer import linear_rate

if TYPE_CHECKING:
    from lightning_fabric import Fabric  # seconds to import

BATCHES = 31  # stream of random numbers
FITTED_TO = 1000  # notes
CACHE_BYTES = 2**30  # of pictures: all of a few thousand notes of a second


@dataclass(frozen=True)
class Batch:
    """Pictures (B, 2, T, F) as the critic sees them and their pitches (B,); of the generator, latents (B, Z)
    and pitches (B,), drawn as often as among the notes; the share (B,) of each interpolate that is real.
    """

    real: Tensor
    real_pitch: Tensor
    latents: Tensor
    pitch: Tensor
    share: Tensor


class GanSynthTrainer(Opponents):
    """Networks that grow: one step of the critic and one of the generator, on the same notes."""

    def __init__(self, generator: Generator, critic: Critic, p: Params, fabric: "Fabric"):
        self.p, self.rates = p, (p.generator_rate, p.critic_rate)
        super().__init__(generator, critic, self.rates, (0.0, 0.99), p.ema_decay, fabric)

    def step(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """One step of the critic, one of the generator on the same fakes; returns detached scalars."""
        progress = self.p.progress(step)
        if step and math.ceil(progress) != math.ceil(self.p.progress(step - 1)):
            for optimiser in (self.optimiser_g, self.optimiser_c):
                # As published where a resolution begins to fade in; there they start anew once it has, too.
                optimiser.state.clear()
        factor = linear_rate(step / self.p.steps, self.p.decay_from, lowest=0.0)
        for optimiser, rate in zip((self.optimiser_g, self.optimiser_c), self.rates, strict=True):
            optimiser.param_groups[0]["lr"] = rate * factor
        moved = Batch(**{name: x.to(self.fabric.device) for name, x in vars(batch).items()})
        with part("forward"), self.fabric.autocast():
            one_hot = self._one_hot(moved.pitch)
            fake = self.generator(moved.latents, one_hot, progress)
        losses = self._critic_step(moved, fake.detach(), progress)
        losses |= self._generator_step(moved, fake, progress)
        self.ema.update(self.generator, step)
        return losses | {"train/resolution": torch.tensor(progress)}

    def _critic_step(self, batch: Batch, fake: Tensor, progress: float) -> dict[str, Tensor]:
        p, own, asked = self.p, self._one_hot(batch.real_pitch), self._one_hot(batch.pitch)
        with part("forward"):
            with self.fabric.autocast():
                of_real, heard = self.critic(batch.real, progress, own)
                of_fake, _ = self.critic(fake, progress, asked)
            mixed = interpolated(batch.real, fake, batch.share)
            # `forward`, not the compiled call, which cannot be differentiated twice. The slope is asked for
            # per pixel of the last resolution, as where small pictures are shown enlarged to it.
            enlarged = 2 ** (p.resolutions - 1 - math.ceil(progress))
            of_mixed = self.critic.forward(mixed, progress, own)[0]
            penalty = slope_penalty(of_mixed / enlarged, mixed)
            distance = wasserstein_discriminator(of_real.float(), of_fake.float())
            pitch = F.cross_entropy(heard.float(), batch.real_pitch)
            drift = of_real.float().square().mean()
            loss = distance + p.lambda_gradient_penalty * penalty + p.lambda_drift * drift
            loss = loss + p.lambda_pitch * pitch
        self.descend(self.optimiser_c, loss)
        losses = {"loss/critic": distance, "loss/gradient_penalty": penalty, "loss/pitch_real": pitch}
        return {name: value.detach() for name, value in losses.items()}

    def _generator_step(self, batch: Batch, fake: Tensor, progress: float) -> dict[str, Tensor]:
        self.critic.requires_grad_(False)
        with part("forward"), self.fabric.autocast():
            score, heard = self.critic(fake, progress, self._one_hot(batch.pitch))
            of_fake = wasserstein_generator(score.float())
            pitch = F.cross_entropy(heard.float(), batch.pitch)
        self.descend(self.optimiser_g, of_fake + self.p.lambda_pitch * pitch)
        self.critic.requires_grad_(True)
        right = (heard.argmax(1) == batch.pitch).float().mean()
        losses = {"loss/generator": of_fake, "loss/pitch_fake": pitch, "pitch/fake_accuracy": right}
        return {name: value.detach() for name, value in losses.items()}

    def _one_hot(self, pitch: Tensor) -> Tensor:
        return F.one_hot(pitch, self.generator.shape.pitches).float()


def batches(notes: Notes, pictures: Pictures, scale: Scale, p: Params, seed: int) -> Callable[[int], Batch]:
    """Batch of a step, a function of its number alone."""
    places = np.searchsorted(np.unique(notes.pitch), notes.pitch)

    # Of every note one picture of each resolution, which are together a third larger than the last.
    @lru_cache(p.resolutions * CACHE_BYTES // (11 * pictures.frames * pictures.bins))
    def picture(number: int, resolution: int) -> Tensor:
        if resolution < p.resolutions - 1:
            return down(picture(number, resolution + 1))
        return scale.down(pictures.encode(torch.from_numpy(notes.audio[[number]]).float()))

    def draw(number: int) -> Batch:
        progress = p.progress(number)
        resolution = math.ceil(progress)
        size = p.at(p.batch_sizes, resolution)
        rng = np.random.default_rng([seed, BATCHES, number])
        real, asked = rng.integers(len(notes), size=(2, size))
        seen = shown(torch.cat([picture(int(n), resolution) for n in real]), progress)
        latents = torch.from_numpy(rng.standard_normal((size, p.latent), np.float32))
        share = torch.from_numpy(rng.random(size, np.float32))
        # Beside a tone the interpolate of two notes has to have one pitch.
        pitches = [torch.from_numpy(places[of]) for of in (real, real if p.tones else asked)]
        return Batch(seen, pitches[0], latents, pitches[1], share)

    return draw


def prepare(notes: Notes, p: Params) -> tuple[Pictures, Scale, Shape]:
    """Pictures of the notes, their scale, and the shape of networks that make them.

    Raises RetimbreError where the resolutions do not fit.
    """
    finest = 2 ** (p.resolutions - 1)
    if p.bins % finest:
        raise RetimbreError(f"resolutions is {p.resolutions}, too many for {p.bins} bins: lower it.")
    pictures = Pictures(notes.audio.shape[1], notes.sample_rate, p.bins, p.kind, finest, p.padding_behind)
    scale = Scale()
    if p.normaliser == "fitted":
        some = np.linspace(0, len(notes) - 1, min(len(notes), FITTED_TO)).astype(int)
        levels = [pictures.encode(torch.from_numpy(notes.audio[[n]]).float())[:, 0] for n in some]
        scale = Scale.fitted(float(min(x.min() for x in levels)), float(max(x.max() for x in levels)))
    start = (pictures.frames // finest, p.bins // finest)
    pitches = len(np.unique(notes.pitch))
    sizes = (p.resolutions, p.filters, p.most_filters, p.even_start, p.tones)
    return pictures, scale, Shape(p.latent, pitches, start, *sizes)


def fit(notes: Notes, p: Params, run: loop.Run) -> tuple[Synthesiser, loop.History]:
    """Train on the notes; returns the averaged generator as a synthesiser, and the history."""
    pictures, scale, shape = prepare(notes, p)
    pitches = np.unique(notes.pitch).tolist()
    seen = tones(pictures, scale, pitches) if p.tones else None
    torch.manual_seed(run.seed)
    trainer = GanSynthTrainer(Generator(shape, seen), Critic(shape, seen), p, run.fabric)
    draw = batches(notes, pictures, scale, p, run.seed)
    history = loop.fit("gansynth", p.steps, trainer, draw, run, step=trainer.step)
    network = trainer.ema.module.cpu()
    return Synthesiser(network, pictures, scale, pitches), history
