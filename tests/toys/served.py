"""A web server on 127.0.0.1 that serves a folder, well or badly, for the tests of downloads.

    with serve(folder) as url: ...                       # a good server: ranges, entity tags, lengths
    with serve(folder, break_after=1000) as url: ...     # every answer ends after 1000 bytes
    write_sums(folder)                      # a SHA256SUMS, so that `dataset.archives` accepts small archives

``url`` is a str with three attributes: ``asked``, the list of ``(method, path, Range header)`` so far,
``sent``, the bytes of bodies by path, and ``manners``, which may be changed while it serves.
"""

import hashlib
import http.server
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

import yaml

BLOCK = 4096


@dataclass
class Manners:
    """The behaviour of a server."""

    ranges: bool = True  # answers Range with 206
    length: bool = True  # states Content-Length
    etag: bool = True
    modified: bool = False  # states Last-Modified
    rate: float | None = None  # bytes per second
    break_after: int | None = None  # bytes of an answer's body after which the connection is closed
    breaks: int = 1_000_000  # how many answers do so
    silent: int = 0  # so many answers send half and then nothing
    # status and headers of the first answers to GET
    errors: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    wrong: set[str] = field(default_factory=set)  # names whose bytes are changed
    redirect: bool = False  # every path first leads to /moved/...
    shift_range: int = 0  # a 206 that begins so many bytes late
    long_ranges: bool = False  # a 206 goes on to the end of the file, whatever was asked for
    version: str = "1"  # part of the entity tag
    silence_s: float = 5.0
    # called with the number of questions before this one, and its path
    before: Callable[[int, str], None] | None = None


class Served(str):
    """The base URL, without a slash at its end."""

    manners: Manners
    asked: list[tuple[str, str, str]]
    sent: dict[str, int]


# so that it can be written into a params.yaml
yaml.SafeDumper.add_representer(Served, yaml.SafeDumper.represent_str)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    folder: Path
    manners: Manners
    asked: list[tuple[str, str, str]]
    sent: dict[str, int]
    lock: threading.Lock

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _plain(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": "0"} | headers).items():
            self.send_header(name, value)
        self.end_headers()

    def _take(self, name: str) -> bool:
        """Count one down of a manner that holds for so many answers."""
        with self.lock:
            left = getattr(self.manners, name)
            setattr(self.manners, name, max(0, left - 1))
        return left > 0

    def _answer(self, body: bool) -> None:
        m, path = self.manners, unquote(urlsplit(self.path).path)
        if m.before:
            m.before(len(self.asked), path)
        self.asked.append((self.command, path, self.headers.get("Range", "")))
        with self.lock:
            error = m.errors.pop(0) if body and m.errors else None
        if error:
            return self._plain(*error)
        if m.redirect and not path.startswith("/moved/"):
            return self._plain(302, {"Location": f"/moved{self.path}"})
        file = self.folder / path.removeprefix("/moved").lstrip("/")
        if not file.is_file():
            return self._plain(404, {})
        data = file.read_bytes()
        if file.name in m.wrong:
            data = bytes([data[0] ^ 1]) + data[1:]
        tag = f'"{hashlib.md5(data).hexdigest()}-{m.version}"'
        start, end = self._span(tag, len(data))
        if start is not None and start >= len(data):
            return self._plain(416, {"Content-Range": f"bytes */{len(data)}"})
        self.send_response(200 if start is None else 206)
        if start is not None:
            self.send_header("Content-Range", f"bytes {start + m.shift_range}-{end - 1}/{len(data)}")
        part = data[start or 0 : end]
        if m.length:
            self.send_header("Content-Length", str(len(part)))
        else:
            self.send_header("Connection", "close")
            self.close_connection = True
        if m.etag:
            self.send_header("ETag", tag)
        if m.modified:
            self.send_header("Last-Modified", "Mon, 02 Jan 2023 03:04:05 GMT")
        self.end_headers()
        if body:
            self._send(part, path)

    def _span(self, tag: str, size: int) -> tuple[int | None, int]:
        """The first byte asked for, None for the whole file, and the end of the answer."""
        asked = self.headers.get("Range", "")
        condition = self.headers.get("If-Range")
        dated = self.manners.modified and condition and condition.startswith("Mon, 02 Jan 2023")
        fits = condition in (None, tag) or dated
        if not (self.manners.ranges and asked.startswith("bytes=") and fits):
            return None, size
        first, _, last = asked.removeprefix("bytes=").partition("-")
        return int(first), min(size, int(last) + 1) if last and not self.manners.long_ranges else size

    def _send(self, part: bytes, path: str) -> None:
        m = self.manners
        broken = m.break_after is not None and len(part) > m.break_after and self._take("breaks")
        silent = self._take("silent")
        end = m.break_after if broken else len(part) // 2 if silent else len(part)
        try:
            for i in range(0, end, BLOCK):
                self.wfile.write(part[i : min(i + BLOCK, end)])
                with self.lock:
                    self.sent[path] = self.sent.get(path, 0) + min(BLOCK, end - i)
                if m.rate:
                    time.sleep(BLOCK / m.rate)
            if silent:
                time.sleep(m.silence_s)
            if broken or silent:
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            self.close_connection = True


@contextmanager
def serve(folder: Path, **manners: object) -> Iterator[Served]:
    """Serve the files below ``folder``; ``manners`` are fields of Manners."""
    attributes = {"folder": Path(folder), "manners": Manners(**manners), "asked": [], "sent": {}}
    attributes["lock"] = threading.Lock()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), attributes))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    address = Served(f"http://127.0.0.1:{server.server_port}")
    for name in ("manners", "asked", "sent"):
        setattr(address, name, attributes[name])
    try:
        yield address
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def write_sums(folder: Path) -> Path:
    """Write ``folder/SHA256SUMS`` over every file below it, as ``sha256sum`` does."""
    files = sorted(path for path in Path(folder).rglob("*") if path.is_file() and path.name != "SHA256SUMS")
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder).as_posix()}\n"
        for path in files
    ]
    sums = Path(folder) / "SHA256SUMS"
    sums.write_text("".join(lines), encoding="utf-8")
    return sums
