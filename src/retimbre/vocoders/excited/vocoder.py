"""Levels and instrument to samples by a WaveNet that hears the inverter's waveform: ``wavenet_excited``.

The excitation is what the spectral inverter and a few Griffin-Lim iterations make of the same levels. Its
phases are invented: against a recording they correlate with 0, and a network that is asked for the recording
ignores them. So the target is brought into phase: the recording's STFT magnitudes, started on the
excitation's phases, a few Griffin-Lim iterations. It sounds like the recording, and correlates with the
excitation by 0.87.
"""

from typing import Any

import numpy as np
import torch
from torch import nn

from retimbre.audio.companding import deemphasis, preemphasis
from retimbre.audio.features import FeatureConfig
from retimbre.audio.spectral import griffin_lim, stft
from retimbre.nn.wavenet.options import WaveNetConfig
from retimbre.vocoders.base import Renderer, Request
from retimbre.vocoders.excited.generation import State, expected, generate, padded
from retimbre.vocoders.excited.network import MARGIN, ExcitedWaveNet, code_bits, previous
from retimbre.vocoders.params import Rendering, Residual


def align(audio: np.ndarray, excitation: np.ndarray, config: FeatureConfig, iterations: int) -> np.ndarray:
    """The recording (N,) in phase with the excitation (N,)."""
    x, e = (torch.from_numpy(np.ascontiguousarray(y, np.float32))[None] for y in (audio, excitation))
    n_fft, hop = config.stft_n_fft, config.hop_length
    phase, size = torch.angle(stft(e, n_fft, hop)), (n_fft, hop, len(audio))
    return griffin_lim(stft(x, n_fft, hop).abs(), *size, iterations, initial_phase=phase)[0].numpy()


class ExcitedVocoder(Renderer):
    """Audio from the inverter's waveform and the WaveNet's residuals."""

    name, hears = "excited", True

    @classmethod
    def build(cls, config: dict[str, Any]) -> nn.Module:
        return ExcitedWaveNet(WaveNetConfig(**config["excited"]))

    @classmethod
    def settings_of(cls, rendering: Rendering) -> Residual:
        return rendering.wavenet_excited

    def emphasised(self, audio: np.ndarray) -> np.ndarray:
        """Audio (..., N) as the network hears it."""
        return (self.config["gain"] * preemphasis(audio, self.config["preemphasis"])).astype(np.float32)

    def excitation(self, level_db: np.ndarray, length: int, before: np.ndarray | None = None) -> np.ndarray:
        """The inverter's waveform (N,) of levels (F, T), continuing the phases of samples ``before`` (M,)."""
        return self.below["inverter"].griffin_lim(level_db, length, self.config["iterations"], before)

    @torch.no_grad()
    def nll_bits(
        self,
        audio: np.ndarray,
        level_db: np.ndarray,
        domain: str,
        own_db: np.ndarray,
        heard_db: np.ndarray | None = None,
    ) -> float:
        """Bits of the recording, in phase with its own levels' excitation, given that of ``heard_db``."""
        target = align(audio, self.excitation(own_db, len(audio)), self.features, self.config["iterations"])
        heard = self.excitation(level_db if heard_db is None else heard_db, len(audio))
        samples, wide = torch.from_numpy(self.emphasised(target))[None], padded(self.emphasised(heard))
        near = wide[:, MARGIN:-MARGIN]
        index = torch.tensor([self.domains.index(domain)])
        parameters = self.network(previous(samples - near), wide, self.clipped(level_db), index)
        return float(code_bits(parameters, samples, near).mean())

    def synthesise(self, wanted: Request) -> np.ndarray:
        """The excitation and ``share`` of the residual, expected at ``temperature`` 0, else drawn."""
        temperature, share, before = self.settings.temperature, self.settings.share, wanted.before
        audio = self.excitation(wanted.spectrum_db, wanted.length, before)
        levels, index = self.clipped(wanted.spectrum_db)[0], self.domains.index(wanted.domain)
        given = (self.network, levels, index, excitation := self.emphasised(audio))
        if temperature == 0:
            residuals = expected(*given)
        else:
            state, residuals = State(self.network, wanted.seed), np.zeros(0, np.float32)
            if before is not None and len(before):  # brings the state to where `before` ends
                heard = self.emphasised(before[: wanted.length].astype(np.float32))
                residuals = (heard - excitation[: len(before)]) / share
                generate(*given, length=len(residuals), state=state, forced=temperature * residuals)
            if len(residuals) < wanted.length:
                residuals = np.concatenate([residuals, generate(*given, temperature, state=state)])
        added = deemphasis(share * residuals / self.config["gain"], self.config["preemphasis"])
        return (audio + added).astype(np.float32)
