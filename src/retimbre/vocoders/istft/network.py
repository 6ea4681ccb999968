"""A vocoder with an inverse-STFT head: levels to a complex spectrogram, to audio, in one pass.

The trunk is that of the spectral inverter (ConvNeXt; as a vocoder backbone: Vocos, Siuzdak 2023). Vocos lets
its network write the phases. A network that sees levels alone cannot: a held tone has constant levels, so
its phase, which must advance by a hop's worth of its frequency every frame, would be constant too, and low
partials break into beating dots. Here the phase is the sum of an analytic advance (peaks of the predicted
magnitude: single-pass spectrogram inversion) and of a learned correction, which shapes onsets; a few
projections onto the spectrograms that audio has follow, and the magnitudes are trained through them.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from retimbre.audio import peaks
from retimbre.audio.features import magnitude
from retimbre.audio.spectral import istft, spsi_phase, stft
from retimbre.vocoders.inverter.consistency import Consistency
from retimbre.vocoders.inverter.convnext import ConvNeXtBlock
from retimbre.vocoders.inverter.network import MID_DB, SPAN_DB, SpectralInverter

SMALLEST = 1e-7


@dataclass(frozen=True)
class IstftConfig:
    """``bins``: F of the levels; ``n_fft``: the head's, not the features'; ``projections``: of the phases."""

    bins: int
    hop_length: int
    n_fft: int
    channels: int = 192
    blocks: int = 2
    projections: int = 2

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class IstftNet(nn.Module):
    """Levels in -1..1 (B, F, T) to audio (B, N), T = N // hop_length + 1.

    ``consistency``: as of the inverter.
    """

    def __init__(self, config: IstftConfig, consistency: Consistency | None = None):
        super().__init__()
        self.config, self.consistency = config, consistency
        c, bins = config.channels, config.n_fft // 2 + 1
        self.inner = nn.Conv1d(config.bins, c, 7, padding=3)
        self.blocks = nn.Sequential(*[ConvNeXtBlock(c) for _ in range(config.blocks)])
        self.norm = nn.LayerNorm(c)
        self.level = nn.Linear(c, bins)
        self.phase = nn.Linear(c, bins)
        nn.init.zeros_(self.phase.weight)  # training starts from the analytic phase
        nn.init.zeros_(self.phase.bias)

    @torch.no_grad()
    def start_at(self, inverter: SpectralInverter) -> None:
        """Take the weights of an inverter of the same width and depth; its levels are interpolated."""
        for name in ("inner", "blocks", "norm"):
            getattr(self, name).load_state_dict(getattr(inverter, name).state_dict())
        # Of the same tone in another window.
        louder_db = 20 * math.log10(self.config.n_fft / inverter.config.n_fft)
        for mine, theirs in ((self.level.weight, inverter.out.weight), (self.level.bias, inverter.out.bias)):
            rows = theirs.reshape(len(theirs), -1).T[None]  # (1, C, K) of the inverter
            between = F.interpolate(rows, len(mine), mode="linear", align_corners=True)
            mine.copy_(between[0].T.reshape(mine.shape))
        self.level.bias += louder_db / SPAN_DB

    def spectrum(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Levels (B, F, T) to STFT levels in dB and phase corrections in radians, both (B, K, T)."""
        h = self.norm(self.blocks(self.inner(z)).transpose(1, 2))  # (B, T, C)
        level_db, correction = self.level(h).float(), self.phase(h).float()  # bf16 is too coarse for both
        level_db = level_db.transpose(1, 2) * SPAN_DB + MID_DB  # (B, K, T)
        if self.consistency is not None:
            level_db = self.consistency(level_db, z)
        return level_db, correction.transpose(1, 2)

    def audio(self, level_db: Tensor, correction: Tensor, length: int, known: Tensor | None = None) -> Tensor:
        """Audio (B, ``length``) of what ``spectrum`` made.

        ``known`` (B, K, M): phases of the first M frames, which are kept and continued. Gradients flow to
        levels and corrections; the analytic phase counts as a constant.
        """
        n_fft, hop = self.config.n_fft, self.config.hop_length
        wanted = magnitude(level_db)  # (B, K, T)
        phase = analytic_phase(wanted, n_fft, hop, known) + correction
        if known is not None:
            phase = torch.cat([known.to(phase), phase[..., known.shape[-1] :]], -1)
        X = torch.polar(wanted, phase)
        for _ in range(self.config.projections):
            possible = stft(istft(X, n_fft, hop, length), n_fft, hop)
            X = possible * (wanted / possible.abs().clamp(min=SMALLEST))
        return istft(X, n_fft, hop, length)

    def forward(self, z: Tensor, length: int, known: Tensor | None = None) -> Tensor:
        return self.audio(*self.spectrum(z), length, known)


def analytic_phase(wanted: Tensor, n_fft: int, hop: int, known: Tensor | None = None) -> Tensor:
    """Phases (B, K, T) in radians that advance with the peaks of a magnitude, after ``known`` (B, K, M).

    They have no gradient. An exported graph, which has no ``known``, finds them for all frames at once.
    """
    if torch.compiler.is_exporting():
        return peaks.spsi_phase(wanted, n_fft, hop)
    before = [None] * len(wanted) if known is None else known.cpu().numpy()
    pairs = zip(wanted.detach().cpu().numpy(), before, strict=True)
    phases = [spsi_phase(one, n_fft, hop, first) for one, first in pairs]
    return torch.from_numpy(np.stack(phases)).to(wanted)
