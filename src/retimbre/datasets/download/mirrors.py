"""Locations of a published file: the user's folder or mirror (``dataset.archives``), then the publisher.

A folder or mirror holds the files under their names, or below a folder named like the source. A
``SHA256SUMS`` there (as sha256sum writes it) replaces the published checksums for the files that it lists:
whoever repacks an archive says what is right.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from retimbre.errors import RetimbreError
from retimbre.paths import user_path

SUMS = "SHA256SUMS"


@dataclass(frozen=True)
class RemoteFile:
    """A file of the publisher."""

    name: str  # in the download folder and in `dataset.archives`; unique per source, without /
    # "" when no program can fetch it (a page asks for a person first): only `dataset.archives` can bring it
    url: str
    size: int | None = None  # bytes; None when the publisher does not say
    # "md5:<hex>", "sha1:<hex>", "sha256:<hex>", "sha512:<hex>"; "" when none is published
    checksum: str = ""
    unpack: bool = False  # a zip or tar archive
    # fnmatch patterns on the members' whole paths (with /): what to unpack; () all
    members: tuple[str, ...] = ()
    folder: str = ""  # folder below the source's root to put it into or unpack it to
    # a divided archive: these files, joined in this order, are this one, whose url is ""
    parts: tuple["RemoteFile", ...] = ()


@dataclass(frozen=True)
class Location:
    """One place to get a file from."""

    place: str  # a URL, or the path of a local file
    checksum: str = ""  # "algorithm:hex", "" when none is known
    size: int | None = None  # bytes
    local: bool = False
    published: bool = True  # False: the user's folder or mirror


def parse_sums(text: str, origin: str) -> dict[str, str]:
    """``{name: "sha256:<hex>"}`` as sha256sum writes it. Raises RetimbreError that names the line."""
    sums = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        match = re.fullmatch(r"([0-9a-fA-F]{64}) [ *](.+)", line.rstrip())
        if match is None:
            raise RetimbreError(
                f"{origin} line {number} is not a SHA-256 and a name: write it with `sha256sum * > {SUMS}`."
            )
        sums[match[2].removeprefix("./")] = f"sha256:{match[1].lower()}"
    return sums


def _without_password(place: str) -> str:
    """A URL as it may be printed."""
    return re.sub(r"^(\w+://)[^/@]*@", r"\1", place)


class Archives:
    """The offers of ``dataset.archives`` for one source.

    ``read_text(url)`` fetches a small text, or returns None when there is none. Raises RetimbreError for a
    folder that is missing and for a damaged SHA256SUMS.
    """

    def __init__(self, archives: str | None, source: str, read_text: Callable[[str], str | None]):
        self.source, self.base, self.folder = source, "", None
        self.sums: dict[str, str] = {}  # by place
        if archives is None:
            return
        address = urlsplit(archives)
        if address.scheme in ("http", "https") and address.hostname:
            self.base = archives.rstrip("/")
        elif address.scheme == "file":
            self.folder = Path(unquote(address.path))
        elif "://" in archives:
            place = _without_password(archives)
            raise RetimbreError(
                f"dataset.archives: {place} is no http, https or file address: give one, a folder or null."
            )
        else:
            self.folder = user_path(archives, "dataset.archives")
        if self.folder is not None and not self.folder.is_dir():
            raise RetimbreError(
                f"dataset.archives: {self.folder} is not a folder: give the folder or the URL of a mirror, "
                "or null."
            )
        for place in self._places():
            text = self._text(f"{place}/{SUMS}", read_text)
            if text is not None:
                listed = parse_sums(text, f"{_without_password(place)}/{SUMS}")
                self.sums |= {self._join(place, name): checksum for name, checksum in listed.items()}
                place = _without_password(place)
                print(f"{place}/{SUMS} replaces the published checksums of what it lists", flush=True)

    def _places(self) -> list[str]:
        base = self.base or (str(self.folder) if self.folder else "")
        return [f"{base}/{self.source}", base] if base else []

    def _text(self, place: str, read_text: Callable[[str], str | None]) -> str | None:
        if self.base:
            return read_text(place)
        path = Path(place)
        return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else None

    def _join(self, place: str, name: str) -> str:
        return f"{place}/{quote(name)}" if self.base else f"{place}/{name}"

    def locations(self, file: RemoteFile) -> list[Location]:
        """The places to look for a file, in this order; the publisher comes last."""
        found = []
        for place in (self._join(place, file.name) for place in self._places()):
            replaced = self.sums.get(place)
            if self.base or Path(place).is_file():
                checksum, size = (replaced, None) if replaced else (file.checksum, file.size)
                found.append(Location(place, checksum, size, local=not self.base, published=False))
        if self.sums:  # what SHA256SUMS lists is tried before what only may be there
            found.sort(key=lambda location: location.place not in self.sums)
        return [*found, Location(file.url, file.checksum, file.size)] if file.url else found
