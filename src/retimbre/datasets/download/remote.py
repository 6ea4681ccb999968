"""What an adapter of a published data set says: its files, and how unpacked tracks become recordings.

An adapter holds facts only: ``collection`` downloads and unpacks its files, splits, chooses and copies.
Nothing is fetched at import or construction.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from retimbre.params import Dataset


@dataclass(frozen=True)
class RemoteFile:
    """A file of the publisher."""

    name: str  # in the download folder and in `dataset.archives`; unique per source, without /
    url: str  # "" when no program can fetch it (a page asks for a person first): only `dataset.archives` can bring it
    size: int | None = None  # bytes; None when the publisher does not say
    checksum: str = ""  # "md5:<hex>", "sha1:<hex>", "sha256:<hex>", "sha512:<hex>"; "" when none is published
    unpack: bool = False  # a zip or tar archive
    members: tuple[str, ...] = ()  # fnmatch patterns on the members' whole paths (with /): what to unpack; () all
    folder: str = ""  # folder below the source's root to put it into or unpack it to
    parts: tuple["RemoteFile", ...] = ()  # a divided archive: these files, joined in this order, are this one, whose url is ""


@dataclass(frozen=True)
class Track:
    """A stretch of an unpacked audio file that belongs to a domain."""

    path: str  # with /, relative to the source's root
    domain: str
    piece: str  # recording, artist or score: the key that splits are made by
    split: str = ""  # train, validation or test where the publisher has an official split; "": ours, by the hash of piece
    midi: str = ""  # with /, relative to the source's root
    start_s: float = 0.0
    duration_s: float | None = None  # None: to the end of the file


class RemoteSource(Protocol):
    """A published data set. Constructed without arguments."""

    name: str  # as in `dataset.source`
    title: str
    homepage: str
    licence: str
    non_commercial: bool
    citation: str

    def domains(self) -> tuple[str, ...]:
        """What it can deliver; () when any name may be asked for (a tag, a genre)."""
        ...

    def index_files(self, domains: Sequence[str]) -> list[RemoteFile]:
        """Small metadata that ``files`` needs; they are unpacked below ``root`` before it is called. May be empty."""
        ...

    def files(self, domains: Sequence[str], limit_hours: float, seed: int, root: Path) -> list[RemoteFile]:
        """What to download for ``limit_hours`` per domain (0: everything); ``root`` holds the unpacked index files."""
        ...

    def tracks(self, root: Path, domains: Sequence[str]) -> list[Track]:
        """The tracks below ``root``, which holds the unpacked ``index_files`` and ``files`` of this call and nothing else.

        Raises RetimbreError when the layout is not as expected.
        """
        ...


@runtime_checkable
class FetchesItself(Protocol):
    """Optional, besides the above: for what no table of URLs can say (videos through yt-dlp)."""

    def fetch(self, folder: Path, domains: Sequence[str], dataset: Dataset, seed: int) -> None:
        """Put files into ``folder``, which is kept between runs and shown to ``tracks`` as part of ``root``.

        Called after ``files`` are there. Must continue where an interrupted call stopped. Files and folders whose
        names begin with a dot are its own business and are not shown.
        """
        ...
