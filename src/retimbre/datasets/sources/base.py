"""Where recordings come from: one small interface that every source implements."""

import os
from pathlib import Path
from typing import Protocol

from retimbre.datasets.recordings.manifest import Recording
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


def project_root() -> Path:
    """Where ``dvc.yaml`` is: ``DVC_ROOT``, which DVC sets to the original checkout in queued experiments too, else here."""
    return Path(os.environ.get("DVC_ROOT") or ".").resolve()


def user_path(given: str, label: str, root: Path | None = None) -> Path:
    """A path that the user gives as ``label``; a relative one is below ``root``, else the project's root.

    Raises RetimbreError for the home of an unknown user and for links in a circle.
    """
    try:
        return ((root or project_root()) / Path(given).expanduser()).resolve()
    except RuntimeError as error:
        raise RetimbreError(f"{label}: {given} leads nowhere ({str(error).rstrip('.')}): give another path.") from None


def make_source(dataset: Dataset, seed: int, jobs: int = 1) -> Source:
    """What ``dataset.source`` names, one source or one per domain; ``jobs`` processes change its speed only.

    Raises RetimbreError for what can be known to be wrong before anything is fetched or decoded.
    """
    names = set(dataset.source_of.values())
    if names == {"soundfont"}:
        from retimbre.datasets.sources.soundfont import RenderedScores

        return RenderedScores(dataset, seed, jobs)
    if names == {"folder"}:
        from retimbre.datasets.sources.folder import Folders

        return Folders(dataset, seed, jobs)
    from retimbre.datasets.sources.collection import Collection

    return Collection(dataset, seed, jobs)
