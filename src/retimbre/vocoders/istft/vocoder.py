"""Spectra to audio by a small network with an inverse-STFT head: needs no source, and is fast."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from retimbre.audio.features import normalise
from retimbre.audio.spectral import stft
from retimbre.vocoders.base import Renderer, Request
from retimbre.vocoders.inverter.consistency import consistency_of
from retimbre.vocoders.istft.network import IstftConfig, IstftNet
from retimbre.vocoders.params import Rendering


class Graph(nn.Module):
    """Spectra in dB (B, F, T) to audio (B, ``length``), to be exported."""

    def __init__(self, network: IstftNet, top_db: float, range_db: float):
        super().__init__()
        self.network, self.range = network, (top_db, range_db)

    def forward(self, spectrum_db: Tensor, length: int) -> Tensor:
        return self.network(normalise(spectrum_db, *self.range), length)


class IstftVocoder(Renderer):
    """Audio of the inverse-STFT network."""

    name = "istft"

    @classmethod
    def build(cls, config: dict[str, Any]) -> nn.Module:
        shape = IstftConfig(**config["istft"])
        return IstftNet(shape, consistency_of(config, shape.n_fft))

    @classmethod
    def settings_of(cls, rendering: Rendering) -> None:
        return None

    def graph(self, kind: str) -> nn.Module:
        return Graph(self.network, self.top_db, self.features.range_db)

    @torch.no_grad()
    def synthesise(self, wanted: Request) -> np.ndarray:
        n_fft, hop = self.network.config.n_fft, self.network.config.hop_length
        known, before = None, wanted.before
        if before is not None and (frames := (len(before) - n_fft // 2) // hop) > 0:  # whole windows only
            made = torch.from_numpy(np.ascontiguousarray(before, np.float32))[None].to(self.device)
            known = torch.angle(stft(made, n_fft, hop)[..., :frames])
        return self.network(self.normalised(wanted.spectrum_db), wanted.length, known)[0].cpu().numpy()
