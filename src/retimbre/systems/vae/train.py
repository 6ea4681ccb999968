"""Training of the variational autoencoder: the evidence lower bound, in nats per frame.

Posterior collapse is the known failure, so every tenth of the training says how many bits a code has, and
how many more a frame costs when it is given another crop's code.
"""

import math

import torch
from torch import Tensor

from retimbre.audio.features import normalise
from retimbre.datasets.packed.crops import FeatureCrops
from retimbre.datasets.packed.data import Data, base_config
from retimbre.nn.spectral.gaussian import drawn, kl_nats, paid_nats
from retimbre.systems.vae.network import Vae, VaeConfig
from retimbre.systems.vae.params import Params
from retimbre.systems.vae.system import Change
from retimbre.training import fit as loop
from retimbre.training.processes import check_batch
from retimbre.training.timing import part
from retimbre.training.trainer import CosineTrainer

GRADIENT_NORM = 1.0  # of the loss per bin


class VaeTrainer(CosineTrainer):
    """Negative log-likelihood, and ``beta`` times the bits of the codes that are not free."""

    def __init__(self, network: Vae, p: Params, run: loop.Run):
        super().__init__(network, p.steps, p.learning_rate, GRADIENT_NORM, run.fabric)
        self.p = p

    def step(self, *batch_and_number: Tensor | int) -> dict[str, Tensor]:
        *spectra, step = batch_and_number
        nll, kl = [], []
        with part("forward"), self.fabric.autocast():
            for decoder, x in zip(self.network.decoders, self.own(*spectra), strict=True):
                code = self.network.encoder(x)
                nll.append(decoder.nats(drawn(*code), x))
                kl.append(paid_nats(kl_nats(*code).float(), self.p.free_bits))
            losses = {"loss/nll": torch.stack(nll).mean(), "loss/kl": torch.stack(kl).mean()}
            bound = losses["loss/nll"] + self.p.beta * losses["loss/kl"]
        self.descend(bound / self.network.config.bins, step)
        return {name: value.detach() for name, value in losses.items()}


@torch.no_grad()
def figures(network: Vae, spectra: list[Tensor]) -> dict[str, float]:
    """Bits of a code, and those per frame that another crop's codes cost: means over (B, F, T) of each
    instrument; B of 2 and more.
    """
    bits, cost = [], []
    for decoder, x in zip(network.decoders, spectra, strict=True):
        mean, log_variance = network.encoder(x)
        bits.append(kl_nats(mean, log_variance).sum(1).mean())
        cost.append(decoder.nats(mean.roll(1, 0), x) - decoder.nats(mean, x))
    found = {"code/kl_bits": bits, "code/shuffled_cost_bits": cost}
    return {name: float(torch.stack(values).mean()) / math.log(2) for name, values in found.items()}


def fit(data: Data, p: Params, run: loop.Run) -> tuple[Change, loop.History]:
    """Train for all domains of the data."""
    check_batch(p.batch_size, run.fabric, f"{p.section}.batch_size")
    features = data.features
    config = base_config(data.audio, features, p.representation)
    size = (p.crop_frames, p.batch_size, run.seed)
    crops = [
        FeatureCrops(features, p.representation, d, "train", *size, n, parameter=f"{p.section}.crop_frames")
        for n, d in enumerate(features.domains)
    ]

    def draw(number: int) -> list[Tensor]:
        return [normalise(c.batch(number), config["top_db"], features.config.range_db) for c in crops]

    torch.manual_seed(run.seed)
    shape = VaeConfig(features.config.bins(p.representation), len(crops), p.channels, p.blocks, p.code)
    trainer = VaeTrainer(Vae(shape), p, run)
    watched = [x.to(run.fabric.device) for x in draw(p.steps)]  # of a number that no step draws

    def validate(done: int) -> dict[str, float]:
        return figures(trainer.network, watched)

    history = loop.fit(p.section, p.steps, trainer, draw, run, validate=validate)
    return Change(trainer.network.cpu().requires_grad_(False), config), history
