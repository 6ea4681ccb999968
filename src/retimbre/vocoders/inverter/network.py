"""The spectral inverter: features (log-CQT, log-mel) to log STFT magnitudes, frame by frame.

A small ConvNeXt trunk (Liu et al. 2022; as a vocoder backbone: Vocos, Siuzdak 2023). It learns where
the partials lie inside a CQT bin and what stands above the highest one; the phase comes from
elsewhere (``audio.spectral``: SPSI and Griffin-Lim, or the source recording's own). What it says is made to
agree with the features (``consistency``), so that notes that it was not trained on are kept too.
"""

from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor, nn

from retimbre.vocoders.inverter.consistency import Consistency
from retimbre.vocoders.inverter.convnext import FLOOR_DB, ConvNeXtBlock

MID_DB, SPAN_DB = -35.0, 17.0  # put the untrained output in the middle of the range of real levels


@dataclass(frozen=True)
class InverterConfig:
    """``bins``: F of the features; ``n_fft`` of the STFT that is predicted."""

    bins: int
    n_fft: int
    channels: int = 192
    blocks: int = 2

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class SpectralInverter(nn.Module):
    """Features in -1..1 (B, F, T) to STFT levels in dB (B, n_fft / 2 + 1, T).

    ``consistency`` with the features corrects the levels as the layers say them; None: nothing does.
    """

    def __init__(self, config: InverterConfig, consistency: Consistency | None = None):
        super().__init__()
        self.config, self.consistency = config, consistency
        c = config.channels
        self.inner = nn.Conv1d(config.bins, c, 7, padding=3)
        self.blocks = nn.Sequential(*[ConvNeXtBlock(c) for _ in range(config.blocks)])
        self.norm = nn.LayerNorm(c)
        self.out = nn.Linear(c, config.n_fft // 2 + 1)

    def forward(self, z: Tensor) -> Tensor:
        h = self.blocks(self.inner(z)).transpose(1, 2)  # (B, T, C)
        level_db = self.out(self.norm(h)).float()  # bf16 is too coarse
        level_db = level_db.transpose(1, 2) * SPAN_DB + MID_DB  # (B, K, T)
        return level_db if self.consistency is None else self.consistency(level_db, z)


def inverter_loss(predicted_db: Tensor, target_db: Tensor) -> Tensor:
    """Mean absolute difference in dB, both floored at ``FLOOR_DB``; shapes (B, K, T)."""
    return (predicted_db.clamp(min=FLOOR_DB) - target_db.clamp(min=FLOOR_DB)).abs().mean()
