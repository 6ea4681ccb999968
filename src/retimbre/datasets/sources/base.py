"""The interfaces of a source of recordings and of the adapter of a published data set.

An adapter holds facts only: ``published`` downloads and unpacks its files, splits, chooses and copies.
Nothing is fetched at import or construction.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from retimbre.datasets.download.mirrors import RemoteFile
from retimbre.datasets.recordings.manifest import Recording
from retimbre.datasets.sources.params import Dataset


class Source(Protocol):
    """A collection of recordings, one or more instruments (domains)."""

    def prepare(self, out: Path) -> list[Recording]:
        """Put audio files (and MIDI, if any) below ``out`` and say what they are.

        ``out`` exists and is empty. Files stay as they came: rate, channels and level are the
        business of ``resample``. No piece may be in two splits. Equal parameters give equal bytes.
        Raises RetimbreError when the parameters ask for more than there is.
        """
        ...


@dataclass(frozen=True)
class Track:
    """A stretch of an unpacked audio file that belongs to a domain."""

    path: str  # with /, relative to the source's root
    domain: str
    piece: str  # recording, artist or score: the key that splits are made by
    # train, validation or test where the publisher has an official split; "": ours, by the hash of piece
    split: str = ""
    midi: str = ""  # with /, relative to the source's root
    start_s: float = 0.0
    duration_s: float | None = None  # None: to the end of the file


class Adapter(ABC):
    """A published data set: facts, and which of its files are which recordings. Made without arguments."""

    name: str  # as in `dataset.source`
    title: str
    homepage: str
    licence: str
    non_commercial = False
    citation = ""
    domains: tuple[str, ...] = ()  # what it delivers; () where others may be asked for (a tag, a speaker)

    def index_files(self, domains: Sequence[str]) -> list[RemoteFile]:
        """Small metadata that ``files`` needs; it is unpacked below ``root`` before."""
        return []

    def files(self, domains: Sequence[str], limit_hours: float, seed: int, root: Path) -> list[RemoteFile]:
        """The files to download for ``limit_hours`` per domain (0: all); ``root`` holds the index files."""
        return []

    def fetch(self, folder: Path, domains: Sequence[str], dataset: Dataset, seed: int) -> None:  # noqa: B027
        """Put into ``folder`` what no table of URLs can name (videos through yt-dlp), after ``files``.

        ``folder`` is kept between runs and shown to ``tracks`` as part of ``root``, except for names that
        begin with a dot. Must continue where an interrupted call stopped.
        """

    @abstractmethod
    def tracks(self, root: Path, domains: Sequence[str]) -> list[Track]:
        """The tracks below ``root``, which holds nothing but the unpacked ``index_files`` and ``files``.

        Raises RetimbreError when the layout is not as expected.
        """
