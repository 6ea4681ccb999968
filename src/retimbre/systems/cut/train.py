"""Training of CUT: in each direction one generator, one discriminator, and the contrastive loss."""

from typing import Any

import torch
from torch import Tensor, nn

from retimbre.datasets.packed.data import Data
from retimbre.systems.cut.network import Encoder, Heads, at_places, draw_places, patch_nce
from retimbre.systems.cut.params import Params
from retimbre.systems.cyclegan.step import AdversarialTrainer
from retimbre.systems.cyclegan.system import Change
from retimbre.systems.cyclegan.train import fit_unpaired
from retimbre.training.fit import History, Run
from retimbre.training.gan import mean


class CutTrainer(AdversarialTrainer):
    """PatchNCE of input and output in the place of the cycle; of a real target too if ``nce_identity``,
    halved together. The two directions share nothing.
    """

    def __init__(self, *arguments: Any):
        super().__init__(*arguments)
        p: Params = self.p
        self.encoders = {name: Encoder(g, p.nce_layers) for name, g in self.generators.items()}
        with torch.no_grad():
            bins = self.generators["ab"].config.bins
            some = torch.zeros(1, bins, p.crop_frames, device=self.fabric.device)
            sizes = [x.shape[1] for x in self.encoders["ab"](some)]
        heads = {name: Heads(sizes, p.nce_channels) for name in self.encoders}
        self.heads = nn.ModuleDict(heads).to(self.fabric.device)
        self.networks += self.heads.values()
        # They learn with the generators, by the same optimiser.
        self.optimiser_g.param_groups[0]["params"].extend(self.heads.parameters())

    def lambdas(self, step: int) -> dict[str, float]:
        share = 0.5 if self.p.nce_identity else 1.0
        nce = {"loss/nce": share * self.p.lambda_nce}
        return super().lambdas(step) | nce | ({"loss/nce_identity": nce["loss/nce"]} if share < 1 else {})

    def generator_losses(
        self, a: Tensor, b: Tensor, fake_a: Tensor, fake_b: Tensor, lambdas: dict[str, float]
    ) -> dict[str, Tensor]:
        losses = {"loss/nce": self._nce("ab", a, fake_b) + self._nce("ba", b, fake_a)}
        if self.p.nce_identity:
            kept_b, kept_a = self.generators["ab"](b), self.generators["ba"](a)
            losses["loss/nce_identity"] = self._nce("ab", b, kept_b) + self._nce("ba", a, kept_a)
        return losses

    def _nce(self, way: str, x: Tensor, y: Tensor) -> Tensor:
        """PatchNCE of what a generator made, ``y``, of ``x`` (B, F, T): the mean over its layers."""
        p, encoder, heads = self.p, self.encoders[way], self.heads[way]
        queries = encoder(y)
        places = draw_places(queries, p.nce_places, self.noise)
        found = heads(at_places(queries, places))
        with torch.no_grad():
            known = heads(at_places(encoder(x), places))
        return mean([patch_nce(q, k, p.nce_temperature) for q, k in zip(found, known, strict=True)])

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"heads": self.heads.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.heads.load_state_dict(state["heads"])
        super().load_state_dict(state)


def fit(data: Data, p: Params, run: Run) -> tuple[Change, History]:
    """As the CycleGAN's: both directions of the first two domains, unpaired."""
    return fit_unpaired("cut", CutTrainer, data, p, run)
