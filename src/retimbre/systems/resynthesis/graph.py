"""The change of a recording as one graph of torch operations, to be exported."""

import math
from typing import TYPE_CHECKING

from torch import Tensor, nn

from retimbre.audio.cqt import BLOCK
from retimbre.audio.features import FeatureExtractor, decibels, normalise
from retimbre.nn.transcriber.graph import ContentGraph

if TYPE_CHECKING:
    from retimbre.systems.resynthesis.system import Change


class Graph(nn.Module):
    """Audio (B, N) at the models' rate and level to the spectrum in dB (B, F, T) of one instrument."""

    def __init__(self, change: "Change", to: str):
        super().__init__()
        self.change, self.to = change, to
        self.networks = change.networks
        self.extractor = FeatureExtractor(change.features)
        self.content = ContentGraph(change.content)

    @property
    def block(self) -> int:
        """Samples of which the audio's length is a multiple, so that all lengths in the graph are."""
        f = self.change.features
        halvings = self.extractor.cqt.levels[-1] if self.change.representation == "cqt" else 0
        return math.lcm(f.hop_length, self.content.block, 2 * BLOCK << halvings)

    def forward(self, audio: Tensor) -> Tensor:
        change = self.change
        source_db = decibels(self.extractor(audio, change.representation))
        source = normalise(source_db, change.top_db, change.features.range_db)
        return change.spectrum(self.content(audio), source, self.to)
