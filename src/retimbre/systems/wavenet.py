"""Levels and instrument to samples: the conditional WaveNet, TimbreTron's own vocoder.

It predicts 8-bit mu-law codes of pre-emphasised audio, one sample at a time, and needs a long training.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from retimbre.audio.companding import deemphasis, mu_law_decode, mu_law_encode, preemphasis
from retimbre.audio.features import FeatureConfig
from retimbre.datasets.crops import AudioFeatureCrops
from retimbre.datasets.packed import PackedAudio, PackedFeatures
from retimbre.models.generation.sampler import State, forced_logits, generate
from retimbre.models.wavenet import WaveNet, WaveNetConfig
from retimbre.params import Vocoder as VocoderParams
from retimbre.systems.vocoder_parts import Part, Training
from retimbre.tracking import StageRun
from retimbre.training.checkpoint import Scratch
from retimbre.training.devices import make_fabric
from retimbre.training.loop import Loop
from retimbre.training.vocoder import WaveNetTrainer


def encode_audio(x: np.ndarray, coefficient: float, gain: float) -> np.ndarray:
    """Audio (..., N) to the codes that the WaveNet predicts: pre-emphasis, gain, 8-bit mu-law."""
    return mu_law_encode(gain * preemphasis(x, coefficient))


def decode_audio(codes: np.ndarray, coefficient: float, gain: float) -> np.ndarray:
    """The inverse of ``encode_audio``, up to the quantiser."""
    return deemphasis(mu_law_decode(codes) / gain, coefficient).astype(np.float32)


class WaveNetVocoder(Part):
    """Audio sampled from the conditional WaveNet."""

    name = "wavenet"

    @classmethod
    def build(cls, config: dict[str, Any]) -> nn.Module:
        return WaveNet(WaveNetConfig(**config["wavenet"]))

    @classmethod
    def fit(cls, training: Training, parts: Mapping[str, Part]) -> tuple[nn.Module, dict[str, Any], list[dict[str, float]]]:
        p = training.params
        network, curves = fit_wavenet(training.audio, training.features, p, training.seed, training.scratch, training.run)
        names = ("wavenet_preemphasis", "wavenet_gain", "wavenet_temperature")
        return network.cpu(), {"wavenet": network.config.to_dict(), **{name: getattr(p, name) for name in names}}, curves

    def wavenet(
        self,
        level_db: np.ndarray,
        domain: str,
        length: int,
        seed: int = 0,
        temperature: float | None = None,
        before: np.ndarray | None = None,
    ) -> np.ndarray:
        """Audio (N,) of ``length`` samples, sampled; the same seed gives the same samples.

        ``before`` (M,): the first M samples as they were made already; sampling goes on where they end.
        """
        temperature = self.config["wavenet_temperature"] if temperature is None else temperature
        index = torch.tensor([self.domains.index(domain)])
        levels = self.clipped(level_db)
        state = State(self.network, 1, seed)
        made = np.zeros((1, 0), np.int64)
        if before is not None and len(before):
            made = encode_audio(before[:length], self.config["wavenet_preemphasis"], self.config["wavenet_gain"])[None]
            forced_logits(self.network, levels, index, made, state=state)  # brings the state to where `before` ends
        codes = made[0]
        if length > len(codes):
            drawn = generate(self.network, levels, index, length - len(codes), temperature, state=state)
            codes = np.concatenate([codes, np.asarray(drawn[0], np.int64)])
        return decode_audio(codes, self.config["wavenet_preemphasis"], self.config["wavenet_gain"])

    def synthesise(
        self,
        kind: str,
        level_db: np.ndarray,
        length: int,
        domain: str,
        source: np.ndarray | None = None,
        seed: int = 0,
        before: np.ndarray | None = None,
    ) -> np.ndarray:
        return self.wavenet(level_db, domain, length, seed, before=before)


def fit_wavenet(
    audio: PackedAudio, features: PackedFeatures, p: VocoderParams, seed: int, scratch: Scratch, run: StageRun
) -> tuple[WaveNet, list[dict[str, float]]]:
    """Train on every domain's training split: samples given the levels and the domain."""
    fabric = make_fabric(p.accelerator, 1, p.precision)
    config: FeatureConfig = features.config
    statistics = features.statistics[p.representation]
    domains = features.domains
    crops = AudioFeatureCrops(audio, features, [p.representation], domains, "train", p.wavenet_crop_frames, p.wavenet_batch_size, seed, 40)

    def codes_of(batch: dict[str, torch.Tensor]) -> torch.Tensor:
        return torch.from_numpy(encode_audio(batch["audio"].numpy(), p.wavenet_preemphasis, p.wavenet_gain).astype(np.int64))

    # The output starts as the codes' overall distribution, counted on crops that are not trained on yet.
    histogram = torch.bincount(
        torch.cat([codes_of(crops.batch(step)).flatten() for step in range(p.wavenet_steps, p.wavenet_steps + 32)]), minlength=256
    )
    torch.manual_seed(seed)
    network = WaveNet(
        WaveNetConfig(
            feature_bins=config.bins(p.representation),
            hop_length=config.hop_length,
            n_domains=len(domains),
            layers=p.wavenet_layers,
            layers_per_stack=p.wavenet_layers_per_stack,
            kernel=p.wavenet_kernel,
            residual_channels=p.wavenet_residual_channels,
            skip_channels=p.wavenet_skip_channels,
            conditioning_channels=p.wavenet_conditioning_channels,
        ),
        torch.tensor([statistics["mean_db"][d] for d in domains]).mean(0),
        torch.tensor([statistics["std_db"][d] for d in domains]).mean(0),
        histogram,
    )
    trainer = WaveNetTrainer(network, p.wavenet_steps, p.wavenet_learning_rate, fabric)
    loop = Loop(
        "wavenet", p.wavenet_steps, scratch, run, trainer.state_dict, trainer.load_state_dict, None, p.log_every, p.checkpoint_every
    )

    def draw(step: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        batch = crops.batch(step)
        level_db = batch[p.representation].clamp(statistics["top_db"] - config.range_db, statistics["top_db"])
        return codes_of(batch), level_db, batch["domain"]

    batch = loop.ahead(draw)
    for step in loop:
        loop.add(trainer.step(*batch(step), step))
    return network, loop.curves()
