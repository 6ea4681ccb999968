"""Losses, penalty and replay pool of adversarial trainings.

Adversarial losses take a discriminator's score map (any shape) and return a scalar; ``Adversarial`` averages
them over several networks. Sources: least squares, Mao et al. 2017; non-saturating, Goodfellow et al. 2014;
hinge, Lim and Ye 2017; Wasserstein with gradient penalty, Gulrajani et al. 2017; one-sided label smoothing
and matching of expected features, Salimans et al. 2016; feature matching of pairs, Wang et al. 2018; replay
pool, Shrivastava et al. 2017 as used by CycleGAN.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from retimbre.audio.chroma import pitch_class_fold


def lsgan_generator(fake: Tensor) -> Tensor:
    return ((fake - 1) ** 2).mean()


def lsgan_discriminator(real: Tensor, fake: Tensor, smoothing: float = 0) -> Tensor:
    """0.25 at chance (all scores 0.5), 0 when told apart for certain; ``smoothing``: of the real label."""
    return 0.5 * ((real - (1 - smoothing)) ** 2).mean() + 0.5 * (fake**2).mean()


def nonsaturating_generator(fake: Tensor) -> Tensor:
    """-log D(fake), D the sigmoid of the score."""
    return F.softplus(-fake).mean()


def nonsaturating_discriminator(real: Tensor, fake: Tensor, smoothing: float = 0) -> Tensor:
    """Half of the two cross entropies: log 2 at chance."""
    of_real = (1 - smoothing) * F.softplus(-real).mean() + smoothing * F.softplus(real).mean()
    return 0.5 * of_real + 0.5 * F.softplus(fake).mean()


def hinge_generator(fake: Tensor) -> Tensor:
    return -fake.mean()


def hinge_discriminator(real: Tensor, fake: Tensor, smoothing: float = 0) -> Tensor:
    """2 at chance, 0 when every score is beyond its margin; it has no label to smooth."""
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


def wasserstein_generator(fake: Tensor) -> Tensor:
    return -fake.mean()


def wasserstein_discriminator(real: Tensor, fake: Tensor, smoothing: float = 0) -> Tensor:
    """0 at chance, without bound below: only ``gradient_penalty`` makes it a distance."""
    return fake.mean() - real.mean()


GENERATOR_LOSS: dict[str, Callable[[Tensor], Tensor]] = {
    "lsgan": lsgan_generator,
    "nonsaturating": nonsaturating_generator,
    "hinge": hinge_generator,
    "wgan_gp": wasserstein_generator,
}
DISCRIMINATOR_LOSS: dict[str, Callable[[Tensor, Tensor, float], Tensor]] = {
    "lsgan": lsgan_discriminator,
    "nonsaturating": nonsaturating_discriminator,
    "hinge": hinge_discriminator,
    "wgan_gp": wasserstein_discriminator,
}


def mean(values: Sequence[Tensor]) -> Tensor:
    return sum(values) / len(values)  # type: ignore[return-value]


class Adversarial:
    """One of the losses above for all networks of a ``Discriminator``: their mean."""

    def __init__(self, name: str, smoothing: float = 0):
        self.of_generator, self.of_discriminator = GENERATOR_LOSS[name], DISCRIMINATOR_LOSS[name]
        self.smoothing = smoothing

    def generator(self, fake: list[list[Tensor]]) -> Tensor:
        return mean([self.of_generator(activations[-1]) for activations in fake])

    def discriminator(self, real: list[list[Tensor]], fake: list[list[Tensor]]) -> Tensor:
        pairs = zip(real, fake, strict=True)
        return mean([self.of_discriminator(r[-1], f[-1], self.smoothing) for r, f in pairs])


def interpolated(real: Tensor, fake: Tensor, share: Tensor) -> Tensor:
    """Examples (B, ...) between real and generated ones, which gradients are asked for.

    ``share`` (B,) in 0..1: how much of each is real.
    """
    share = share.reshape(-1, *[1] * (real.ndim - 1))
    return torch.lerp(fake.to(real.dtype), real, share).detach().requires_grad_(True)


def slope_penalty(values: Tensor, mixed: Tensor) -> Tensor:
    """Mean of (|gradient of ``values`` (B,) at ``mixed`` (B, ...)| - 1)^2, differentiable once more.

    The norm is over a whole example; a value must depend on its own example alone.
    """
    (gradient,) = torch.autograd.grad(values.sum(), mixed, create_graph=True)
    return ((gradient.flatten(1).norm(dim=1) - 1) ** 2).mean()


def gradient_penalty(
    discriminator: nn.Module, real: Tensor, fake: Tensor, share: Tensor, source: Tensor | None = None
) -> Tensor:
    """Mean of (|gradient of D at an interpolate| - 1)^2, differentiable by D's parameters (double backward).

    ``share`` (B,) in 0..1, random: how much of each interpolate is real; ``fake`` (B, F, T) is fresh, never
    from a pool. D's value of an example is the mean of its map of scores, as in the loss; the norm is over
    the whole example (F and T together). Two-sided, as published. Several networks: the mean of their
    penalties.
    """
    mixed = interpolated(real, fake, share)
    penalties = []
    # `forward`, not the compiled call, which cannot be differentiated twice.
    for activations in discriminator.forward(mixed, source):
        penalties.append(slope_penalty(activations[-1].flatten(1).mean(1), mixed))
    return mean(penalties)


def feature_matching(real: list[list[Tensor]], fake: list[list[Tensor]], paired: bool = False) -> Tensor:
    """L1 between a discriminator's activations for real and generated examples, all layers but the scores.

    Paired examples are compared place by place; others by their means over the batch and time, channel by
    channel and bin by bin. (With several processes, each compares the means of its own share.)
    """
    distances = []
    for r, f in zip(real, fake, strict=True):
        for a, b in zip(r[:-1], f[:-1], strict=True):
            a = a.detach()
            difference = a - b if paired else a.mean((0, -1)) - b.mean((0, -1))
            distances.append(difference.abs().mean())
    return mean(distances)


class PitchClassLevels(nn.Module):
    """Levels of the twelve pitch classes of a constant-Q spectrum: a loss on them guards the notes, which a
    cycle loss does not (a cycle can be closed by an invertible re-weighting of partials).

    Input (B, F, T) in -1..1; output (B, 12, T) in half ranges, minus the mean of the frame's classes: an
    instrument that is louder or brighter as a whole is no other content. Energies of a class's bins are
    added; what lies at the floor stays there.
    """

    def __init__(self, frequencies_hz: np.ndarray, range_db: float):
        super().__init__()
        self.range_db = range_db
        # The semitone nearest to each bin: of 36 in an octave those beside a note's belong to it. (12, F)
        fold = torch.from_numpy(pitch_class_fold(frequencies_hz, nearest=True)).float()
        self.register_buffer("fold", fold)

    def forward(self, z: Tensor) -> Tensor:
        energy = self.fold @ 10 ** ((z.float() - 1) * self.range_db / 20)  # z = 1 is 0 dB, -1 the floor
        level = 10 * torch.log10(energy.clamp_min(1e-20)) * 2 / self.range_db
        return level - level.mean(1, keepdim=True)


class ReplayPool:
    """The last ``size`` generated examples: half of each batch that the discriminator sees is
    swapped for older ones, so that it does not forget what the generator did before.

    Draws come from ``np.random.default_rng([seed, stream, step, draw])``: no random state to save.
    """

    def __init__(self, size: int, seed: int, stream: int):
        self.size, self.seed, self.stream = size, seed, stream
        self.examples: list[Tensor] = []

    def __call__(self, fakes: Tensor, step: int, draw: int = 0) -> Tensor:
        """``fakes`` (B, ...) detached; returns as many, some older. ``draw`` counts the calls of a step."""
        if self.size == 0:
            return fakes
        rng = np.random.default_rng([self.seed, self.stream, step, draw])
        out = []
        for fake in fakes:
            if len(self.examples) < self.size:
                self.examples.append(fake.clone())
                out.append(fake)
            elif rng.random() < 0.5:
                place = int(rng.integers(self.size))
                out.append(self.examples[place].to(fake.device))  # a resumed pool was loaded on the CPU
                self.examples[place] = fake.clone()
            else:
                out.append(fake)
        return torch.stack(out)

    def state_dict(self) -> dict[str, Any]:
        return {"examples": list(self.examples)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.examples = list(state["examples"])
