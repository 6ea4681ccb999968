"""CycleGAN's training: come back after a round trip, and leave the target domain alone."""

from torch import Tensor

from retimbre.systems.cyclegan.step import AdversarialTrainer


class CycleGanTrainer(AdversarialTrainer):
    """Unpaired (Zhu et al. 2017), with TimbreTron's identity loss that falls linearly to zero."""

    def lambdas(self, step: int) -> dict[str, float]:
        c = self.config
        identity_left = max(0.0, 1 - step / (c.identity_until * c.steps)) if c.identity_until else 0.0
        return super().lambdas(step) | {"loss/cycle": c.lambda_cycle, "loss/identity": c.lambda_identity * identity_left}

    def generator_losses(self, a: Tensor, b: Tensor, fake_a: Tensor, fake_b: Tensor, lambdas: dict[str, float]) -> dict[str, Tensor]:
        g = self.generators
        losses = {"loss/cycle": (g["ba"](fake_b) - a).abs().mean() + (g["ab"](fake_a) - b).abs().mean()}
        if lambdas["loss/identity"] > 0:
            losses["loss/identity"] = (g["ab"](b) - b).abs().mean() + (g["ba"](a) - a).abs().mean()
        return losses
