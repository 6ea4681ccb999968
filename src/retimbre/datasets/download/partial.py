"""Members of a zip archive on a server, without the rest of the archive.

Its directory is read first, then only the bytes of the members wanted, neighbours with one request. Each
member must have the length and the CRC-32 of the directory; the checksum of the whole archive cannot be
known. The rules of ``archives`` hold. ``NAME.members/`` keeps finished members, named by name and content:
whatever ends the program, and whatever else is wanted next time, they are not transferred again.
"""

import bisect
import hashlib
import os
import shutil
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from retimbre.datasets.download.archives import (
    CHUNK,
    DAMAGE,
    Entry,
    extract,
    nothing_of,
    problems_named,
    reason_of,
    wanted_of,
)
from retimbre.datasets.download.mirrors import Location, RemoteFile
from retimbre.datasets.download.ranges import Changed, NoRanges, RangeFile
from retimbre.datasets.download.web import NotThere, Patience, shown, unreachable
from retimbre.errors import RetimbreError
from retimbre.progress import Progress

MEGABYTE = 1_000_000
LEAST_BYTES = 1_000_000_000  # a smaller archive is downloaded whole, with its checksum
MOST_SHARE = 0.5  # of the archive's bytes; what is more is downloaded whole
MOST_VERSIONS = 3  # of an archive that changes while it is read
TRIES = 2  # for a member that arrives damaged
HEADER = 30  # bytes before a member's name
SLACK = 256  # bytes by which a member's own header may be longer than the directory says


@dataclass(frozen=True)
class Members:
    """Paths of checked members by safe name, and the location whose directory they were checked against."""

    location: Location
    paths: dict[str, Path]


def worth_asking(file: RemoteFile, locations: Sequence[Location], folder: Path, size: int | None) -> bool:
    """True for a large zip, not on this disk, of which only some members are wanted."""
    here = any(location.local for location in locations) or (folder / file.name).exists()
    some = file.unpack and bool(file.members) and file.name.endswith(".zip")
    return some and not here and (size is None or size >= LEAST_BYTES)


def members_folder(folder: Path, name: str) -> Path:
    return folder / f"{name}.members"


def fetch_members(
    file: RemoteFile,
    locations: Sequence[Location],
    folder: Path,
    patience: Patience,
    make_room: Callable[[int], None],
) -> Members | None:
    """The wanted members of ``file``, from the first of the ``locations`` that gives them, below ``folder``.

    ``make_room(bytes)`` raises when the disk has not so many. Returns None when the whole archive is to be
    downloaded: the server gives no parts, it is no zip, or the members are not few. Raises RetimbreError:
    unreachable, damaged, unsafe, changes all the time.
    """
    reasons: list[str] = []
    for location in locations:
        for _ in range(MOST_VERSIONS):
            try:
                return _from(file, location, folder, patience, make_room)
            except Changed as error:  # members that are the same in the new version stay
                print(f"{file.name}: {error}; its directory is read again", flush=True)
                reasons.append(f"{shown(location.place)} has ever other versions of the file")
            except NoRanges as error:
                print(f"{file.name}: {error}: the whole archive is downloaded", flush=True)
                return None
            except NotThere as error:
                reasons.append(str(error))
                break
    raise unreachable(file.name, reasons)


def _from(
    file: RemoteFile, location: Location, folder: Path, patience: Patience, make_room: Callable[[int], None]
) -> Members | None:
    name = f"{file.name} on {shown(location.place)}"
    with (
        RangeFile(location.place, patience) as remote,
        problems_named(name, "try later or give dataset.archives"),
    ):
        if location.size is not None and remote.size != location.size:
            raise NotThere(
                f"{shown(location.place)} offers {remote.size:,} bytes, but the file has {location.size:,}"
            )
        if remote.head not in (b"PK\x03\x04", b"PK\x05\x06") or remote.size < LEAST_BYTES:
            return None
        with zipfile.ZipFile(remote) as archive:
            entries, links = wanted_of(archive, file.members, remote.size)
            if not entries:
                raise RetimbreError(nothing_of(name, file.members))
            kept = members_folder(folder, file.name)
            paths = {entry.name: kept / _key(entry) for entry in entries}
            missing = [entry for entry in entries if not _is_there(entry, paths[entry.name])]
            part = folder / f"{file.name}.part"  # of the whole archive, when one was being downloaded
            to_download = sum(entry.info.compress_size for entry in missing)
            if to_download > MOST_SHARE * (remote.size - (part.stat().st_size if part.exists() else 0)):
                return None
            unknown = "; the published checksum of the whole archive cannot be checked then"
            print(
                f"{file.name}: {len(entries)} of its {len(archive.filelist)} members are wanted, "
                f"{to_download / MEGABYTE:,.1f} of {remote.size / MEGABYTE:,.1f} MB are downloaded; the "
                f"archive's own CRC-32 of each is checked{unknown if location.checksum else ''}",
                flush=True,
            )
            if links:
                print(f"{file.name}: {len(links)} links were passed over ({links[0]} ...)", flush=True)
            make_room(sum(entry.info.file_size for entry in missing))
            remote.plan(spans_of(archive, missing))
            _fetch(remote, archive, missing, paths, f"download {file.name}")
    return Members(location, paths)


def _key(entry: Entry) -> str:
    """The file name of a finished member."""
    return hashlib.sha256(f"{entry.name}|{entry.info.file_size}|{entry.info.CRC}".encode()).hexdigest()[:32]


def spans_of(archive: zipfile.ZipFile, entries: Sequence[Entry]) -> list[tuple[int, int]]:
    """First byte and end of each member with its header, whose exact length only the header tells."""
    offsets = sorted([*(info.header_offset for info in archive.filelist), archive.start_dir])
    spans = []
    for info in (entry.info for entry in entries):
        header = HEADER + len(info.orig_filename.encode()) + len(info.extra) + SLACK
        end = info.header_offset + header + info.compress_size
        after = bisect.bisect_right(offsets, info.header_offset)
        spans.append((info.header_offset, min(end, offsets[after]) if after < len(offsets) else end))
    return spans


def _is_there(entry: Entry, path: Path) -> bool:
    """True when a finished member is what the directory says: power may have been lost since."""
    if not path.is_file() or path.stat().st_size != entry.info.file_size:
        return False
    crc = 0
    with open(path, "rb") as file:
        while data := file.read(CHUNK):
            crc = zlib.crc32(data, crc)
    return crc == entry.info.CRC


def _fetch(
    remote: RangeFile, archive: zipfile.ZipFile, entries: Sequence[Entry], paths: dict[str, Path], title: str
) -> None:
    """Transfer the members one after the other; each appears complete or not at all."""
    total = sum(entry.info.compress_size for entry in entries)
    before, finished = remote.received, 0
    with Progress(total // MEGABYTE, title, "MB") as progress:

        def show() -> None:
            done = min(remote.received - before, total) // MEGABYTE
            progress.update(max(0, done - progress.done), f"{len(entries) - finished} files left")

        for entry in entries:
            path = paths[entry.name]
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_name("unfinished")
            for attempt in range(1, TRIES + 1):
                try:
                    extract(archive, entry, partial, show)
                    break
                except DAMAGE as error:
                    if attempt == TRIES:
                        reason = reason_of(error)
                        raise ValueError(f"its member {entry.name!r} is damaged: {reason}") from None
                    remote.drop()  # what came may have been damaged on its way
            os.replace(partial, path)
            finished += 1
            show()


def forget(folder: Path, name: str) -> None:
    """Delete the finished members of an archive."""
    shutil.rmtree(members_folder(folder, name), ignore_errors=True)
