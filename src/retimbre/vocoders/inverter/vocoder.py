"""Spectra to audio through STFT magnitudes: the spectral inverter, and the phases that it is given.

- ``source_phase``: the phases of the source recording. Cheap and clean, but it inherits the source's
  notes and timing, which must not be credited to a generator.
- ``griffin_lim``: phases by SPSI and fast Griffin-Lim. Needs no source. Low constant-Q bins are turned into
  a signal of their own, which takes the place of the network's magnitudes there (``audio.low_band``): chords
  keep their notes.

An STFT's spectrum is magnitudes already: there is nothing to train. What lies at the floor of the range is
silent there, not a hiss at the floor's level, which would be heard (2 dB of log-spectral distance on the
source's phases).
"""

from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import nn

from retimbre.audio.features import magnitude, normalise
from retimbre.audio.low_band import LowBand, splice
from retimbre.audio.spectral import griffin_lim, istft, spsi_phase, stft
from retimbre.vocoders.base import Renderer, Request
from retimbre.vocoders.inverter.consistency import consistency_of
from retimbre.vocoders.inverter.network import InverterConfig, SpectralInverter
from retimbre.vocoders.params import GriffinLim, Rendering

AT_FLOOR_DB = 0.1  # above the floor: levels are kept as float16, which rounds


class Inverter(Renderer):
    """Spectra to STFT magnitudes, on phases of the source or found for them."""

    name = "inverter"

    @classmethod
    def build(cls, config: dict[str, Any]) -> nn.Module | None:
        if config["representation"] == "stft":
            return None
        shape = InverterConfig(**config["inverter"])
        return SpectralInverter(shape, consistency_of(config, shape.n_fft))

    @classmethod
    def settings_of(cls, rendering: Rendering) -> GriffinLim:
        return rendering.griffin_lim

    @cached_property
    def low_band(self) -> LowBand | None:
        """Inversion of the low constant-Q bins; None without any (other representations have none)."""
        if self.representation != "cqt" or not self.settings.low_band_hops:
            return None
        band = LowBand(self.features, self.settings.low_band_hops).to(self.device)
        return band if band.bins else None

    @property
    def floor_db(self) -> float:
        """Lower end of the range of spectra: what lies there is silent."""
        return self.top_db - self.features.range_db

    @torch.no_grad()
    def stft_magnitude(self, spectrum_db: np.ndarray) -> torch.Tensor:
        """Spectrum (F, T) in dB to STFT magnitudes (1, K, T)."""
        levels = torch.from_numpy(np.ascontiguousarray(spectrum_db, np.float32))[None]
        return self.magnitudes(levels.to(self.device))

    def magnitudes(self, spectrum_db: torch.Tensor) -> torch.Tensor:
        """Spectra (B, F, T) in dB to STFT magnitudes (B, K, T)."""
        if self.network is None:
            return magnitude(spectrum_db) * (spectrum_db > self.floor_db + AT_FLOOR_DB)
        return magnitude(self.network(normalise(spectrum_db, self.top_db, self.features.range_db)))

    @torch.no_grad()
    def source_phase(self, spectrum_db: np.ndarray, source: np.ndarray) -> np.ndarray:
        """Audio (N,) from a spectrum (F, T) and the source recording (N,), T = N // hop + 1."""
        n_fft, hop = self.features.stft_n_fft, self.features.hop_length
        x = torch.from_numpy(np.ascontiguousarray(source, np.float32))[None].to(self.device)
        X = torch.polar(self.stft_magnitude(spectrum_db), torch.angle(stft(x, n_fft, hop)))
        return istft(X, n_fft, hop, len(source))[0].cpu().numpy()

    @torch.no_grad()
    def griffin_lim(
        self,
        spectrum_db: np.ndarray,
        length: int,
        iterations: int | None = None,
        before: np.ndarray | None = None,
    ) -> np.ndarray:
        """Audio (N,) of ``length`` samples from a spectrum (F, T) alone.

        ``before`` (M,): the first M samples as they were made already, whose phases are continued.
        """
        n_fft, hop = self.features.stft_n_fft, self.features.hop_length
        spectrum = self.stft_magnitude(spectrum_db)
        known = None
        if before is not None and (frames := (len(before) - n_fft // 2) // hop) > 0:  # whole windows only
            made = stft(torch.from_numpy(np.ascontiguousarray(before))[None], n_fft, hop)
            known = np.angle(made[0, :, :frames].numpy())
        phase = spsi_phase(spectrum[0].cpu().numpy(), n_fft, hop, known)
        phase = torch.from_numpy(phase).to(self.device, torch.float32)[None]
        if band := self.low_band:
            low = band(spectrum_db, self.floor_db, length, self.settings.low_band_iterations, before)
            edge = (band.crossover_hz, self.features.sample_rate / n_fft)
            spectrum, phase = splice(spectrum, phase, stft(low, n_fft, hop), *edge)
        iterations = self.settings.iterations if iterations is None else iterations
        return griffin_lim(spectrum, n_fft, hop, length, iterations, initial_phase=phase)[0].cpu().numpy()

    def graph(self, kind: str) -> nn.Module:
        from retimbre.vocoders.inverter.graph import Graph

        if kind != "griffin_lim":
            return super().graph(kind)
        return Graph(self)

    def synthesise(self, wanted: Request) -> np.ndarray:
        if wanted.kind == "griffin_lim":
            return self.griffin_lim(wanted.spectrum_db, wanted.length, before=wanted.before)
        source = wanted.source[: wanted.length]  # a second performance may be shorter or longer
        return self.source_phase(wanted.spectrum_db, np.pad(source, (0, wanted.length - len(source))))
