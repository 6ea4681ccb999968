"""Where recordings come from: one small interface that every source implements."""

from pathlib import Path
from typing import Protocol

from retimbre.datasets.manifest import Recording
from retimbre.errors import RetimbreError
from retimbre.params import Dataset


class Source(Protocol):
    """A collection of recordings, one or more instruments (domains)."""

    def prepare(self, out: Path) -> list[Recording]:
        """Put audio files (and MIDI, if any) below ``out`` and say what they are.

        ``out`` exists and is empty. Files stay as they came: rate, channels and level are the
        business of ``resample``. No piece may be in two splits. Equal parameters give equal bytes.
        Raises RetimbreError when the parameters ask for more than there is.
        """
        ...


def make_source(dataset: Dataset, seed: int, jobs: int = 1) -> Source:
    """The source that ``dataset.source`` names; ``jobs`` processes change its speed only."""
    if dataset.source == "soundfont":
        from retimbre.datasets.rendered import RenderedScores

        return RenderedScores(dataset, seed, jobs)
    if dataset.source == "folder":
        from retimbre.datasets.folder import Folders

        return Folders(dataset, seed, jobs)
    raise RetimbreError(f"dataset.source {dataset.source!r} is not known: use soundfont or folder.")
