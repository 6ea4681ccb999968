"""pix2pix's training: the same notes on the other instrument are known."""

from torch import Tensor

from retimbre.systems.cyclegan.step import AdversarialTrainer


class Pix2PixTrainer(AdversarialTrainer):
    """Paired (Isola et al. 2017), both directions at once: L1 to the true target, discriminators that see the source
    too, no pool. Crops ``a`` and ``b`` of a step are the same places of two performances of the same notes.
    """

    conditional = True

    @property
    def pool_size(self) -> int:
        return 0  # an older fake has another source

    def lambdas(self, step: int) -> dict[str, float]:
        return super().lambdas(step) | {"loss/l1": self.config.lambda_l1}

    def generator_losses(self, a: Tensor, b: Tensor, fake_a: Tensor, fake_b: Tensor, lambdas: dict[str, float]) -> dict[str, Tensor]:
        return {"loss/l1": (fake_b - b).abs().mean() + (fake_a - a).abs().mean()}
