"""Unpacking zip and tar archives (plain, gzip, bzip2, xz) that nobody vouches for.

Nothing is believed: neither names, nor sizes, nor counts. A member whose name is absolute or leads upwards
and a device or pipe refuse the whole archive. Symbolic links are passed over and counted; a hard link to a
member that was unpacked becomes a copy of it. Files get plain permissions. The target appears complete or
not at all: members go into a folder beside it, which takes its name at the end, and an interrupted unpacking
starts over.
"""

import bz2
import errno
import fnmatch
import gzip
import io
import lzma
import re
import shutil
import struct
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from glob import escape
from pathlib import Path
from typing import IO

from retimbre.errors import RetimbreError
from retimbre.progress import Progress

MOST_MEMBERS = 1_000_000
LARGEST_RATIO = 100  # unpacked over packed; audio stays below 3, text below 30, a deflate bomb reaches 1000
LEAST_LIMIT = 64 << 20  # bytes that any archive may unpack to, however small it is
LONGEST_HEADER = 1 << 20  # bytes of a tar member's extended header, which is held in memory
CHUNK = 1 << 20
BROKEN_STREAM = (zlib.error, lzma.LZMAError, EOFError, struct.error, ValueError, OverflowError)
DAMAGE = (tarfile.TarError, zipfile.BadZipFile, *BROKEN_STREAM)
TOO_LARGE = f"it unpacks to more than {LARGEST_RATIO} times its size"
UNSUPPORTED = (NotImplementedError, RuntimeError)  # zipfile's for compression methods and passwords
JUNK = re.compile(r"(^|/)(__MACOSX/|\._|\.DS_Store$|Thumbs\.db$|desktop\.ini$)")


@dataclass(frozen=True)
class Entry:
    """A member of a zip archive: its safe name and what the archive's directory says of it."""

    name: str
    info: zipfile.ZipInfo


class _TarInfo(tarfile.TarInfo):
    """Headers that tarfile would take for the end, or hold in memory at any size, are errors."""

    @classmethod
    def frombuf(cls, buf: bytes, encoding: str, errors: str) -> tarfile.TarInfo:
        try:
            info = super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            if len(buf) == tarfile.BLOCKSIZE and not any(buf):  # the regular end
                raise
            raise ValueError("it breaks off or a header is damaged") from error
        plain = info.isreg() or info.isdir() or info.issym() or info.islnk() or info.isdev()
        if info.size < 0 or (not plain and info.size > LONGEST_HEADER):
            raise ValueError("a header is damaged")
        return info


class _Counted(io.RawIOBase):
    """A stream that may not yield more than ``limit`` bytes."""

    def __init__(self, stream: IO[bytes], limit: int):
        self.stream, self.left = stream, limit

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = self.stream.read(size if size >= 0 else CHUNK)
        self.left -= len(data)
        if self.left < 0:
            raise ValueError(TOO_LARGE)
        return data


def safe_name(name: str) -> str:
    """A member's name as a relative path with ``/`` and NFC characters.

    Raises ValueError for absolute names, drives, ``..``, control characters and names without a part.
    """
    name = unicodedata.normalize("NFC", name.replace("\\", "/"))
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or re.match(r"[A-Za-z]:", name) or ".." in parts:
        raise ValueError(f"its member {name!r} would be written outside of its folder")
    if not parts or any(unicodedata.category(character) in ("Cc", "Cs") for character in name):
        raise ValueError(f"its member {name!r} has no usable name")
    return "/".join(parts)


def _tar_name(name: str) -> str:
    """tarfile reads names as UTF-8; bytes that are not are taken for Latin-1."""
    try:
        name.encode("utf-8")
        return name
    except UnicodeEncodeError:
        return name.encode("utf-8", "surrogateescape").decode("latin-1")


def _zip_name(info: zipfile.ZipInfo) -> str:
    """zipfile reads names as code page 437 unless a flag says UTF-8, which many programs forget to set."""
    if info.flag_bits & 0x800:
        return info.filename
    try:
        return info.filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        return info.filename


def matcher(patterns: Collection[str]) -> Callable[[str], bool]:
    """A test of whether a name matches one of the patterns (none: always); many exact names cost as one."""
    plain = {re.sub(r"\[([*?[])\]", r"\1", pattern) for pattern in patterns}
    exact = {name for name in plain if escape(name) in patterns}
    others = [name for name in patterns if re.sub(r"\[([*?[])\]", r"\1", name) not in exact]
    regexes = map(fnmatch.translate, others)
    match = re.compile("|".join(regexes)).match if others else None
    return lambda name: not patterns or name in exact or (match is not None and match(name) is not None)


def wanted_of(
    archive: zipfile.ZipFile, patterns: Collection[str], size: int
) -> tuple[list[Entry], list[str]]:
    """The members that match, in the order of their bytes, and the names of links; of members of the same
    name the last counts.

    Raises ValueError for a directory (of an archive of ``size`` bytes) that is unsafe or lies.
    """
    if len(archive.filelist) > MOST_MEMBERS:
        raise ValueError(f"it has more than {MOST_MEMBERS:,} members")
    links: list[str] = []
    matches = matcher(frozenset(patterns))
    entries: dict[str, Entry] = {}  # by the name without case
    for info in archive.filelist:
        # the Unix file type, 0 when made elsewhere
        name, kind = safe_name(_zip_name(info)), info.external_attr >> 28
        if kind == 0o12:
            links.append(name)
        elif kind not in (0, 0o04, 0o10):
            raise ValueError(f"its member {name!r} is a device or pipe")
        elif not info.is_dir() and not JUNK.search(name) and matches(name):
            _refuse_case(name, entries[name.casefold()].name if name.casefold() in entries else name)
            entries[name.casefold()] = Entry(name, info)
    for entry in entries.values():
        parts = entry.name.casefold().split("/")
        if any("/".join(parts[:n]) in entries for n in range(1, len(parts))):
            raise ValueError("a member is a file and a folder")
        if entry.info.header_offset < 0 or entry.info.header_offset + entry.info.compress_size > size:
            raise ValueError(f"its member {entry.name!r} lies outside of it")
    packed = sum(entry.info.compress_size for entry in entries.values())
    if packed > size:
        raise ValueError("its members lie over one another")
    if sum(entry.info.file_size for entry in entries.values()) > max(LEAST_LIMIT, LARGEST_RATIO * packed):
        raise ValueError(TOO_LARGE)
    return sorted(entries.values(), key=lambda entry: entry.info.header_offset), links


def extract(
    archive: zipfile.ZipFile, entry: Entry, path: Path, show: Callable[[], None] = lambda: None
) -> None:
    """Write one member; zipfile compares the CRC-32 and gives no more bytes than the directory says.
    ``show`` is called now and then."""
    length = 0
    with archive.open(entry.info) as stream, open(path, "wb") as file:
        while data := stream.read(CHUNK):
            length += file.write(data)
            show()
    if length != entry.info.file_size:
        raise ValueError(f"it has {length:,} bytes, not {entry.info.file_size:,}")


def _refuse_case(name: str, other: str) -> None:
    if name != other:
        raise ValueError(f"its members {other!r} and {name!r} differ in case only")


def _unpack_zip(
    file: IO[bytes], target: Path, patterns: Sequence[str], size: int, progress: Progress
) -> tuple[list[str], list[str]]:
    """Names of the members written below ``target`` and of those passed over."""
    with zipfile.ZipFile(file) as archive:
        entries, links = wanted_of(archive, patterns, size)
        for entry in entries:
            path = target / entry.name
            path.parent.mkdir(parents=True, exist_ok=True)
            extract(archive, entry, path, lambda: _show(file, progress))
    return sorted(entry.name for entry in entries), links


def _unpack_tar(
    file: IO[bytes], target: Path, patterns: Sequence[str], size: int, progress: Progress
) -> tuple[list[str], list[str]]:
    """As :func:`_unpack_zip`. A tar has no directory: what is wrong with it shows while it is read."""
    wanted, links, count = matcher(frozenset(patterns)), [], 0
    written: dict[str, str] = {}  # by the name without case
    room = max(LEAST_LIMIT, LARGEST_RATIO * size)
    opener = {b"\x1f\x8b": gzip.open, b"BZ": bz2.open, b"\xfd7": lzma.open}.get(file.read(2))
    file.seek(0)
    # headers and padding of small members come on top
    counted = _Counted(opener(file) if opener else file, 2 * room)
    with tarfile.open(fileobj=counted, mode="r|", tarinfo=_TarInfo) as archive:
        while (info := archive.next()) is not None:
            archive.members.clear()  # tarfile remembers all: hundreds of megabytes for a large archive
            _show(file, progress)
            if info.isdir():
                continue
            count += 1
            if count > MOST_MEMBERS:
                raise ValueError(f"it has more than {MOST_MEMBERS:,} members")
            name = safe_name(_tar_name(info.name))
            same = safe_name(_tar_name(info.linkname)) if info.islnk() else ""
            if info.issym():
                links.append(name)
                continue
            if not info.isreg() and not info.islnk():
                raise ValueError(f"its member {name!r} is a device or pipe")
            if JUNK.search(name) or not wanted(name):
                continue
            _refuse_case(name, written.get(name.casefold(), name))
            if same and (written.get(same.casefold()) != same or same == name):
                links.append(name)
                continue
            path = target / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(target / same, "rb") if same else archive.extractfile(info) as stream:
                length = _copy(stream, path, room)
            if not same and length != info.size:
                raise ValueError("it breaks off")
            room -= length
            written[name.casefold()] = name
    while counted.read(CHUNK):  # the checksum of the compressed stream stands at its end
        pass
    return sorted(written.values()), links


def _show(file: IO[bytes], progress: Progress) -> None:
    progress.update(max(0, min(progress.total, file.tell() >> 20) - progress.done))


def _copy(stream: IO[bytes], path: Path, room: int) -> int:
    """Write a member; returns its bytes. Raises ValueError above ``room``."""
    written = 0
    with open(path, "wb") as file:
        while data := stream.read(CHUNK):
            written += len(data)
            if written > room:
                raise ValueError(TOO_LARGE)
            file.write(data)
    return written


def _kind(head: bytes) -> str:
    if head[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        return "zip"
    packed = head[:3] in (b"\x1f\x8b\x08", b"BZh") or head[:6] == b"\xfd7zXZ\x00"
    if packed or head[257:262] == b"ustar" or _old_tar(head):
        return "tar"
    raise ValueError("it is not a zip or tar archive")


def _old_tar(head: bytes) -> bool:
    """A header of before POSIX has no magic word, only its checksum."""
    try:
        tarfile.TarInfo.frombuf(head, "utf-8", "surrogateescape")
        return len(head) == tarfile.BLOCKSIZE
    except tarfile.TarError:
        return False


def unpack(archive: Path, target: Path, members: Sequence[str] = ()) -> list[str]:
    """Unpack the members that match one of the ``members`` (fnmatch patterns on the whole name; none: all)
    into the new folder ``target`` and return their names, sorted. Of members of the same name the last one
    counts.

    Raises RetimbreError for what is not an archive, is damaged, unsafe or far too large, and when nothing
    matches; OSError when the disk is full. In all cases nothing is left behind.
    """
    partial = target.with_name(f".{target.name}.unpacking")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        size = archive.stat().st_size
        with problems_named(archive, "delete it and download it again"):
            progress = Progress(size >> 20, f"unpack {archive.name}", "MB")
            with open(archive, "rb") as file, progress:
                kind = _kind(file.read(tarfile.BLOCKSIZE))
                file.seek(0)
                names, skipped = (_unpack_zip if kind == "zip" else _unpack_tar)(
                    file, partial, members, size, progress
                )
                progress.update(progress.total - progress.done)
            if not names:
                raise RetimbreError(nothing_of(archive, members))
            if skipped:
                print(f"{archive.name}: {len(skipped)} links were passed over ({skipped[0]} ...)", flush=True)
            partial.rename(target)
            return names
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def nothing_of(archive: Path | str, members: Sequence[str]) -> str:
    named = f"none of {', '.join(members[:3])}{' ...' if len(members) > 3 else ''}"
    return f"{archive} holds {named if members else 'no files'}: it is not the archive that was expected."


@contextmanager
def problems_named(archive: Path | str, advice: str) -> Iterator[None]:
    """Turn what goes wrong with the content of ``archive`` into a sentence that ends with ``advice``."""
    try:
        yield
    except DAMAGE as error:
        raise RetimbreError(f"{archive} cannot be unpacked ({reason_of(error)}): {advice}.") from None
    except UNSUPPORTED as error:
        raise RetimbreError(
            f"{archive} cannot be unpacked ({reason_of(error)}): unpack and repack it by hand."
        ) from None
    except (FileExistsError, NotADirectoryError, IsADirectoryError):
        raise RetimbreError(
            f"{archive} cannot be unpacked (a member is a file and a folder): {advice}."
        ) from None
    except OSError as error:
        # bz2 and gzip give invalid data no number; a damaged zip may point to a place before its beginning.
        if error.filename is None and error.errno in (None, errno.EINVAL):
            raise RetimbreError(f"{archive} cannot be unpacked ({reason_of(error)}): {advice}.") from None
        if error.strerror == "File name too long":
            raise RetimbreError(
                f"{archive} cannot be unpacked (the name of a member is too long): repack it with shorter "
                "names."
            ) from None
        raise


def reason_of(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".") or type(error).__name__
