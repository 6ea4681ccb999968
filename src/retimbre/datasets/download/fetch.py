"""Downloads that survive: continued after an interruption, tried again with patience, checked on the way.

``NAME.part`` holds the bytes that are there, ``NAME.part.json`` what is needed to go on (where they came
from, entity tag or date for ``If-Range``), ``NAME.ok.json`` the checksums of a complete file, so that it is
read once. All writes are unbuffered: whatever ends the program, the next run continues. A file with a wrong
checksum becomes ``NAME.bad``.
"""

import hashlib
import os
import queue
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import requests

from retimbre.datasets.download.checksums import problem_of, read_json, remember, split_checksum, write_json
from retimbre.datasets.download.mirrors import Location
from retimbre.datasets.download.web import (
    Later,
    NotThere,
    Patience,
    Stopped,
    encoded,
    patiently,
    read_chunk,
    request,
    shown,
    total_of,
    unreachable,
    validator,
)
from retimbre.errors import RetimbreError
from retimbre.progress import Progress

MEGABYTE = 1_000_000
LAST_WORDS_S = 0.5  # for the other downloads to end after one failed


@dataclass(frozen=True)
class Wanted:
    """A file to have below ``folder`` under ``name``, from the first of its locations that has it."""

    name: str
    locations: tuple[Location, ...]


@dataclass(frozen=True)
class Got:
    """A checked file, and where it came from."""

    path: Path
    location: Location


@dataclass
class _Partial:
    """The state of one ``.part`` file: ``done`` bytes that ``digest`` has seen."""

    path: Path
    note: dict[str, Any]
    algorithm: str
    done: int = 0
    digest: Any = None
    from_before: bool = False  # holds bytes of an earlier run
    counted: int = 0  # bytes that the progress knows of

    def restart(self) -> None:
        self.done, self.digest, self.note, self.from_before = 0, hashlib.new(self.algorithm), {}, False


def _write(file: IO[bytes], data: bytes) -> None:
    """All of ``data`` into an unbuffered file, which may take less at a time."""
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]


def sizes(wanted: Sequence[Wanted], parallel: int, patience: Patience) -> dict[str, int]:
    """Bytes of each file: as published, else as the server says (without the unknown), 0 for a local one."""

    def ask(file: Wanted) -> int | None:
        for location in file.locations:
            if location.local:
                return 0  # used where it is
            if location.size is not None:
                return location.size
            try:
                with (
                    requests.Session() as session,
                    closing(request(session, location.place, {}, patience, "HEAD")) as response,
                ):
                    length = response.headers.get("Content-Length", "")
                    return int(length) if length.isdigit() and not encoded(response) else None
            except (Later, NotThere):
                continue
        return None

    with ThreadPoolExecutor(parallel) as pool:
        found = dict(zip([file.name for file in wanted], pool.map(ask, wanted), strict=True))
    return {name: size for name, size in found.items() if size is not None}


@dataclass
class Downloads:
    """A set of downloads into ``folder``; ``fetch`` is called once."""

    folder: Path
    parallel: int = 4
    patience: Patience = field(default_factory=Patience)

    def __post_init__(self) -> None:
        self.stop, self.lock = threading.Event(), threading.Lock()
        self.bytes, self.resumed, self.said = 0, 0, queue.SimpleQueue()
        self.sizes: dict[str, int] = {}

    def present(self, file: Wanted) -> Got | None:
        """The file when it is there complete and right, in the folder or where the user keeps it.

        A file in the folder that fits no location is kept aside. Raises RetimbreError for a wrong file of
        the user's.
        """
        record = self.folder / f"{file.name}.local.json"
        for location in file.locations:
            if location.local:
                if problem := problem_of(Path(location.place), location.size, location.checksum, record):
                    raise RetimbreError(
                        f"{location.place} {problem}: replace or remove it, or list it in a SHA256SUMS "
                        "beside it if it was repacked."
                    )
                return Got(Path(location.place), location)
        path = self.folder / file.name
        if not path.exists():
            return None
        problems, record = [], self.folder / f"{file.name}.ok.json"
        for location in file.locations:
            problem = problem_of(path, location.size, location.checksum, record)
            if not problem:
                return Got(path, location)
            problems.append(problem)
        self._keep_aside(path, path, problems[-1])
        return None

    def missing_bytes(self, name: str, size: int) -> int:
        """Bytes of a file of ``size`` bytes that are not here yet."""
        part = self.folder / f"{name}.part"
        return max(0, size - (part.stat().st_size if part.exists() else 0))

    def fetch(
        self, wanted: Sequence[Wanted], title: str = "download", known: dict[str, int] | None = None
    ) -> dict[str, Got]:
        """Every file, by name. ``known`` has sizes for the display.

        Raises RetimbreError that names the first file that could not be had; the others stop and can be
        continued.
        """
        got = {file.name: found for file in wanted if (found := self.present(file))}
        tasks = [file for file in wanted if file.name not in got]
        if not tasks:
            return got
        self.folder.mkdir(parents=True, exist_ok=True)
        names = {file.name for file in tasks}
        self.sizes = {name: size for name, size in (known or {}).items() if name in names}
        todo: queue.SimpleQueue = queue.SimpleQueue()
        done: queue.SimpleQueue = queue.SimpleQueue()
        for file in tasks:
            todo.put(file)
        # Daemons: an interrupt must not wait until a server that is silent has been given up.
        workers = [
            threading.Thread(target=self._work, args=(todo, done), daemon=True)
            for _ in range(min(self.parallel, len(tasks)))
        ]
        for worker in workers:
            worker.start()
        left = len(tasks)
        try:
            with Progress(self._megabytes(), title, "MB") as progress:
                while left:
                    try:
                        name, result = done.get(timeout=0.2)
                    except queue.Empty:
                        result = None
                    if isinstance(result, BaseException):
                        raise result
                    if result is not None:
                        got[name] = result
                        left -= 1
                    self._show(progress, left)
        except (RetimbreError, OSError):  # the first failure: the others get time to say where they stopped
            self.stop.set()
            for worker in workers:
                worker.join(timeout=LAST_WORDS_S)
            raise
        finally:
            self.stop.set()
            self._say()
        return got

    def _megabytes(self) -> int:
        return max(sum(self.sizes.values()), self.bytes) // MEGABYTE

    def _show(self, progress: Progress, left: int) -> None:
        self._say()
        with self.lock:
            progress.total, progress.start = self._megabytes(), self.resumed // MEGABYTE
            done = self.bytes // MEGABYTE
        if progress.bar is not None:
            progress.bar.total, progress.bar.initial = progress.total, progress.start
        progress.update(done - progress.done, f"{left} files left")

    def _say(self) -> None:
        while not self.said.empty():
            print(self.said.get(), flush=True)

    def _count(self, name: str, n: int, size: int | None = None) -> None:
        with self.lock:
            self.bytes += n
            if size is not None:
                self.sizes[name] = size

    def _work(self, todo: queue.SimpleQueue, done: queue.SimpleQueue) -> None:
        with requests.Session() as session:
            while not self.stop.is_set():
                try:
                    file = todo.get_nowait()
                except queue.Empty:
                    return
                try:
                    done.put((file.name, self._get(session, file)))
                except Stopped:
                    return
                except BaseException as error:  # shown by the main thread
                    done.put((file.name, error))
                    return

    def _get(self, session: requests.Session, file: Wanted) -> Got:
        """The file from the first location that gives it right."""
        reasons = []
        for location in file.locations:
            try:
                return Got(self._transfer(session, file.name, location), location)
            except NotThere as error:
                reasons.append(str(error))
                if not location.published and "404" not in reasons[-1]:
                    self.said.put(f"{file.name}: {reasons[-1]}; the next place is tried")
        raise unreachable(file.name, reasons)

    def _keep_aside(self, path: Path, wrong: Path, problem: str) -> Path:
        bad = path.with_name(f"{path.name}.bad")
        os.replace(wrong, bad)
        self.said.put(f"{path.name} {problem}: it is kept as {bad}")
        return bad

    def _transfer(self, session: requests.Session, name: str, location: Location) -> Path:
        path = self.folder / name
        algorithm, digits = split_checksum(location.checksum)
        part = _Partial(path.with_name(f"{name}.part"), {}, algorithm)
        self._resume(part, location, name)
        while True:
            patiently(
                lambda: self._attempt(session, part, location, name),
                self.patience,
                lambda: part.done,
                self.stop.wait,
                lambda said: self.said.put(f"{name}: {said}"),
            )
            found = part.digest.hexdigest()
            if not digits or found == digits:
                break
            problem = f"has the {algorithm} {found}, not {digits}"
            if not part.from_before:
                bad = self._keep_aside(path, part.path, problem)
                self._note(part).unlink(missing_ok=True)
                raise NotThere(f"what {shown(location.place)} sent {problem} (kept as {bad})")
            # what was there may have been another version
            self.said.put(f"{name} {problem}: the continued download is started over")
            self._start_over(part, name)
        with open(part.path, "rb") as file:
            os.fsync(file.fileno())
        os.replace(part.path, path)
        self._note(part).unlink(missing_ok=True)
        remember(path, path.with_name(f"{name}.ok.json"), {algorithm: found})
        return path

    @staticmethod
    def _note(part: _Partial) -> Path:
        return part.path.with_name(f"{part.path.name}.json")

    def _resume(self, part: _Partial, location: Location, name: str) -> None:
        """Read again what an earlier run left of this file: same place and version, or same checksum."""
        part.restart()
        note = read_json(self._note(part))
        same = (location.checksum and note.get("checksum") == location.checksum) or (
            note.get("place") == location.place and note.get("if_range")
        )
        if not same or not part.path.exists():
            return
        if note.get("place") != location.place:
            note.pop("if_range", None)
        with open(part.path, "rb") as file:
            while data := file.read(1 << 20):
                if self.stop.is_set():
                    raise Stopped
                part.digest.update(data)
                part.done += len(data)
        part.note, part.from_before, part.counted = note, part.done > 0, part.done
        self._count(name, part.done)
        with self.lock:
            self.resumed += part.done

    def _attempt(self, session: requests.Session, part: _Partial, location: Location, name: str) -> None:
        """Ask for what is missing and append it until the file is whole. Raises Later, NotThere, Stopped."""
        if part.done and location.size == part.done:
            return
        if part.done and not (part.note.get("if_range") or location.checksum):
            self._start_over(part, name)  # nothing would tell another version of the file
        headers = {"Range": f"bytes={part.done}-"} if part.done else {}
        if part.done and part.note.get("if_range"):
            headers["If-Range"] = part.note["if_range"]
        with closing(request(session, location.place, headers, self.patience)) as response:
            total = self._accept(response, part, location, name)
            if response.status_code == 416:
                return
            part.note = {"place": location.place, "checksum": location.checksum}
            part.note["if_range"] = validator(response)
            self.folder.mkdir(parents=True, exist_ok=True)
            write_json(self._note(part), part.note)
            self._count(name, 0, total)
            with open(part.path, "ab" if part.done else "wb", buffering=0) as file:
                file.truncate(part.done)
                while data := read_chunk(response):
                    if self.stop.is_set():
                        raise Stopped
                    if total is not None and part.done + len(data) > total:
                        raise NotThere(
                            f"{shown(location.place)} sends more than the {total:,} bytes that it stated"
                        )
                    _write(file, data)
                    part.digest.update(data)
                    part.done += len(data)
                    part.counted += len(data)
                    self._count(name, len(data))
        if data is None or (total is not None and part.done < total):
            whole = "" if total is None else f" of {total:,}"
            raise Later(f"{shown(location.place)} broke off at {part.done:,}{whole} bytes")

    def _start_over(self, part: _Partial, name: str) -> None:
        self._count(name, -part.counted)
        part.counted = 0
        part.restart()

    def _accept(
        self, response: requests.Response, part: _Partial, location: Location, name: str
    ) -> int | None:
        """Fit ``part`` to an answer; returns the whole file's bytes, None when nobody says."""
        host = shown(location.place)
        if response.status_code == 416:  # nothing follows: either all is there or it is another file
            if total_of(response) == part.done:
                return part.done
            self._start_over(part, name)
            raise Later(f"{host} has another version of the file now", wait_s=0)
        if response.status_code == 206:
            span = response.headers.get("Content-Range", "")
            if not span.startswith(f"bytes {part.done}-"):
                self._start_over(part, name)
                raise Later(f"{host} answers with another part of the file than asked for", wait_s=0)
            total = total_of(response)
        else:
            if part.done:
                self._start_over(part, name)
            length = response.headers.get("Content-Length", "")
            total = int(length) if length.isdigit() and not encoded(response) else None
        if location.size is not None and total is not None and total != location.size:
            raise NotThere(f"{host} offers {total:,} bytes, but the file has {location.size:,}")
        return location.size if total is None else total
