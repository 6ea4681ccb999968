"""What the trainings against discriminators share: one step for the generators, then one or more for the discriminators.

It reads like the papers: forward, freeze D, step G, unfreeze, step D. Every loss has one slash-name, used here, in
MLflow, in the history file and in ``metrics/``; each is weighted in one place, by the lambdas.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from retimbre.training.averages import Ema
from retimbre.training.gan import Adversarial, ReplayPool, feature_matching, gradient_penalty, mean
from retimbre.training.processes import average_gradients, gather, own_share
from retimbre.training.timing import part

if TYPE_CHECKING:
    from lightning_fabric import Fabric  # seconds to import, which a transfer does without

DOMAINS = (("a", 11), ("b", 12))  # and the streams of their pools' random numbers
INTERPOLATES = {"a": 13, "b": 14}  # streams of the gradient penalty's
NOISE = 15  # stream of what is added to what discriminators see


@dataclass(frozen=True)
class TrainingConfig:
    """The knobs of ``model`` in params.yaml that a step reads; see the comments there."""

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
    label_smoothing: float = 0
    lambda_feature_matching: float = 0
    lambda_content: float = 0
    lambda_gradient_penalty: float = 0
    lambda_l1: float = 100
    ema_warmup: float = 9
    discriminator_noise: float = 0


def rate_factor(share_done: float, decay_from: float) -> float:
    """1 up to ``decay_from`` of the training, then linearly down, but never below 0.02."""
    if share_done < decay_from:
        return 1.0
    return max(0.02, (1 - share_done) / max(1 - decay_from, 1e-9))


class AdversarialTrainer(ABC):
    """Generators ``ab`` and ``ba``, discriminators ``a`` and ``b``, their optimisers, pools and the moving average of the
    generators: everything that a training is. What the generators learn beside fooling the discriminators, the
    subclasses say in ``generator_losses`` and ``lambdas``.

    ``content``, needed if ``lambda_content`` is above 0, maps spectra to what must not change (``losses.PitchClassLevels``).
    """

    conditional = False  # whether discriminators see what an example was made from; then batches are pairs

    def __init__(
        self,
        generators: nn.ModuleDict,
        discriminators: nn.ModuleDict,
        config: TrainingConfig,
        fabric: "Fabric",
        seed: int,
        content: nn.Module | None = None,
    ):
        self.config, self.fabric, self.seed = config, fabric, seed
        self.generators, self.discriminators = generators.to(fabric.device), discriminators.to(fabric.device)
        betas = (config.adam_beta1, 0.999)
        self.optimiser_g = torch.optim.Adam(self.generators.parameters(), config.learning_rate_generator, betas, fused=True)
        self.optimiser_d = torch.optim.Adam(self.discriminators.parameters(), config.learning_rate_discriminator, betas, fused=True)
        self.ema = Ema(self.generators, config.ema_decay, config.ema_warmup)
        self.pools = {name: ReplayPool(self.pool_size, seed, stream) for name, stream in DOMAINS}
        self.adversarial = Adversarial(config.gan_loss, config.label_smoothing)
        self.content = content.to(fabric.device) if content else None
        self.noise = torch.Generator()  # of the discriminators' noise, seeded anew by every step: no state to save
        self.discriminator_rate = 1.0  # factor of the discriminators' learning rate, for guards that slow them down

    @property
    def pool_size(self) -> int:
        return self.config.pool_size

    def lambdas(self, step: int) -> dict[str, float]:
        """Weights of all losses at ``step``."""
        c = self.config
        return {
            "loss/adversarial": c.lambda_adversarial,
            "loss/feature_matching": c.lambda_feature_matching,
            "loss/content": c.lambda_content,
            "loss/gradient_penalty": c.lambda_gradient_penalty,
        }

    @abstractmethod
    def generator_losses(self, a: Tensor, b: Tensor, fake_a: Tensor, fake_b: Tensor, lambdas: dict[str, float]) -> dict[str, Tensor]:
        """Further losses by name, from real crops and what was generated from them (``fake_b`` from ``a``); only those
        with a weight above 0 need be computed.
        """

    def step(self, a: Tensor, b: Tensor, step: int, more: Sequence[tuple[Tensor, Tensor]] = ()) -> dict[str, Tensor]:
        """Train on real crops ``a`` and ``b`` (B, F, T) in -1..1; returns detached scalars by name.

        ``more`` crops: the discriminators take another step on each pair of them (with fresh fakes) before the next step of all.
        """
        c, g = self.config, self.generators
        factor = rate_factor(step / c.steps, c.decay_from)
        self.optimiser_g.param_groups[0]["lr"] = c.learning_rate_generator * factor
        self.optimiser_d.param_groups[0]["lr"] = c.learning_rate_discriminator * factor * self.discriminator_rate
        lambdas = self.lambdas(step)
        self.noise.manual_seed(int(np.random.SeedSequence([self.seed, NOISE, step]).generate_state(1)[0]))

        losses, fake_a, fake_b = self._step_generators(a, b, lambdas)
        change = (fake_b.detach() - a).abs().mean()
        losses |= self._step_discriminators(a, b, fake_a, fake_b, lambdas, step, 0)
        for draw, (a, b) in enumerate(more, 1):
            with torch.no_grad(), part("forward"), self.fabric.autocast():
                fake_b, fake_a = g["ab"](a), g["ba"](b)
            losses |= self._step_discriminators(a, b, fake_a, fake_b, lambdas, step, draw)
        with part("optimiser"):
            self.ema.update(g, step)
        losses["generator/change"] = change
        return {name: value.detach() for name, value in losses.items()}

    def _step_generators(self, a: Tensor, b: Tensor, lambdas: dict[str, float]) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        """Fool the frozen discriminators, and what else there is to learn."""
        g, d = self.generators, self.discriminators
        d.requires_grad_(False)
        with part("forward"), self.fabric.autocast():
            fake_b, fake_a = g["ab"](a), g["ba"](b)
            judged_b, judged_a = self._judge("b", fake_b, a), self._judge("a", fake_a, b)
            losses = {"loss/adversarial": self.adversarial.generator(judged_b) + self.adversarial.generator(judged_a)}
            losses |= self.generator_losses(a, b, fake_a, fake_b, lambdas)
            if lambdas["loss/feature_matching"] > 0:
                with torch.no_grad():
                    real_b, real_a = self._judge("b", b, a), self._judge("a", a, b)
                of_a, of_b = feature_matching(real_a, judged_a, self.conditional), feature_matching(real_b, judged_b, self.conditional)
                losses["loss/feature_matching"] = of_b + of_a
            if lambdas["loss/content"] > 0:
                assert self.content is not None
                losses["loss/content"] = sum((self.content(y) - self.content(x)).abs().mean() for x, y in ((a, fake_b), (b, fake_a)))
            total = sum(lambdas[name] * loss for name, loss in losses.items())
        self._descend(self.optimiser_g, total)
        d.requires_grad_(True)
        losses["loss/generator"] = total
        return losses, fake_a, fake_b

    def _step_discriminators(
        self, a: Tensor, b: Tensor, fake_a: Tensor, fake_b: Tensor, lambdas: dict[str, float], step: int, draw: int
    ) -> dict[str, Tensor]:
        """Tell real from generated, some of which is older (the pools)."""
        fake_a, fake_b = fake_a.detach(), fake_b.detach()
        old_b, old_a = self._pooled("b", fake_b, step, draw), self._pooled("a", fake_a, step, draw)
        with part("forward"), self.fabric.autocast():
            real_b, judged_b = self._judge("b", b, a), self._judge("b", old_b, a)
            loss = self.adversarial.discriminator(real_b, judged_b)
            loss = loss + self.adversarial.discriminator(self._judge("a", a, b), self._judge("a", old_a, b))
        total, figures = loss, {}
        if lambdas["loss/gradient_penalty"] > 0:  # in full precision: squares of small gradients
            with part("forward"):
                penalty = sum(
                    self._penalty(name, x, y, x_source, step, draw) for name, x, y, x_source in (("b", b, fake_b, a), ("a", a, fake_a, b))
                )
            total = loss + lambdas["loss/gradient_penalty"] * penalty
            figures["loss/gradient_penalty"] = penalty / 2  # per discriminator
        self._descend(self.optimiser_d, total)
        figures["loss/discriminator"] = loss / 2  # per discriminator: 0.25 is chance for least squares
        # Mean scores of b's alone, as ``generator/change`` is that of ab: the guards watch both.
        figures["discriminator/real"] = mean([activations[-1].mean() for activations in real_b])
        figures["discriminator/fake"] = mean([activations[-1].mean() for activations in judged_b])
        return figures

    def _judge(self, domain: str, x: Tensor, source: Tensor) -> list[list[Tensor]]:
        """Activations of the discriminator of a domain; ``source`` is what ``x`` was made from, or its pair.

        Noise (Arjovsky and Bottou 2017) hides differences finer than itself, which discriminators would win by and
        generators would answer with texture.
        """
        if self.config.discriminator_noise:
            shape = (len(x) * self.fabric.world_size, *x.shape[1:])
            drawn = own_share(self.fabric, torch.randn(shape, generator=self.noise))
            x = x + self.config.discriminator_noise * drawn.to(x.device)
        return self.discriminators[domain](x, source if self.conditional else None)

    def _penalty(self, domain: str, real: Tensor, fake: Tensor, source: Tensor, step: int, draw: int) -> Tensor:
        rng = np.random.default_rng([self.seed, INTERPOLATES[domain], step, draw])
        shares = torch.from_numpy(rng.random(len(real) * self.fabric.world_size, np.float32)).to(real.device)
        share = own_share(self.fabric, shares)
        return gradient_penalty(self.discriminators[domain], real, fake, share, source if self.conditional else None)

    def _pooled(self, domain: str, fakes: Tensor, step: int, draw: int) -> Tensor:
        """As many examples of the pool, which sees the fakes of all processes and is the same in each."""
        return own_share(self.fabric, self.pools[domain](gather(self.fabric, fakes), step, draw))

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
