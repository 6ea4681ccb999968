"""A generator of notes and its critic in training."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from retimbre.training.averages import Ema
from retimbre.training.timing import part

if TYPE_CHECKING:
    from lightning_fabric import Fabric  # seconds to import


class Opponents:
    """A generator and its critic, their optimisers, and the moving average of the generator: the complete
    state of a training, whose step subclasses write. ``rates``: of learning, the generator's first.
    """

    def __init__(
        self,
        generator: nn.Module,
        critic: nn.Module,
        rates: tuple[float, float],
        betas: tuple[float, float],
        ema_decay: float,
        fabric: "Fabric",
    ):
        self.fabric = fabric
        self.generator, self.critic = generator.to(fabric.device), critic.to(fabric.device)
        self.networks = [self.generator, self.critic]
        self.optimiser_g, self.optimiser_c = (
            torch.optim.Adam(network.parameters(), rate, betas, fused=True)
            for network, rate in zip(self.networks, rates, strict=True)
        )
        self.ema = Ema(self.generator, ema_decay)

    def descend(self, optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
        with part("backward"):
            optimiser.zero_grad(set_to_none=True)
            self.fabric.backward(loss)
        with part("optimiser"):
            optimiser.step()

    @property
    def _parts(self) -> dict[str, Any]:
        return {
            "generator": self.generator,
            "critic": self.critic,
            "ema": self.ema.module,
            "optimiser_g": self.optimiser_g,
            "optimiser_c": self.optimiser_c,
        }

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next step depends on."""
        return {name: of.state_dict() for name, of in self._parts.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name, of in self._parts.items():
            of.load_state_dict(state[name])
