"""The data stages' outputs, opened when they are asked for."""

from functools import cached_property
from pathlib import Path

from retimbre.datasets.packed.format import PackedAudio, PackedFeatures


class Data:
    """``audio`` and ``features`` of a project: what every training is handed."""

    def __init__(self, resampled: Path = Path("data/resampled"), features: Path = Path("data/features")):
        self._resampled, self._features = resampled, features

    @cached_property
    def audio(self) -> PackedAudio:
        return PackedAudio(self._resampled)

    @cached_property
    def features(self) -> PackedFeatures:
        return PackedFeatures(self._features)
