"""Adversarial losses and the replay pool of the CycleGAN.

Each loss takes discriminator score maps (any shape) and returns a scalar. Sources: least squares,
Mao et al. 2017; hinge, Lim and Ye 2017; replay pool, Shrivastava et al. 2017 as used by CycleGAN.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F


def lsgan_generator(fake: Tensor) -> Tensor:
    return ((fake - 1) ** 2).mean()


def lsgan_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """0.5 at chance, 0 when the two are told apart with certainty."""
    return 0.5 * ((real - 1) ** 2).mean() + 0.5 * (fake**2).mean()


def hinge_generator(fake: Tensor) -> Tensor:
    return -fake.mean()


def hinge_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


GENERATOR_LOSS: dict[str, Callable[[Tensor], Tensor]] = {"lsgan": lsgan_generator, "hinge": hinge_generator}
DISCRIMINATOR_LOSS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "lsgan": lsgan_discriminator,
    "hinge": hinge_discriminator,
}


class ReplayPool:
    """The last ``size`` generated examples: half of each batch that the discriminator sees is
    swapped for older ones, so that it does not forget what the generator did before.

    Draws come from ``np.random.default_rng([seed, stream, step])``: no random state to save.
    """

    def __init__(self, size: int, seed: int, stream: int):
        self.size, self.seed, self.stream = size, seed, stream
        self.examples: list[Tensor] = []

    def __call__(self, fakes: Tensor, step: int) -> Tensor:
        """``fakes`` (B, ...) detached; returns as many, some of them older."""
        if self.size == 0:
            return fakes
        rng = np.random.default_rng([self.seed, self.stream, step])
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
