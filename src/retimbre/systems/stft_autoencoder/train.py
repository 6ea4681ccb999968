"""Training of the autoencoders: each instrument's spectra through its own decoder and back."""

import torch
from torch import Tensor

from retimbre.audio.features import normalise
from retimbre.datasets.packed.crops import FeatureCrops
from retimbre.datasets.packed.data import Data, base_config
from retimbre.errors import RetimbreError
from retimbre.systems.stft_autoencoder.network import Autoencoders, FramesConfig
from retimbre.systems.stft_autoencoder.params import Params
from retimbre.systems.stft_autoencoder.system import Change
from retimbre.training import fit as loop
from retimbre.training.processes import check_batch
from retimbre.training.timing import part
from retimbre.training.trainer import CosineTrainer

GRADIENT_NORM = 1.0
COUNTED = 64  # batches whose principal components are the start


class FrameTrainer(CosineTrainer):
    """Mean squared error of spectra in -1..1, the mean over the instruments."""

    def step(self, *batch_and_number: Tensor | int) -> dict[str, Tensor]:
        *spectra, step = batch_and_number
        context = self.network.config.context_frames
        losses = []
        for instrument, x in enumerate(self.own(*spectra)):
            with part("forward"), self.fabric.autocast():
                error = (self.network(x, instrument) - x)[..., context:]  # a crop's first frames lack context
            losses.append(error.float().square().mean())
        loss = torch.stack(losses).mean()
        self.descend(loss, step)
        return {"loss/mse": loss.detach()}


def fit(data: Data, p: Params, run: loop.Run) -> tuple[Change, loop.History]:
    """Train for all domains of the data. Raises RetimbreError for a code wider than its spectra."""
    check_batch(p.batch_size, run.fabric, f"{p.section}.batch_size")
    features, representation = data.features, "stft"
    config = base_config(data.audio, features, representation)
    bins = features.config.bins(representation)
    if p.code > bins:
        raise RetimbreError(f"{p.section}.code is {p.code}, and a spectrum has {bins} bins: use no more.")
    range_db = features.config.range_db
    size = (p.crop_frames, p.batch_size, run.seed)
    crops = [
        FeatureCrops(features, representation, d, "train", *size, n, parameter=f"{p.section}.crop_frames")
        for n, d in enumerate(features.domains)
    ]

    def draw(number: int) -> list[Tensor]:
        return [normalise(c.batch(number), config["top_db"], range_db) for c in crops]

    torch.manual_seed(run.seed)
    shape = FramesConfig(bins, len(crops), p.encoder, p.memory, p.context_frames, tuple(p.widths), p.code)
    networks = Autoencoders(shape)
    counted = zip(*(draw(p.steps + n) for n in range(COUNTED)), strict=True)  # which are not trained on
    networks.start_at([torch.cat(x).transpose(1, 2).flatten(0, 1) for x in counted])
    trainer = FrameTrainer(networks, p.steps, p.learning_rate, GRADIENT_NORM, run.fabric)
    history = loop.fit(p.section, p.steps, trainer, draw, run)
    return Change(trainer.network.cpu().requires_grad_(False), config), history
