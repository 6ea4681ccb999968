"""Places of the audio in a file whose headers do not tell them.

A recorder that was cut off or wrote into a pipe leaves sizes of 0 or of all ones; ``cat`` and radio streams
put several streams into one file, of which a decoder reads the first; an MP3 without a table of contents has
its length guessed from the first frame. :func:`parts` finds the streams and mends what is said of their
sizes.
"""

import io
import mmap
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

SYNC, XING = b"\xff", (b"Xing", b"Info")
KBPS = {  # of MPEG layer III, by MPEG 1 or not
    True: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    False: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
TAGS = 8192  # bytes: of tags and padding after the last frame of an MP3
LOST = 1 << 16  # bytes searched for the next frame of an MP3


@dataclass(frozen=True)
class Part:
    """One stream: ``head`` and then the file's bytes from ``start`` to ``stop``."""

    start: int
    stop: int
    head: bytes = b""

    def open(self, path: Path) -> io.BufferedReader:
        return io.BufferedReader(_View(path, self), 1 << 16)


class _View(io.RawIOBase):
    """A part of a file as a file."""

    def __init__(self, path: Path, part: Part):
        self.file, self.part, self.at = open(path, "rb", buffering=0), part, 0
        self.size = len(part.head) + part.stop - part.start

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self.at = max(0, offset + {os.SEEK_SET: 0, os.SEEK_CUR: self.at, os.SEEK_END: self.size}[whence])
        return self.at

    def readinto(self, buffer) -> int:
        head = self.part.head[self.at : self.at + len(buffer)]
        if head:
            buffer[: len(head)] = head
            count = len(head)
        else:
            count = max(0, min(len(buffer), self.size - self.at))
            self.file.seek(self.part.start + self.at - len(self.part.head))
            count = self.file.readinto(memoryview(buffer)[:count])
        self.at += count
        return count

    def close(self) -> None:
        self.file.close()
        super().close()


def parts(path: Path) -> list[Part]:
    """The streams of a file that is not empty, in their order; ``[]`` where it can be opened as it is."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        found = _kind(data)(data)
    return [] if found == [Part(0, os.path.getsize(path))] else found


def _kind(data: mmap.mmap) -> Callable[[mmap.mmap], list[Part]]:
    start = _after_id3(data, 0)
    if data[:4] in (b"RIFF", b"FORM"):
        return _iff
    if data[:4] == b"caff":
        return _caf
    if data[:4] in SIZES:
        return _sized
    if data[start : start + 4] == b"fLaC":
        return _flac
    if data[:4] == b"OggS":
        return _ogg
    return _mp3 if start or _frame(data, 0) else _whole


def _whole(data: mmap.mmap) -> list[Part]:
    return [Part(0, len(data))]


def _split(data: mmap.mmap, starts: list[int]) -> list[Part]:
    return [Part(a, b) for a, b in zip([0, *starts], [*starts, len(data)], strict=True)]


def _iff(data: mmap.mmap) -> list[Part]:
    """WAV and AIFF: files joined by ``cat``, and the sizes that a recorder did not live to write."""
    found, start, magic = [], 0, data[:4]
    order = "<" if magic == b"RIFF" else ">"
    while start < len(data):
        size = struct.unpack_from(order + "I", data, start + 4)[0] if start + 8 <= len(data) else 0
        stop = start + 8 + size + size % 2
        joined = size and data[stop : stop + 4] == magic and stop + 12 < len(data)
        if size in (0, 0xFFFFFFFF) and not joined:
            stop = len(data)
        found.append(_finished(data, start, min(stop, len(data)), order) or Part(start, stop))
        start = stop if joined else len(data)
    if len(found) == 1 and not found[0].head:
        return _whole(data)
    return found


def _finished(data: mmap.mmap, start: int, stop: int, order: str) -> Part | None:
    """The file from ``start`` to ``stop`` with the sizes that its bytes have, where its header says less."""
    at, common = start + 12, None
    while at + 8 <= stop:
        name, size, body = data[at : at + 4], struct.unpack_from(order + "I", data, at + 4)[0], at + 8
        if name == b"COMM" and size >= 18 and body + 18 <= stop:
            common = body
        if name in (b"data", b"SSND"):
            end = body + size + size % 2
            if end >= stop or _chain(data, end, stop, order) or (name == b"SSND" and common is None):
                return None
            head = bytearray(data[start:body])
            struct.pack_into(order + "I", head, 4, min(stop - start - 8, 0xFFFFFFFF))
            struct.pack_into(order + "I", head, at + 4 - start, min(stop - body, 0xFFFFFFFF))
            if common is not None:
                channels, _, bits = struct.unpack_from(">hIh", data, common)
                frames = (stop - body - 8) // (max(channels, 1) * max((bits + 7) // 8, 1))
                struct.pack_into(">I", head, common + 2 - start, min(max(frames, 0), 0xFFFFFFFF))
            return Part(body, stop, bytes(head))
        at += 8 + size + size % 2
    return None


def _chain(data: mmap.mmap, at: int, stop: int, order: str) -> bool:
    """True when further chunks, and nothing else, lie from ``at`` to ``stop``."""
    while at + 8 <= stop:
        name, size = data[at : at + 4], struct.unpack_from(order + "I", data, at + 4)[0]
        if not all(32 <= byte < 127 for byte in name):
            return False
        at += 8 + size + size % 2
    return at <= stop + 1


def _caf(data: mmap.mmap) -> list[Part]:
    """Core Audio: files joined by ``cat``, and data of another size than stated, which libsndfile refuses."""
    starts, at = [], 8
    while at + 12 <= len(data):
        if data[at : at + 4] == b"caff":
            starts.append(at)
            at += 8
            continue
        name, size = data[at : at + 4], struct.unpack_from(">q", data, at + 4)[0]
        rest = len(data) - at - 12
        if name == b"data" and (size == -1 or size > rest > 0):
            *whole, last = _split(data, starts)
            return [*whole, Part(at + 12, len(data), data[last.start : at + 4] + struct.pack(">q", rest))]
        if size < 0:
            break
        at += 12 + size
    return _split(data, starts)


def _rf64_size(data: mmap.mmap, at: int) -> int:
    return 8 + struct.unpack_from("<Q", data, at + 20)[0] if data[at + 12 : at + 16] == b"ds64" else 0


def _au_size(data: mmap.mmap, at: int) -> int:
    offset, size = struct.unpack_from(">II", data, at + 4)
    return offset + size


# Bytes of a file from its beginning at a place on, by its first four bytes.
SIZES: dict[bytes, Callable[[mmap.mmap, int], int]] = {
    b"RF64": _rf64_size,
    b".snd": _au_size,
    b"riff": lambda data, at: struct.unpack_from("<Q", data, at + 16)[0],  # W64
}


def _sized(data: mmap.mmap) -> list[Part]:
    """Files joined by ``cat`` that state their sizes; the last may be cut off."""
    starts, at, magic = [], 0, data[:4]
    while at + 32 <= len(data) and (size := SIZES[magic](data, at)):
        at += size
        if data[at : at + 4] != magic:
            break
        starts.append(at)
    return _split(data, starts)


def _flac(data: mmap.mmap) -> list[Part]:
    magic, starts = b"fLaC\x00\x00\x00\x22", []
    at = data.find(magic, data.find(b"fLaC") + 4)
    while at >= 0:
        starts.append(at)
        at = data.find(magic, at + 4)
    return _split(data, starts)


def _ogg(data: mmap.mmap) -> list[Part]:
    """Links of a chain begin at a first page (BOS) that follows no other (those are streams side by side)."""
    first, starts, after = b"OggS\x00\x02", [], 0
    at = data.find(first)
    while at >= 0:
        if after and at != after:
            starts.append(at)
        lacing = data[at + 27 : at + 27 + (data[at + 26] if at + 26 < len(data) else 0)]
        after = at + 27 + len(lacing) + sum(lacing)
        at = data.find(first, at + 4)
    return _split(data, starts)


def _after_id3(data: mmap.mmap, at: int) -> int:
    while data[at : at + 3] == b"ID3" and at + 10 <= len(data):
        size = data[at + 6] << 21 | data[at + 7] << 14 | data[at + 8] << 7 | data[at + 9]
        at += 10 + size + (10 if data[at + 5] & 0x10 else 0)
    return at


@dataclass(frozen=True)
class _Frame:
    """Header of an MP3's frame; ``table``: where a table of contents would begin in it."""

    length: int  # bytes
    rate: int
    channels: int
    table: int


def _frame(data: mmap.mmap | bytearray, at: int) -> _Frame | None:
    """The frame of MPEG layer III at ``at``, if there is one."""
    head = data[at : at + 4]
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE6 != 0xE2:
        return None
    version, index, rate_index = head[1] >> 3 & 3, head[2] >> 4, head[2] >> 2 & 3
    if version == 1 or index in (0, 15) or rate_index == 3:
        return None
    mpeg1, mono = version == 3, head[3] >> 6 == 3
    rate = (44100, 48000, 32000)[rate_index] >> {3: 0, 2: 1, 0: 2}[version]
    length = (144000 if mpeg1 else 72000) * KBPS[mpeg1][index] // rate + (head[2] >> 1 & 1)
    side = (17 if mono else 32) if mpeg1 else (9 if mono else 17)
    return _Frame(length, rate, 2 - mono, 4 + side)


@dataclass
class _Run:
    """Frames of one MP3 stream; ``stated``: those that its table of contents names, None without one."""

    start: int
    stop: int
    first: _Frame
    stated: int | None
    frames: int = 0


def _contents(data: mmap.mmap, at: int, frame: _Frame) -> tuple[int, int, int] | None:
    """Flags, frames and bytes of the table of contents in the frame at ``at``, if there is one."""
    place = at + frame.table
    if data[place : place + 4] not in XING or place + 16 > len(data):
        return None
    return struct.unpack_from(">III", data, place + 4)


def _mp3(data: mmap.mmap) -> list[Part]:
    start = _after_id3(data, 0)
    first = _frame(data, start)
    flags, _, size = (first and _contents(data, start, first)) or (0, 0, 0)
    if flags & 3 == 3 and abs(start + size - len(data)) < TAGS:
        return _whole(data)  # the table is of this file
    runs = _runs(data, start)
    if len(runs) == 1 and runs[0].stated == runs[0].frames:
        return _whole(data)
    return [_with_table(data, run) for run in runs if run.frames] or _whole(data)


def _runs(data: mmap.mmap, at: int) -> list[_Run]:
    """The streams of an MP3: a new one begins where a table of contents or another rate does."""
    runs: list[_Run] = []
    while at + 4 <= len(data):
        frame = _frame(data, at)
        if frame is None or not (_frame(data, at + frame.length) or runs or at + frame.length >= len(data)):
            at = _next_frame(data, at + 1)
            continue
        contents = _contents(data, at, frame)
        shape = (frame.rate, frame.channels)
        if contents or not runs or shape != (runs[-1].first.rate, runs[-1].first.channels):
            flags, count, _ = contents or (0, 0, 0)
            runs.append(_Run(at, at, frame, count if flags & 1 else None))
        if not contents:
            runs[-1].frames += 1
        at = runs[-1].stop = min(at + frame.length, len(data))
    return runs


def _next_frame(data: mmap.mmap, at: int) -> int:
    """The next place at which two frames follow each other; the file's end where there is none soon."""
    at = _after_id3(data, at)
    limit = at + LOST
    while 0 <= (at := data.find(SYNC, at, limit)):
        frame = _frame(data, at)
        if frame and (_frame(data, at + frame.length) or at + frame.length == len(data)):
            return at
        at += 1
    return len(data) if limit >= len(data) else limit


def _with_table(data: mmap.mmap, run: _Run) -> Part:
    """The stream under a table of contents that names as many frames as there are."""
    contents, table = _contents(data, run.start, run.first), run.first.table
    if contents and contents[0] & 3 == 3:
        head = bytearray(data[run.start : run.start + run.first.length])
        struct.pack_into(">II", head, table + 8, run.frames, run.stop - run.start)
        return Part(run.start + len(head), run.stop, bytes(head))
    frame = bytearray(data[run.start : run.start + 4])
    frame[1] |= 1  # without a checksum
    frame[2] = frame[2] & 0x0F | 9 << 4  # at a bit rate that leaves room for the table
    frame = frame.ljust(_frame(frame, 0).length, b"\0")
    struct.pack_into(">4sIII", frame, table, b"Info", 3, run.frames, run.stop - run.start + len(frame))
    return Part(run.start + (run.first.length if contents else 0), run.stop, bytes(frame))
