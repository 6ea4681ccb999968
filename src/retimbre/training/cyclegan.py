"""One step of CycleGAN training, read like the paper: forward, freeze D, step G, unfreeze, step D.

Every loss has one slash-name, used here, in MLflow, in the history file and in ``metrics/``; each is
weighted in one place, by the lambdas.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from retimbre.training.distributed import average_gradients, gather, own_share
from retimbre.training.ema import Ema
from retimbre.training.losses import DISCRIMINATOR_LOSS, GENERATOR_LOSS, ReplayPool
from retimbre.training.timing import part

if TYPE_CHECKING:
    from lightning_fabric import Fabric  # seconds to import, which a transfer does without


@dataclass(frozen=True)
class TrainingConfig:
    """The knobs of ``model`` in params.yaml that the step reads; see the comments there."""

    steps: int
    gan_loss: str
    lambda_adversarial: float
    lambda_cycle: float
    lambda_identity: float
    identity_until: float
    pool_size: int
    learning_rate_generator: float
    learning_rate_discriminator: float
    adam_beta1: float
    decay_from: float
    ema_decay: float


def rate_factor(share_done: float, decay_from: float) -> float:
    """1 up to ``decay_from`` of the training, then linearly down, but never below 0.02."""
    if share_done < decay_from:
        return 1.0
    return max(0.02, (1 - share_done) / max(1 - decay_from, 1e-9))


class CycleGanTrainer:
    """Generators ``ab`` and ``ba``, discriminators ``a`` and ``b``, their optimisers, pools and the
    moving average of the generators: everything that a training is.
    """

    def __init__(self, generators: nn.ModuleDict, discriminators: nn.ModuleDict, config: TrainingConfig, fabric: "Fabric", seed: int):
        self.config, self.fabric = config, fabric
        self.generators, self.discriminators = generators.to(fabric.device), discriminators.to(fabric.device)
        betas = (config.adam_beta1, 0.999)
        self.optimiser_g = torch.optim.Adam(self.generators.parameters(), config.learning_rate_generator, betas, fused=True)
        self.optimiser_d = torch.optim.Adam(self.discriminators.parameters(), config.learning_rate_discriminator, betas, fused=True)
        self.ema = Ema(self.generators, config.ema_decay)
        self.pools = {"a": ReplayPool(config.pool_size, seed, 11), "b": ReplayPool(config.pool_size, seed, 12)}
        self.generator_loss, self.discriminator_loss = GENERATOR_LOSS[config.gan_loss], DISCRIMINATOR_LOSS[config.gan_loss]

    def lambdas(self, step: int) -> dict[str, float]:
        """Weights of the generators' losses at ``step``."""
        c = self.config
        identity_left = max(0.0, 1 - step / (c.identity_until * c.steps)) if c.identity_until else 0.0
        return {"loss/adversarial": c.lambda_adversarial, "loss/cycle": c.lambda_cycle, "loss/identity": c.lambda_identity * identity_left}

    def step(self, a: Tensor, b: Tensor, step: int) -> dict[str, Tensor]:
        """Train on real crops ``a`` and ``b`` (B, F, T) in -1..1; returns detached scalars by name."""
        c, g, d = self.config, self.generators, self.discriminators
        factor = rate_factor(step / c.steps, c.decay_from)
        self.optimiser_g.param_groups[0]["lr"] = c.learning_rate_generator * factor
        self.optimiser_d.param_groups[0]["lr"] = c.learning_rate_discriminator * factor
        lambdas = self.lambdas(step)

        # Generators: fool the frozen discriminators, come back after a round trip, leave the target domain alone.
        d.requires_grad_(False)
        with part("forward"), self.fabric.autocast():
            fake_b, fake_a = g["ab"](a), g["ba"](b)
            losses = {
                "loss/adversarial": self.generator_loss(d["b"](fake_b)) + self.generator_loss(d["a"](fake_a)),
                "loss/cycle": (g["ba"](fake_b) - a).abs().mean() + (g["ab"](fake_a) - b).abs().mean(),
            }
            if lambdas["loss/identity"] > 0:
                losses["loss/identity"] = (g["ab"](b) - b).abs().mean() + (g["ba"](a) - a).abs().mean()
            total = sum(lambdas[name] * loss for name, loss in losses.items())
        self._descend(self.optimiser_g, total)
        d.requires_grad_(True)

        # Discriminators: real against generated, some of it older (the pools).
        old_b, old_a = self._pooled("b", fake_b, step), self._pooled("a", fake_a, step)
        with part("forward"), self.fabric.autocast():
            real_scores, fake_scores = d["b"](b), d["b"](old_b)
            loss_d = self.discriminator_loss(real_scores, fake_scores) + self.discriminator_loss(d["a"](a), d["a"](old_a))
        self._descend(self.optimiser_d, loss_d)
        with part("optimiser"):
            self.ema.update(g, step)

        losses["loss/generator"] = total
        losses["loss/discriminator"] = loss_d / 2  # per discriminator: 0.5 is chance for least squares
        losses["discriminator/real"], losses["discriminator/fake"] = real_scores.mean(), fake_scores.mean()
        losses["generator/change"] = (fake_b - a).abs().mean()
        return {name: value.detach() for name, value in losses.items()}

    def _pooled(self, domain: str, fakes: Tensor, step: int) -> Tensor:
        """As many examples of the pool, which sees the fakes of all processes and is the same in each."""
        return own_share(self.fabric, self.pools[domain](gather(self.fabric, fakes.detach()), step))

    def _descend(self, optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
        with part("backward"):
            optimiser.zero_grad(set_to_none=True)
            self.fabric.backward(loss)
            average_gradients(self.fabric, [p for group in optimiser.param_groups for p in group["params"]])
        with part("optimiser"):
            optimiser.step()

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next step depends on."""
        return {
            "generators": self.generators.state_dict(),
            "discriminators": self.discriminators.state_dict(),
            "ema": self.ema.module.state_dict(),
            "optimiser_g": self.optimiser_g.state_dict(),
            "optimiser_d": self.optimiser_d.state_dict(),
            "pools": {name: pool.state_dict() for name, pool in self.pools.items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.generators.load_state_dict(state["generators"])
        self.discriminators.load_state_dict(state["discriminators"])
        self.ema.module.load_state_dict(state["ema"])
        self.optimiser_g.load_state_dict(state["optimiser_g"])
        self.optimiser_d.load_state_dict(state["optimiser_d"])
        for name, pool in self.pools.items():
            pool.load_state_dict(state["pools"][name])
