"""Training step of spectral generators against discriminators: the CycleGAN's, and pix2pix's base.

One step for the generators, then one or more for the discriminators. It reads like the papers: forward,
freeze D, step G, unfreeze, step D. Every loss has one slash-name, used here, in MLflow, in the history file
and in ``metrics/``; each is weighted in one place, by the lambdas.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from retimbre.systems.cyclegan.params import Adversarial as Knobs
from retimbre.systems.cyclegan.params import Params
from retimbre.training.averages import Ema
from retimbre.training.gan import Adversarial, ReplayPool, feature_matching, gradient_penalty, mean
from retimbre.training.processes import average_gradients, gather, own_share
from retimbre.training.timing import part
from retimbre.training.trainer import linear_rate

if TYPE_CHECKING:
    from lightning_fabric import Fabric  # seconds to import, which a transfer does without

DOMAINS = (("a", 11), ("b", 12))  # and the streams of their pools' random numbers
INTERPOLATES = {"a": 13, "b": 14}  # streams of the gradient penalty's
NOISE = 15  # stream of what is added to what discriminators see


class AdversarialTrainer(ABC):
    """Generators ``ab`` and ``ba``, discriminators ``a`` and ``b``, their optimisers, pools and the moving
    average of the generators: everything that a training is. What the generators learn beside fooling the
    discriminators, the subclasses say in ``generator_losses`` and ``lambdas``.

    ``p``: the section of the params; ``pool_size``: generated examples that are kept for the discriminators.
    ``content``, needed if ``lambda_content`` is above 0, maps spectra to what must not change
    (``training.gan.PitchClassLevels``).
    """

    conditional = False  # whether discriminators see what an example was made from; then batches are pairs

    def __init__(
        self,
        generators: nn.ModuleDict,
        discriminators: nn.ModuleDict,
        p: Knobs,
        fabric: "Fabric",
        seed: int,
        content: nn.Module | None = None,
    ):
        self.p, self.fabric, self.seed = p, fabric, seed
        self.generators, self.discriminators = generators.to(fabric.device), discriminators.to(fabric.device)
        self.networks = [*self.generators.values(), *self.discriminators.values()]
        betas = (p.adam_beta1, 0.999)
        weights_g, weights_d = self.generators.parameters(), self.discriminators.parameters()
        self.optimiser_g = torch.optim.Adam(weights_g, p.learning_rate_generator, betas, fused=True)
        self.optimiser_d = torch.optim.Adam(weights_d, p.learning_rate_discriminator, betas, fused=True)
        self.ema = Ema(self.generators, p.ema_decay, p.ema_warmup)
        self.pools = {name: ReplayPool(self.pool_size, seed, stream) for name, stream in DOMAINS}
        self.adversarial = Adversarial(p.gan_loss, p.label_smoothing)
        self.content = content.to(fabric.device) if content else None
        self.noise = torch.Generator()  # of the discriminators; every step seeds it: no state to save
        self.discriminator_rate = 1.0  # factor of their learning rate, for guards that slow them down

    @property
    def pool_size(self) -> int:
        """Generated examples kept for the discriminators; 0: none."""
        return 0

    def lambdas(self, step: int) -> dict[str, float]:
        """Weights of all losses at ``step``."""
        p = self.p
        return {
            "loss/adversarial": p.lambda_adversarial,
            "loss/feature_matching": p.lambda_feature_matching,
            "loss/content": p.lambda_content,
            "loss/gradient_penalty": p.lambda_gradient_penalty,
        }

    @abstractmethod
    def generator_losses(
        self, a: Tensor, b: Tensor, fake_a: Tensor, fake_b: Tensor, lambdas: dict[str, float]
    ) -> dict[str, Tensor]:
        """Further losses by name, from real crops and what was generated from them (``fake_b`` from ``a``);
        only those with a weight above 0 need be computed.
        """

    def step(
        self, a: Tensor, b: Tensor, step: int, more: Sequence[tuple[Tensor, Tensor]] = ()
    ) -> dict[str, Tensor]:
        """Train on real crops ``a`` and ``b`` (B, F, T) in -1..1; returns detached scalars by name.

        ``more`` crops: the discriminators take another step on each pair of them (with fresh fakes) before
        the next step of all.
        """
        p, g = self.p, self.generators
        factor = linear_rate(step / p.steps, p.decay_from)
        rate_d = p.learning_rate_discriminator * factor * self.discriminator_rate
        self.optimiser_g.param_groups[0]["lr"] = p.learning_rate_generator * factor
        self.optimiser_d.param_groups[0]["lr"] = rate_d
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

    def _step_generators(
        self, a: Tensor, b: Tensor, lambdas: dict[str, float]
    ) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        """Fool the frozen discriminators, and what else there is to learn."""
        g, d = self.generators, self.discriminators
        d.requires_grad_(False)
        with part("forward"), self.fabric.autocast():
            fake_b, fake_a = g["ab"](a), g["ba"](b)
            seen_b, seen_a = self._activations("b", fake_b, a), self._activations("a", fake_a, b)
            fooled = self.adversarial.generator(seen_b) + self.adversarial.generator(seen_a)
            losses = {"loss/adversarial": fooled}
            losses |= self.generator_losses(a, b, fake_a, fake_b, lambdas)
            if lambdas["loss/feature_matching"] > 0:
                with torch.no_grad():
                    real_b, real_a = self._activations("b", b, a), self._activations("a", a, b)
                of_a = feature_matching(real_a, seen_a, self.conditional)
                of_b = feature_matching(real_b, seen_b, self.conditional)
                losses["loss/feature_matching"] = of_b + of_a
            if lambdas["loss/content"] > 0:
                assert self.content is not None
                losses["loss/content"] = sum(
                    (self.content(y) - self.content(x)).abs().mean() for x, y in ((a, fake_b), (b, fake_a))
                )
            total = sum(lambdas[name] * loss for name, loss in losses.items())
        self._descend(self.optimiser_g, total)
        d.requires_grad_(True)
        losses["loss/generator"] = total
        return losses, fake_a, fake_b

    def _step_discriminators(
        self,
        a: Tensor,
        b: Tensor,
        fake_a: Tensor,
        fake_b: Tensor,
        lambdas: dict[str, float],
        step: int,
        draw: int,
    ) -> dict[str, Tensor]:
        """Tell real from generated, some of which is older (the pools)."""
        fake_a, fake_b = fake_a.detach(), fake_b.detach()
        old_b, old_a = self._pooled("b", fake_b, step, draw), self._pooled("a", fake_a, step, draw)
        with part("forward"), self.fabric.autocast():
            real_b, seen_b = self._activations("b", b, a), self._activations("b", old_b, a)
            loss = self.adversarial.discriminator(real_b, seen_b)
            real_a, seen_a = self._activations("a", a, b), self._activations("a", old_a, b)
            loss = loss + self.adversarial.discriminator(real_a, seen_a)
        total, figures = loss, {}
        if lambdas["loss/gradient_penalty"] > 0:  # in full precision: squares of small gradients
            with part("forward"):
                penalty = sum(
                    self._penalty(name, x, y, x_source, step, draw)
                    for name, x, y, x_source in (("b", b, fake_b, a), ("a", a, fake_a, b))
                )
            total = loss + lambdas["loss/gradient_penalty"] * penalty
            figures["loss/gradient_penalty"] = penalty / 2  # per discriminator
        self._descend(self.optimiser_d, total)
        figures["loss/discriminator"] = loss / 2  # per discriminator: 0.25 is chance for least squares
        # Mean scores of b's alone, as ``generator/change`` is that of ab: the guards watch both.
        figures["discriminator/real"] = mean([activations[-1].mean() for activations in real_b])
        figures["discriminator/fake"] = mean([activations[-1].mean() for activations in seen_b])
        return figures

    def _activations(self, domain: str, x: Tensor, source: Tensor) -> list[list[Tensor]]:
        """Activations of the discriminator of a domain; ``source`` is what ``x`` was made from, or its pair.

        Noise (Arjovsky and Bottou 2017) hides differences finer than itself, which discriminators would win
        by and generators would answer with texture.
        """
        if self.p.discriminator_noise:
            shape = (len(x) * self.fabric.world_size, *x.shape[1:])
            drawn = own_share(self.fabric, torch.randn(shape, generator=self.noise))
            x = x + self.p.discriminator_noise * drawn.to(x.device)
        return self.discriminators[domain](x, source if self.conditional else None)

    def _penalty(
        self, domain: str, real: Tensor, fake: Tensor, source: Tensor, step: int, draw: int
    ) -> Tensor:
        rng = np.random.default_rng([self.seed, INTERPOLATES[domain], step, draw])
        shares = torch.from_numpy(rng.random(len(real) * self.fabric.world_size, np.float32)).to(real.device)
        share, seen = own_share(self.fabric, shares), source if self.conditional else None
        return gradient_penalty(self.discriminators[domain], real, fake, share, seen)

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


class CycleGanTrainer(AdversarialTrainer):
    """Unpaired (Zhu et al. 2017), with TimbreTron's identity loss that falls linearly to zero: come back
    after a round trip, and leave the target domain alone.
    """

    @property
    def pool_size(self) -> int:
        return self.p.pool_size

    def lambdas(self, step: int) -> dict[str, float]:
        p: Params = self.p
        identity_left = max(0.0, 1 - step / (p.identity_until * p.steps)) if p.identity_until else 0.0
        return super().lambdas(step) | {
            "loss/cycle": p.lambda_cycle,
            "loss/identity": p.lambda_identity * identity_left,
        }

    def generator_losses(
        self, a: Tensor, b: Tensor, fake_a: Tensor, fake_b: Tensor, lambdas: dict[str, float]
    ) -> dict[str, Tensor]:
        g = self.generators
        losses = {"loss/cycle": (g["ba"](fake_b) - a).abs().mean() + (g["ab"](fake_a) - b).abs().mean()}
        if lambdas["loss/identity"] > 0:
            losses["loss/identity"] = (g["ab"](b) - b).abs().mean() + (g["ba"](a) - a).abs().mean()
        return losses
