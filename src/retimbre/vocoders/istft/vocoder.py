"""Levels to audio by a small network with an inverse-STFT head: needs no source, and is fast."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from retimbre.audio.spectral import stft
from retimbre.datasets.packed.crops import AudioFeatureCrops
from retimbre.training.devices import compiled, make_fabric
from retimbre.training.fit import Loop
from retimbre.training.processes import check_batch
from retimbre.vocoders.base import Part, Request, Training
from retimbre.vocoders.inverter.network import SpectralInverter
from retimbre.vocoders.istft.network import IstftConfig, IstftNet
from retimbre.vocoders.istft.train import IstftTrainer

MAGNITUDE_SHARE = 0.4  # of the steps, which fit levels alone where there is no inverter to start from


class IstftVocoder(Part):
    """Audio of the inverse-STFT network."""

    name = "istft"

    @classmethod
    def build(cls, config: dict[str, Any]) -> nn.Module:
        return IstftNet(IstftConfig(**config["istft"]))

    @classmethod
    def fit(cls, training: Training, parts: Mapping[str, Part]) -> tuple[nn.Module, dict[str, Any], list[dict[str, float]]]:
        network, curves = fit_istft(training, parts["inverter"].network)
        return network.cpu(), {"istft": network.config.to_dict()}, curves

    @torch.no_grad()
    def synthesise(self, wanted: Request) -> np.ndarray:
        n_fft, hop = self.network.config.n_fft, self.network.config.hop_length
        known = None
        if wanted.before is not None and (frames := (len(wanted.before) - n_fft // 2) // hop) > 0:  # whole windows only
            made = torch.from_numpy(np.ascontiguousarray(wanted.before, np.float32))[None].to(self.device)
            known = torch.angle(stft(made, n_fft, hop)[..., :frames])
        return self.network(self.normalised(wanted.level_db), wanted.length, known)[0].cpu().numpy()


def fit_istft(training: Training, inverter: SpectralInverter | None) -> tuple[IstftNet, list[dict[str, float]]]:
    """Train on every domain's training split: levels of ``representation`` to audio, from the inverter's weights on (None: from none)."""
    p, features, statistics = training.params, training.features, training.features.statistics[training.params.representation]
    config, domains = features.config, features.domains
    fabric = make_fabric(p.accelerator, p.devices, p.precision, p.nodes)
    check_batch(p.istft_batch_size, fabric, "vocoder.istft_batch_size")
    size = p.istft_crop_frames, p.istft_batch_size
    crops = AudioFeatureCrops(
        training.audio, features, [p.representation], domains, "train", *size, training.seed, 50, "vocoder.istft_crop_frames"
    )
    torch.manual_seed(training.seed)
    bins = config.bins(p.representation)
    network = IstftNet(IstftConfig(bins, config.hop_length, p.istft_n_fft, p.inverter_channels, p.inverter_blocks, p.istft_projections))
    if inverter is not None:
        network.start_at(inverter)
    trainer = IstftTrainer(
        network,
        p.istft_steps,
        p.istft_learning_rate,
        fabric,
        statistics["top_db"],
        config.range_db,
        config.sample_rate,
        training.seed,
        0.0 if inverter is not None else MAGNITUDE_SHARE,
        p.istft_lambda_adversarial if p.istft_adversarial else 0.0,
        p.istft_lambda_feature_matching,
    )
    scratch, run = training.scratch, training.run
    states = trainer.state_dict, trainer.load_state_dict
    loop = Loop("istft", p.istft_steps, scratch, run, *states, None, p.log_every, p.checkpoint_every, fabric=fabric)
    batch = loop.ahead(crops.batch)
    with compiled(p.compile, *trainer.nets.values()):
        for step in loop:
            drawn = batch(step)
            loop.add(trainer.step(drawn[p.representation], drawn["audio"], step))
    return trainer.network, loop.curves()
