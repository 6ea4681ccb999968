"""Levels to audio through STFT magnitudes: the spectral inverter, and the phases that it is given.

- ``source_phase``: the phases of the source recording. Cheap and clean, but it inherits the source's
  notes and timing, which must not be credited to a generator.
- ``griffin_lim``: phases by SPSI and fast Griffin-Lim. Needs no source. Low constant-Q bins are turned into a signal of their own,
  which takes the place of the network's magnitudes there (``audio.low_band``): chords keep their notes.

Levels of the STFT itself are magnitudes already: there is nothing to train. What lies at the floor of the range is silent
there, not a hiss at the floor's level, which would be heard (2 dB of log-spectral distance on the source's phases).
"""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import nn

from retimbre.audio.features import FeatureConfig, magnitude
from retimbre.audio.low_band import LowBand, splice
from retimbre.audio.spectral import griffin_lim, istft, mel_filters, spsi_phase, stft
from retimbre.datasets.packed.crops import FeatureCrops
from retimbre.datasets.packed.format import PackedFeatures
from retimbre.params import Vocoder as VocoderParams
from retimbre.tracking import StageRun
from retimbre.training.checkpoint import Scratch
from retimbre.training.devices import compiled, make_fabric
from retimbre.training.fit import Loop
from retimbre.training.processes import check_batch
from retimbre.vocoders.base import Part, Request, Training
from retimbre.vocoders.inverter.network import InverterConfig, SpectralInverter
from retimbre.vocoders.steps import InverterTrainer

AT_FLOOR_DB = 0.1  # above the floor: levels are kept as float16, which rounds


class Inverter(Part):
    """Levels to STFT magnitudes, on phases of the source or found for them."""

    name = "inverter"

    @classmethod
    def build(cls, config: dict[str, Any]) -> nn.Module | None:
        return None if config["representation"] == "stft" else SpectralInverter(InverterConfig(**config["inverter"]))

    @classmethod
    def fit(cls, training: Training, parts: Mapping[str, Part]) -> tuple[nn.Module | None, dict[str, Any], list[dict[str, float]]]:
        p = training.params
        settings = {name: getattr(p, name) for name in ("griffin_lim_iterations", "low_band_hops", "low_band_iterations")}
        if p.representation == "stft":
            return None, settings, []
        network, curves = fit_inverter(training.features, p, training.seed, training.scratch, training.run)
        return network.cpu(), {"inverter": network.config.to_dict(), **settings}, curves

    @cached_property
    def low_band(self) -> LowBand | None:
        """What inverts the low constant-Q bins; None without any (other representations; folders of before it existed)."""
        hops = self.config.get("low_band_hops", 0)
        if self.representation != "cqt" or not hops:
            return None
        band = LowBand(self.features, hops).to(self.device)
        return band if band.bins else None

    @property
    def floor_db(self) -> float:
        """Where the range of levels ends: what lies there is silent."""
        return self.top_db - self.features.range_db

    @torch.no_grad()
    def stft_magnitude(self, level_db: np.ndarray) -> torch.Tensor:
        """Levels (F, T) in dB to STFT magnitudes (1, K, T)."""
        if self.network is not None:
            return magnitude(self.network(self.normalised(level_db)))
        levels = torch.from_numpy(np.ascontiguousarray(level_db, np.float32))[None]
        return magnitude(levels) * (levels > self.floor_db + AT_FLOOR_DB)

    @torch.no_grad()
    def source_phase(self, level_db: np.ndarray, source: np.ndarray) -> np.ndarray:
        """Audio (N,) from levels (F, T) and the source recording (N,), T = N // hop + 1."""
        n_fft, hop = self.features.stft_n_fft, self.features.hop_length
        phase = torch.angle(stft(torch.from_numpy(np.ascontiguousarray(source, np.float32))[None].to(self.device), n_fft, hop))
        return istft(torch.polar(self.stft_magnitude(level_db), phase), n_fft, hop, len(source))[0].cpu().numpy()

    @torch.no_grad()
    def griffin_lim(self, level_db: np.ndarray, length: int, iterations: int | None = None, before: np.ndarray | None = None) -> np.ndarray:
        """Audio (N,) of ``length`` samples from levels (F, T) alone.

        ``before`` (M,): the first M samples as they were made already, whose phases are continued.
        """
        n_fft, hop = self.features.stft_n_fft, self.features.hop_length
        spectrum = self.stft_magnitude(level_db)
        known = None
        if before is not None and (frames := (len(before) - n_fft // 2) // hop) > 0:  # whole windows only
            known = np.angle(stft(torch.from_numpy(np.ascontiguousarray(before))[None], n_fft, hop)[0, :, :frames].numpy())
        phase = spsi_phase(spectrum[0].cpu().numpy(), n_fft, hop, known)
        phase = torch.from_numpy(phase).to(self.device, torch.float32)[None]
        if band := self.low_band:
            low = band(level_db, self.floor_db, length, self.config["low_band_iterations"], before)
            spectrum, phase = splice(spectrum, phase, stft(low, n_fft, hop), band.crossover_hz, self.features.sample_rate / n_fft)
        iterations = self.config["griffin_lim_iterations"] if iterations is None else iterations
        return griffin_lim(spectrum, n_fft, hop, length, iterations, initial_phase=phase)[0].cpu().numpy()

    def synthesise(self, wanted: Request) -> np.ndarray:
        if wanted.kind == "griffin_lim":
            return self.griffin_lim(wanted.level_db, wanted.length, before=wanted.before)
        source = wanted.source[: wanted.length]  # a second performance may be shorter or longer
        return self.source_phase(wanted.level_db, np.pad(source, (0, wanted.length - len(source))))


def fit_inverter(
    features: PackedFeatures, p: VocoderParams, seed: int, scratch: Scratch, run: StageRun
) -> tuple[SpectralInverter, list[dict[str, float]]]:
    """Train on every domain's training split: levels of ``p.representation`` to STFT levels."""
    fabric = make_fabric(p.accelerator, p.devices, p.precision, p.nodes)
    config: FeatureConfig = features.config
    statistics = features.statistics[p.representation]
    domains = features.domains
    torch.manual_seed(seed)
    network = SpectralInverter(InverterConfig(config.bins(p.representation), config.stft_n_fft, p.inverter_channels, p.inverter_blocks))
    bands = mel_filters(config.sample_rate, config.stft_n_fft, config.mel_bins)
    scale = statistics["top_db"], config.range_db
    trainer = InverterTrainer(network, p.inverter_steps, p.inverter_learning_rate, fabric, *scale, seed, bands, p.inverter_band_weight)
    share = max(1, p.inverter_batch_size // len(domains))
    check_batch(share * len(domains), fabric, f"vocoder.inverter_batch_size, as a multiple of the {len(domains)} domains,")
    # The same seed and stream draw the same places, so that the two batches show the same audio.
    pairs = [
        [
            FeatureCrops(features, r, d, "train", p.inverter_crop_frames, share, seed, 30 + i, parameter="vocoder.inverter_crop_frames")
            for r in (p.representation, "stft")
        ]
        for i, d in enumerate(domains)
    ]
    states = trainer.state_dict, trainer.load_state_dict
    loop = Loop("inverter", p.inverter_steps, scratch, run, *states, None, p.log_every, p.checkpoint_every, fabric=fabric)

    def draw(step: int) -> list[torch.Tensor]:
        return [torch.cat(batches) for batches in zip(*[[crops.batch(step) for crops in pair] for pair in pairs], strict=True)]

    batch = loop.ahead(draw)
    with compiled(p.compile, network):
        for step in loop:
            loop.add(trainer.step(*batch(step), step))
    return network, loop.curves()
