"""Training of the spectral inverter: features to STFT magnitudes, frame by frame."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from retimbre.audio.features import normalise
from retimbre.audio.spectral import mel_filters
from retimbre.datasets.packed.crops import FeatureCrops
from retimbre.datasets.packed.data import Data, base_config
from retimbre.nn.weights import check_features, shipped_folder
from retimbre.training.fit import History, Run
from retimbre.training.fit import fit as fit_network
from retimbre.training.processes import check_batch
from retimbre.training.timing import part
from retimbre.training.trainer import CosineTrainer
from retimbre.vocoders.base import Renderer
from retimbre.vocoders.inverter.consistency import consistency_of
from retimbre.vocoders.inverter.convnext import BandDistance
from retimbre.vocoders.inverter.network import InverterConfig, SpectralInverter, inverter_loss
from retimbre.vocoders.inverter.params import Params
from retimbre.vocoders.inverter.vocoder import Inverter
from retimbre.vocoders.params import Rendering

if TYPE_CHECKING:
    from lightning_fabric import Fabric  # seconds to import, which a transfer does without

GRADIENT_NORM = 10.0  # the loss is in dB
GAIN_DB = (-12.0, 3.0)  # random gain of training crops: transferred music is not levelled


class InverterTrainer(CosineTrainer):
    """Features in dB to STFT levels in dB, both moved by one random gain per crop.

    ``bands`` (M, K): filters of the loss's second term, which counts ``p.band_weight`` times.
    """

    def __init__(
        self,
        network: SpectralInverter,
        p: Params,
        fabric: "Fabric",
        top_db: float,
        range_db: float,
        seed: int,
        bands: Tensor,
    ):
        super().__init__(network, p.steps, p.learning_rate, GRADIENT_NORM, fabric)
        self.top_db, self.range_db, self.seed = top_db, range_db, seed
        self.band_distance, self.band_weight = BandDistance(bands).to(fabric.device), p.band_weight

    def step(self, feature_db: Tensor, stft_db: Tensor, step: int) -> dict[str, Tensor]:
        """``feature_db`` (B, F, T) and ``stft_db`` (B, K, T) of the same audio."""
        rng = np.random.default_rng([self.seed, 21, step])
        change = torch.from_numpy(rng.uniform(*GAIN_DB, (len(feature_db), 1, 1)).astype(np.float32))
        z, target = self.own(normalise(feature_db + change, self.top_db, self.range_db), stft_db + change)
        with part("forward"), self.fabric.autocast():
            predicted = self.network(z)
            losses = {"inverter/l1_db": inverter_loss(predicted, target)}
        loss = losses["inverter/l1_db"]
        if self.band_weight:
            losses["inverter/band_lsd_db"] = self.band_distance(predicted, target)
            loss = loss + self.band_weight * losses["inverter/band_lsd_db"]
        self.descend(loss, step)
        return {name: value.detach() for name, value in losses.items()}


def started(name: str, config: Mapping[str, Any]) -> Inverter:
    """The shipped inverter that the training goes on from, as its layers alone make it.

    Raises RetimbreError unless it knows the features.
    """
    parameter = "vocoder.inverter.start_from"
    start = Inverter.load(shipped_folder(name, parameter) / "vocoder" / "inverter", {}, Rendering())
    own, theirs = ([x["features"], x["representation"]] for x in (config, start.config))
    check_features(own, theirs, name, parameter)
    start.network.consistency = None
    return start


def fit(
    data: Data, p: Params, representation: str, run: Run, below: Mapping[str, Renderer]
) -> tuple[Inverter, History]:
    """Train on every domain's training split; the STFT itself needs no network."""
    config = base_config(data.audio, data.features, representation)
    if representation == "stft":
        return Inverter(None, config, below), []
    features, domains, c = data.features, data.features.domains, data.features.config
    torch.manual_seed(run.seed)
    shape = InverterConfig(c.bins(representation), c.stft_n_fft, p.channels, p.blocks)
    network = SpectralInverter(shape)
    if p.start_from:
        start = started(p.start_from, config)
        network, config["top_db"] = start.network.train().requires_grad_(True), start.top_db
    bands = mel_filters(c.sample_rate, c.stft_n_fft, c.mel_bins)
    trainer = InverterTrainer(network, p, run.fabric, config["top_db"], c.range_db, run.seed, bands)
    share = max(1, p.batch_size // len(domains))
    named = f"vocoder.inverter.batch_size, as a multiple of the {len(domains)} domains,"
    check_batch(share * len(domains), run.fabric, named)
    # The same seed and stream draw the same places, so that the two batches show the same audio.
    size, key = (p.crop_frames, share, run.seed), {"parameter": "vocoder.inverter.crop_frames"}
    pairs = [
        [FeatureCrops(features, r, d, "train", *size, 30 + i, **key) for r in (representation, "stft")]
        for i, d in enumerate(domains)
    ]

    def draw(step: int) -> list[Tensor]:
        drawn = [[crops.batch(step) for crops in pair] for pair in pairs]
        return [torch.cat(batches) for batches in zip(*drawn, strict=True)]

    history = fit_network("inverter", p.steps, trainer, draw, run)
    network.consistency = consistency_of(config, c.stft_n_fft)  # in use alone
    return Inverter(network.cpu(), config | {"inverter": network.config.to_dict()}, below), history
