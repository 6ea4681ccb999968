"""A file on a web server as a seekable file: only what is read is transferred (RFC 9110: range requests).

The answers must all be of one version of the file (its size and its entity tag or date). An answer that
breaks off is continued where it ended.
"""

import io
import re
from collections.abc import Sequence

import requests

from retimbre.datasets.download.web import (
    Later,
    Patience,
    encoded,
    patiently,
    read_chunk,
    request,
    shown,
    validator,
)

GAP = 1 << 16  # bytes that are read and dropped rather than asking once more
HEAD = 4  # bytes of the first question
LARGEST_READ = 32 << 20  # bytes at once, which are held in memory: the directory of half a million members
# bytes at the end that are read with one request: a zip's end record with the longest comment
TAIL = (1 << 16) + 256


class NoRanges(Exception):
    """The server gives whole files only."""


class Changed(Exception):
    """The server has another version of the file now."""


class RangeFile(io.RawIOBase):
    """``url`` for reading. ``plan`` says what will be read, so that one request serves neighbouring parts.

    ``received`` counts the bytes of all answers. Construction and reading raise NoRanges, Changed and
    NotThere (patience has ended, or the server refuses), reading more than LARGEST_READ at once ValueError.
    """

    def __init__(self, url: str, patience: Patience):
        super().__init__()
        self.url, self.patience, self.session = url, patience, requests.Session()
        self.size, self.version, self.position, self.received = 0, "", 0, 0
        self.spans: list[tuple[int, int]] = []
        self.response: requests.Response | None = None
        # the last bytes that came, where they stand, the end of the answer
        self.chunk, self.chunk_at, self.until = b"", 0, 0
        try:
            self.head = self._bytes(0, HEAD)
            self.tail_at = max(0, self.size - TAIL)
            self.tail = self._bytes(self.tail_at, self.size)
        except BaseException:
            self.close()
            raise

    def plan(self, spans: Sequence[tuple[int, int]]) -> None:
        """First byte and end of parts that will be read: asked for at once, neighbours together."""
        joined: list[tuple[int, int]] = []
        for start, end in sorted(spans):
            if joined and start - joined[-1][1] <= GAP:
                joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
            else:
                joined.append((start, end))
        self.spans = joined

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self.position, io.SEEK_END: self.size}[whence]
        if position < 0:
            raise OSError("a place before the file's first byte")
        self.position = position
        return position

    def read(self, size: int = -1) -> bytes:
        start = self.position
        end = max(start, self.size if size < 0 else min(self.size, start + size))
        if end - start > LARGEST_READ:
            raise ValueError(f"its directory is larger than {LARGEST_READ >> 20} MB")
        cut = min(max(start, self.tail_at), end)
        data = self._bytes(start, cut) + self.tail[max(0, cut - self.tail_at) : max(0, end - self.tail_at)]
        self.position = end
        return data

    def close(self) -> None:
        self.drop()
        self.session.close()
        super().close()

    def drop(self) -> None:
        """Forget the answer that is being read: what comes next is asked for anew."""
        if self.response is not None:
            self.response.close()
        self.response, self.chunk, self.until = None, b"", 0

    def _bytes(self, start: int, end: int) -> bytes:
        """The bytes from ``start`` to before ``end``, with patience as long as new ones come."""
        found = bytearray()

        def attempt() -> bytes:
            while len(found) < end - start:
                try:
                    found.extend(self._some(start + len(found), end))
                except Later:
                    self.drop()
                    raise
            return bytes(found)

        return patiently(attempt, self.patience, lambda: len(found))

    def _some(self, start: int, end: int) -> bytes:
        """At least one byte from ``start`` on."""
        while True:
            into = start - self.chunk_at
            if 0 <= into < len(self.chunk):
                return self.chunk[into : into + end - start]
            at = self.chunk_at + len(self.chunk)
            if self.response is None or not at <= start < self.until or start - at > GAP:
                self._ask(start, end)
                at = start
            data = read_chunk(self.response)
            if not data:
                raise Later(f"{shown(self.url)} broke off at byte {at:,} of {self.size:,}")
            self.received += len(data)
            self.chunk, self.chunk_at = data[: self.until - at], at

    def _ask(self, start: int, end: int) -> None:
        """Open an answer from ``start`` to the end of the planned part, at least to ``end``."""
        self.drop()
        end = max([end, *(stop for begin, stop in self.spans if begin <= start < stop)])
        headers = {"Range": f"bytes={start}-{end - 1}"}
        if self.version:
            headers["If-Range"] = self.version
        response = request(self.session, self.url, headers, self.patience)
        try:
            self.until = min(end, self._accept(response, start))
        except BaseException:
            response.close()
            raise
        self.response, self.chunk, self.chunk_at = response, b"", start

    def _accept(self, response: requests.Response, start: int) -> int:
        """The end of an answer that begins at ``start``. Raises NoRanges, Changed, Later."""
        host, known = shown(self.url), self.size > 0
        if response.status_code == 206 and not encoded(response):
            said = response.headers.get("Content-Range", "").strip()
            span = re.fullmatch(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})", said)
            first, last, total = map(int, span.groups()) if span else (-1, -1, -1)
            if not known and first == start and HEAD <= total and last >= first:
                self.size, self.version = total, validator(response)
                return last + 1
            if known and span and (total, validator(response)) != (self.size, self.version):
                raise Changed(f"{host} has another version of the file now")
            if known and first == start <= last:
                return last + 1
            if known:
                raise Later(f"{host} answers with another part of the file than asked for")
        elif known and (response.status_code == 416 or self.version):
            raise Changed(f"{host} has another version of the file now")
        raise NoRanges(f"{host} does not give parts of files")
