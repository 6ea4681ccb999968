"""ConvNeXt block and distance of mel bands, for the vocoders' networks of magnitudes.

Liu et al. 2022; as a vocoder backbone: Vocos, Siuzdak 2023.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

FLOOR_DB = -60.0  # the losses ignore what lies below: 60 dB under a magnitude of 1
CEILING_DB = 60.0  # more than any window of audio has
EXPANSION = 3  # of the channels within a block


class ConvNeXtBlock(nn.Module):
    """Depthwise convolution over 7 frames, then a per-frame MLP, added to the input."""

    def __init__(self, channels: int):
        super().__init__()
        self.depthwise = nn.Conv1d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels)
        self.expand = nn.Linear(channels, channels * EXPANSION)
        self.contract = nn.Linear(channels * EXPANSION, channels)
        self.scale = nn.Parameter(torch.full((channels,), 0.2))

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(self.depthwise(x).transpose(1, 2))  # (B, T, C)
        return x + (self.scale * self.contract(F.gelu(self.expand(h)))).transpose(1, 2)  # (B, C, T)


class BandDistance(nn.Module):
    """Log-spectral distance of mel bands in dB: root mean square over a crop's frames, mean over bands.

    The mean absolute difference makes every bin its median: right between partials, too low and too wide for
    the partials, which are few. Power summed over a band is ruled by them. ``filters`` (M, K): mel filters
    of the STFT that is predicted.
    """

    def __init__(self, filters: Tensor):
        super().__init__()
        self.register_buffer("filters", filters, persistent=False)

    def _level_db(self, stft_db: Tensor) -> Tensor:
        power = 10.0 ** (stft_db.float().clamp(max=CEILING_DB) / 10)  # an untrained network may say anything
        with torch.autocast(power.device.type, enabled=False):
            return 10 * torch.log10(self.filters @ power + 10.0 ** (FLOOR_DB / 10))

    def forward(self, predicted_db: Tensor, target_db: Tensor) -> Tensor:
        difference = self._level_db(predicted_db) - self._level_db(target_db)  # (B, M, T)
        return (difference.square().mean(2) + 1e-3).sqrt().mean()
