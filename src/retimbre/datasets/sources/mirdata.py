"""mirdata's knowledge of a data set: URLs and checksums, the index of its tracks and their metadata.

mirdata (Bittner et al., ISMIR 2019; https://github.com/mirdata/mirdata) is an optional extra. It never
downloads here: its index, which its wheel does not carry, is one of the files to fetch, and everything is
read from below ``root``.
"""

import importlib
import io
import json
import logging
import re
import unicodedata
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from retimbre.datasets.download.mirrors import RemoteFile
from retimbre.datasets.sources.common import AGAIN, table
from retimbre.errors import RetimbreError

INDEX_FOLDER = "mirdata"
ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")


def module(name: str) -> ModuleType:
    """``mirdata.datasets.<name>`` without its effect on logging. Raises RetimbreError: not installed."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        return importlib.import_module(f"mirdata.datasets.{name}")
    except ImportError as error:
        raise RetimbreError(
            f"dataset.source {name} needs mirdata ({error}): `pip install --no-deps -r "
            "requirements-no-deps.txt && pip install .[sources]`."
        ) from None
    finally:  # mirdata calls logging.basicConfig, which would make every other library's messages appear
        root.handlers[:], root.level = handlers, level


def remote(name: str, key: str, patterns: tuple[str, ...] = ()) -> RemoteFile:
    """One of the files of mirdata's table; archives are unpacked, to where mirdata's index expects them."""
    file = module(name).REMOTES[key]
    unpack = file.filename.endswith(ARCHIVES)
    folder = "" if file.destination_dir in (None, ".") else file.destination_dir
    return RemoteFile(
        file.filename, file.url, None, f"md5:{file.checksum}", unpack, patterns if unpack else (), folder
    )


def _index(name: str) -> Any:
    indexes = module(name).INDEXES
    return indexes[indexes["default"]]


def index(name: str) -> RemoteFile:
    """mirdata's list of the set's tracks and paths, a JSON file of its own record on Zenodo."""
    file = _index(name).remote
    return RemoteFile(file.filename, file.url, None, f"md5:{file.checksum}", folder=INDEX_FOLDER)


def _read_index(path: Path, name: str) -> dict[str, Any]:
    """The index; some of mirdata's are ZIP files in spite of their names."""
    with table(path, f"mirdata's index of {name}"):
        content = path.read_bytes()
        if content[:2] == b"PK":
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                names = (n for n in archive.namelist() if re.fullmatch(r"(?!__MACOSX).*\.json", n))
                content = archive.read(next(names))
        listed = json.loads(content)
        if not listed["tracks"]:
            raise ValueError("no tracks")
        return listed


def tracks(name: str, root: Path) -> list[Any]:
    """mirdata's track objects of the data set below ``root``, by id. Files may be missing."""
    root = Path(root).resolve()
    dataset = module(name).Dataset(data_home=str(root))
    path = root / INDEX_FOLDER / _index(name).filename
    dataset._index = _read_index(path, name)  # mirdata would look for it in its own folder
    with table(path, f"mirdata's index of {name}"):
        return [dataset.track(track_id) for track_id in sorted(dataset._index["tracks"])]


def _skeleton(path: str) -> str:
    return "".join(letter for letter in unicodedata.normalize("NFC", path) if letter.isascii())


class Locator:
    """Finds files that an archive names in another encoding than mirdata's index (IRMAS, Good-sounds)."""

    def __init__(self, root: Path):
        self.root = Path(root).resolve()
        self.names: dict[str, list[str]] | None = None

    def find(self, path: str) -> str | None:
        """The path below the root of the file at ``path`` (absolute, as mirdata gives it), or None."""
        relative = Path(path).relative_to(self.root).as_posix()
        if (self.root / relative).is_file():
            return relative
        if relative.isascii():
            return None
        if self.names is None:
            self.names = {}
            for file in self.root.rglob("*"):
                name = file.relative_to(self.root).as_posix()
                if not name.isascii():
                    self.names.setdefault(_skeleton(name), []).append(name)
        same = self.names.get(_skeleton(relative), [])
        return same[0] if len(same) == 1 else None


def complete(
    name: str, root: Path, wanted: Iterable[Any], audio_path: Callable[[Any], str | None]
) -> list[tuple[Any, str]]:
    """(track, path below the root) of all ``wanted``. Raises RetimbreError that names a missing one."""
    locator, found, missing = Locator(root), [], []
    for track in wanted:
        given = audio_path(track)
        path = locator.find(given) if given else None
        if path is None:
            missing.append(Path(given).relative_to(locator.root).as_posix() if given else track.track_id)
        else:
            found.append((track, path))
    if missing:
        raise RetimbreError(
            f"dataset.source {name}: {len(missing)} of {len(missing) + len(found)} files that mirdata's "
            f"index lists are missing from {root}, the first is {missing[0]}: {AGAIN}."
        )
    return found
