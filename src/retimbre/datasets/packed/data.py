"""The data stages' outputs, opened when they are asked for."""

from functools import cached_property
from pathlib import Path
from typing import Any

from retimbre.datasets.packed.format import PackedAudio, PackedContent, PackedFeatures


class Data:
    """``audio``, ``features`` and ``content`` of a project: what every training is handed."""

    def __init__(
        self,
        resampled: Path = Path("data/resampled"),
        features: Path = Path("data/features"),
        content: Path = Path("data/content"),
    ):
        self._resampled, self._features, self._content = resampled, features, content

    @cached_property
    def audio(self) -> PackedAudio:
        return PackedAudio(self._resampled)

    @cached_property
    def features(self) -> PackedFeatures:
        return PackedFeatures(self._features)

    @cached_property
    def content(self) -> PackedContent:
        return PackedContent(self._content)


def base_config(audio: PackedAudio, features: PackedFeatures, representation: str) -> dict[str, Any]:
    """The part of every network's configuration that is of its data."""
    return {
        "domains": features.domains,
        "rms": audio.config["rms"],
        "representation": representation,
        "features": features.config.to_dict(),
        "top_db": features.statistics[representation]["top_db"],
    }
