"""The store of downloads, outside every stage's output, because DVC deletes outputs before a stage runs.

    <downloads>/<source>/
        files/      what was downloaded, checked and unfinished; NAME.members/: taken out of an archive
        unpacked/   one folder per file and version, complete or absent
        fetched/    of sources that fetch for themselves
        root/       links to what this run uses of all that, and nothing else

``<downloads>`` is ``RETIMBRE_DOWNLOADS``, else ``.scratch/downloads`` in the project's root (git-ignored).
``root`` is made anew each time, so what an adapter sees does not depend on earlier runs.
"""

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from retimbre.datasets.download.archives import unpack
from retimbre.datasets.download.fetch import Downloads, Wanted, sizes
from retimbre.datasets.download.mirrors import Archives, Location, RemoteFile
from retimbre.datasets.download.partial import Members, fetch_members, forget, worth_asking
from retimbre.datasets.download.web import Patience, read_text
from retimbre.errors import RetimbreError
from retimbre.paths import project_root, user_path

GIGABYTE = 1e9


def _content(location: Location) -> Any:
    """Identity of a file's content: its checksum, else where it is from."""
    return location.checksum or [location.place, location.size]


def downloads_folder() -> Path:
    """The folder of all sources."""
    given = os.environ.get("RETIMBRE_DOWNLOADS")
    return user_path(given, "RETIMBRE_DOWNLOADS") if given else project_root() / ".scratch" / "downloads"


def link(source: Path | str, target: Path | str) -> None:
    """Make ``target`` the same file as ``source``.

    A copy where the file system has no hard links, or it is another one.
    """
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


class Store:
    """Downloads of one source. ``gather`` and ``show`` are called within ``locked``."""

    def __init__(
        self, source: str, archives: str | None, keep_archives: bool, downloads: int, patience: Patience
    ):
        self.source, self.place, self.keep_archives = source, archives, keep_archives
        self.downloads, self.patience = downloads, patience
        self.folder = downloads_folder() / source
        self.files, self.unpacked, self.fetched, self.root = (
            self.folder / name for name in ("files", "unpacked", "fetched", "root")
        )
        self.archives: Archives | None = None
        self.versions: dict[str, Path] = {}  # of the files gathered so far

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One process works on a source, others wait; the system frees the lock of one that was killed."""
        self.fetched.mkdir(parents=True, exist_ok=True)
        with open(self.folder / ".lock", "w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                print(f"waiting for another run that works on {self.folder}", flush=True)
                fcntl.flock(file, fcntl.LOCK_EX)
            for left in self.unpacked.glob(".*"):  # of a run that was killed while it unpacked
                shutil.rmtree(left) if left.is_dir() else left.unlink()
            yield

    def gather(self, files: Sequence[RemoteFile]) -> None:
        """Have every file unpacked. Raises RetimbreError: unreachable, wrong, damaged, no room."""
        if doubled := [file.name for file in files if sum(other.name == file.name for other in files) > 1]:
            raise ValueError(f"{self.source} lists {doubled[0]} twice")
        if self.archives is None:
            self.archives = Archives(self.place, self.source, lambda url: read_text(url, self.patience))
        for divided in [file for file in files if file.parts]:
            self._gather_divided(divided)
        files = [file for file in files if not file.parts]
        locations = {file.name: tuple(self.archives.locations(file)) for file in files}
        if by_hand := [name for name, places in locations.items() if not places]:
            raise RetimbreError(
                f"{self.source}: its publisher lets no program download {by_hand[0]}: get it as "
                f"docs/datasets/{self.source}.md says and give its folder as dataset.archives."
            )
        missing = []
        for file in files:
            versions = (self._version(file, _content(location)) for location in locations[file.name])
            if there := [path for path in versions if path.is_dir()]:
                self.versions[file.name] = there[0]
            else:
                missing.append(file)
        wanted = [Wanted(file.name, locations[file.name]) for file in missing]
        downloads = Downloads(self.files, self.downloads, self.patience)
        absent = [file for file in wanted if not (self.files / file.name).exists()]
        known = sizes(absent, self.downloads, self.patience)

        def make_room(size: int) -> None:
            self._refuse_full_disk(size, 0, "the chosen files")

        for file in list(missing):
            places = locations[file.name]
            asked = worth_asking(file, places, self.files, known.get(file.name))
            if asked and (found := fetch_members(file, places, self.files, self.patience, make_room)):
                self._place_members(file, found)
                missing.remove(file)
                known.pop(file.name, None)
        wanted = [file for file in wanted if file.name in {left.name for left in missing}]
        to_download = sum(downloads.missing_bytes(name, size) for name, size in known.items())
        to_unpack = sum(known.get(file.name, 0) for file in missing if file.unpack)  # at least
        self._refuse_full_disk(to_download, to_unpack, "the files")
        got = downloads.fetch(wanted, f"download {self.source}", known)
        for file in missing:
            found = got[file.name]
            self._unpack(file, found.path, found.location)
            forget(self.files, file.name)  # of an earlier choice: the archive has them all
            if not self.keep_archives and found.path.parent == self.files:
                found.path.unlink()

    def _gather_divided(self, file: RemoteFile) -> None:
        """An archive in parts: they are files like others, joined only to be unpacked."""
        self.gather(file.parts)
        parts = [self.versions[part.name] / part.name for part in file.parts]
        target = self._version(file, [part.parent.name for part in parts])
        if not target.is_dir():
            self._forget_versions(file)
            whole = self.unpacked / f".{file.name}"
            try:
                with open(whole, "wb") as joined:
                    for part in parts:
                        with open(part, "rb") as piece:
                            shutil.copyfileobj(piece, joined, 1 << 20)
                unpack(whole, target, file.members)
            finally:
                whole.unlink(missing_ok=True)
        self.versions[file.name] = target

    def _version(self, file: RemoteFile, content: Any) -> Path:
        """The folder of one version of a file: what tells its content, and what is wanted of it."""
        text = json.dumps([file.name, content, file.unpack, sorted(file.members)])
        return self.unpacked / f"{file.name}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"

    def _forget_versions(self, file: RemoteFile) -> None:
        for old in self.unpacked.iterdir() if self.unpacked.is_dir() else ():
            if old.name.rpartition("-")[0] == file.name:
                shutil.rmtree(old)

    def _refuse_full_disk(self, to_download: int, to_unpack: int, what: str) -> None:
        free = shutil.disk_usage(self.folder).free
        if to_download + to_unpack > free:
            unpacked = f" and {to_unpack / GIGABYTE:.1f} GB at least to be unpacked" if to_unpack else ""
            raise RetimbreError(
                f"{self.folder} has {free / GIGABYTE:.1f} GB free, but {what} of {self.source} need "
                f"{to_download / GIGABYTE:.1f} GB{unpacked}: make room, lower dataset.limit_hours, or set "
                "RETIMBRE_DOWNLOADS to a folder on a larger disk."
            )

    @contextmanager
    def _placing(self, file: RemoteFile, location: Location) -> Iterator[Path]:
        """An empty folder that becomes the version of a file when the block ends well; others are deleted."""
        self._forget_versions(file)
        target = self._version(file, _content(location))
        partial = target.with_name(f".{target.name}.unpacking")
        partial.mkdir(parents=True)
        yield partial
        partial.rename(target)
        self.versions[file.name] = target

    def _place_members(self, file: RemoteFile, found: Members) -> None:
        """Place members as the unpacked archive would be."""
        with self._placing(file, found.location) as folder:
            for name, path in found.paths.items():
                link(path, folder / name)
        if not self.keep_archives:
            forget(self.files, file.name)

    def _unpack(self, file: RemoteFile, path: Path, location: Location) -> None:
        if file.unpack:
            self._forget_versions(file)
            self.versions[file.name] = self._version(file, _content(location))
            unpack(path, self.versions[file.name], file.members)
            return
        with self._placing(file, location) as folder:
            # The user's own file is never linked: DVC may write-protect what is.
            (shutil.copyfile if location.local else link)(path, folder / file.name)

    def show(self, files: Sequence[RemoteFile]) -> Path:
        """``root`` with the contents of ``files`` in their folders, later ones over earlier ones, and what
        the source fetched for itself. Files and folders whose names begin with a dot stay where they are."""
        shutil.rmtree(self.root, ignore_errors=True)
        for source, target in [
            *((self.versions[file.name], self.root / file.folder) for file in files),
            (self.fetched, self.root),
        ]:
            shutil.copytree(
                source, target, copy_function=link, ignore=shutil.ignore_patterns(".*"), dirs_exist_ok=True
            )
        return self.root
