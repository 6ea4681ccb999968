"""Training of a generator of notes against a critic: Wasserstein distance with gradient penalty.

Gulrajani et al. 2017. All that is random in a step is drawn from ``np.random.default_rng([seed, stream,
step])``, so that nothing of it need be saved.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from retimbre.errors import RetimbreError
from retimbre.synthesis.base import Notes
from retimbre.synthesis.dcgan import Critic, Generator
from retimbre.synthesis.opponents import Opponents
from retimbre.synthesis.params import Adversarial
from retimbre.training import fit as loop
from retimbre.training.gan import (
    interpolated,
    slope_penalty,
    wasserstein_discriminator,
    wasserstein_generator,
)
from retimbre.training.timing import part

if TYPE_CHECKING:
    from lightning_fabric import Fabric  # seconds to import

BATCHES = 21  # stream of random numbers
Encoder = Callable[[Tensor], Tensor]  # audio (B, N) to what the critic sees
Prior = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]


def uniform(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Noise in -1..1."""
    return rng.uniform(-1, 1, shape)


def normal(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Noise of variance 1."""
    return rng.standard_normal(shape)


@dataclass(frozen=True)
class Batch:
    """Audio and chance of a step with K of the critic's: ``real`` notes (K, B, N), ``latents`` (K + 1, B, Z)
    of which the last are the generator's own, the ``share`` (K, B) of each interpolate that is real, and the
    ``shifts`` (K, 3, layers[, B]) of the critic on real, generated and interpolated ones; ``own_shifts``
    (layers[, B]) of the generator's step.
    """

    real: Tensor
    latents: Tensor
    share: Tensor
    shifts: Tensor
    own_shifts: Tensor


class WassersteinTrainer(Opponents):
    """Several steps of the critic for each of the generator."""

    def __init__(
        self, generator: Generator, critic: Critic, encode: Encoder, p: Adversarial, fabric: "Fabric"
    ):
        betas = (p.adam_beta1, p.adam_beta2)
        super().__init__(generator, critic, (p.learning_rate, p.learning_rate), betas, p.ema_decay, fabric)
        self.encode, self.penalty = encode, p.lambda_gradient_penalty

    def step(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """``critic_steps`` of the critic, one of the generator; returns detached scalars by name."""
        found = [
            self._critic_step(real, z, share, shifts)
            for real, z, share, shifts in zip(
                batch.real, batch.latents[:-1], batch.share, batch.shifts, strict=True
            )
        ]
        losses = {name: torch.stack([one[name] for one in found]).mean() for name in found[0]}
        losses["loss/generator"] = self._generator_step(batch.latents[-1], batch.own_shifts)
        self.ema.update(self.generator, step)
        return losses

    def _critic_step(self, real: Tensor, z: Tensor, share: Tensor, shifts: Tensor) -> dict[str, Tensor]:
        real, share = self.encode(real.to(self.fabric.device)), share.to(self.fabric.device)
        with part("forward"):
            with torch.no_grad(), self.fabric.autocast():
                fake = self.generator(z.to(self.fabric.device))
            with self.fabric.autocast():
                of_real, of_fake = self.critic(real, shifts[0]), self.critic(fake, shifts[1])
            mixed = interpolated(real, fake, share)
            # `forward`, not the compiled call, which cannot be differentiated twice.
            penalty = slope_penalty(self.critic.forward(mixed, shifts[2]), mixed)
            loss = wasserstein_discriminator(of_real.float(), of_fake.float())
        self.descend(self.optimiser_c, loss + self.penalty * penalty)
        return {"loss/critic": loss.detach(), "loss/gradient_penalty": penalty.detach()}

    def _generator_step(self, z: Tensor, shifts: Tensor) -> Tensor:
        self.critic.requires_grad_(False)
        with part("forward"), self.fabric.autocast():
            score = self.critic(self.generator(z.to(self.fabric.device)), shifts)
            loss = wasserstein_generator(score.float())
        self.descend(self.optimiser_g, loss)
        self.critic.requires_grad_(True)
        return loss.detach()


def batches(notes: Notes, shuffled: int, prior: Prior, p: Adversarial, seed: int) -> Callable[[int], Batch]:
    """Batch of a step, a function of its number alone. ``shuffled``: layers of the critic that are."""
    steps, size, most = p.critic_steps, p.batch_size, p.phase_shuffle
    examples = (size,) if p.phase_shuffle_per_example else ()

    def tensor(values: np.ndarray) -> Tensor:
        return torch.from_numpy(np.asarray(values, np.float32))

    def draw(number: int) -> Batch:
        rng = np.random.default_rng([seed, BATCHES, number])
        places = rng.integers(len(notes), size=steps * size)
        latents = tensor(prior(rng, (steps + 1, size, p.latent)))
        share = tensor(rng.random((steps, size)))
        shifts = rng.integers(-most, most + 1, (3 * steps + 1, shuffled, *examples))
        *shifts, own = torch.from_numpy(shifts)
        real = tensor(notes.audio[places]).unflatten(0, (steps, size))
        return Batch(real, latents, share, torch.stack(shifts).unflatten(0, (steps, 3)), own)

    return draw


def train(
    generator: Generator,
    critic: Critic,
    notes: Notes,
    encode: Encoder,
    prior: Prior,
    p: Adversarial,
    run: loop.Run,
) -> tuple[Generator, loop.History]:
    """Train on the notes; returns the averaged generator and the history.

    Raises RetimbreError for a phase shuffle that is as long as a layer.
    """
    shortest = critic.config.start[-1] * critic.config.stride[-1]  # of the layers that are shuffled
    if p.phase_shuffle >= shortest:
        raise RetimbreError(
            f"phase_shuffle is {p.phase_shuffle}: it is {shortest - 1} at most for notes of this length."
        )
    trainer = WassersteinTrainer(generator, critic, encode, p, run.fabric)
    draw = batches(notes, critic.shuffled, prior, p, run.seed)
    history = loop.fit(p.section, p.steps, trainer, draw, run, step=trainer.step)
    return trainer.ema.module.cpu(), history
