"""Trainers of one network, and the schedule of most: AdamW with a warm-up and a cosine."""

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from retimbre.training.processes import average_gradients, own_share
from retimbre.training.timing import part

if TYPE_CHECKING:
    from lightning_fabric import Fabric  # seconds to import, which a transfer does without

WARM_UP_STEPS = 50


def cosine_rate(step: int, steps: int) -> float:
    """Factor of the learning rate: linear warm-up over 50 steps, then a cosine down to 2 %."""
    warm = min(1.0, (step + 1) / WARM_UP_STEPS)
    return warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, step / steps))))


def linear_rate(share_done: float, decay_from: float, lowest: float = 0.02) -> float:
    """Factor of the learning rate: 1 up to ``decay_from`` of the training, then linearly down to 0, but never
    below ``lowest``.
    """
    if share_done < decay_from:
        return 1.0
    return max(lowest, (1 - share_done) / max(1 - decay_from, 1e-9))


class OneNetwork:
    """A network and its optimiser, of which ``state_dict`` is complete."""

    def __init__(self, network: nn.Module, optimiser: torch.optim.Optimizer):
        self.network, self.networks, self.optimiser = network, [network], optimiser

    def state_dict(self) -> dict[str, Any]:
        return {"network": self.network.state_dict(), "optimiser": self.optimiser.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])


class CosineTrainer(OneNetwork):
    """A network, AdamW and its schedule; subclasses write ``step``.

    Of several processes each is given the whole batch. ``gradient_norm``: gradients are clipped to it.
    """

    def __init__(
        self, network: nn.Module, steps: int, learning_rate: float, gradient_norm: float, fabric: "Fabric"
    ):
        self.steps, self.learning_rate = steps, learning_rate
        self.gradient_norm, self.fabric = gradient_norm, fabric
        network = network.to(fabric.device).train()
        betas, decay = (0.9, 0.98), 1e-3
        weights = network.parameters()
        optimiser = torch.optim.AdamW(weights, learning_rate, betas, weight_decay=decay, fused=True)
        super().__init__(network, optimiser)

    def own(self, *batch: Tensor) -> tuple[Tensor, ...]:
        """This process's share of every tensor (B, ...) of a batch, on its device."""
        return tuple(own_share(self.fabric, x).to(self.fabric.device) for x in batch)

    def descend(self, loss: Tensor, step: int) -> None:
        """One step of the optimiser; ``step`` counts from 0."""
        self.optimiser.param_groups[0]["lr"] = self.learning_rate * cosine_rate(step, self.steps)
        with part("backward"):
            self.optimiser.zero_grad(set_to_none=True)
            self.fabric.backward(loss)
            average_gradients(self.fabric, self.network.parameters())
        with part("optimiser"):
            nn.utils.clip_grad_norm_(self.network.parameters(), self.gradient_norm)
            self.optimiser.step()
