"""Cache of evaluations, kept by content so that a rerun renders and scores only what changed.

Entries lie in ``$DVC_ROOT/.scratch/evaluation/<kind>/<key>`` (git-ignored, outside the stage's outputs,
which DVC deletes). A key is a digest (:mod:`retimbre.provenance`) of *everything* that the entry depends on:
samples, weights, params, code and library versions. So an entry is never out of date; it can only be unused,
and the oldest unused ones go when the folder is full.

An entry is a checksum followed by an ``.npz`` archive: the arrays of a nested value and its structure as
JSON. Nothing is pickled, so reading a file that somebody else wrote runs no code. A damaged entry counts as
none.
"""

import dataclasses
import hashlib
import importlib
import io
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from retimbre.paths import part_beside, project_root

CHECKSUM_BYTES = 16


# ------------------------------------------------------------------------------------------- entries


def _narrow(x: np.ndarray) -> np.ndarray:
    """The array in less space if nothing is lost: 16-bit audio as integers, rounded values as float16."""
    if x.dtype != np.float32 or not x.size:
        return x
    with np.errstate(over="ignore", invalid="ignore"):
        narrower = ((x * np.float32(32768)).astype(np.int16), x.astype(np.float16))
    return next((y for y in narrower if _widen(y, "float32").tobytes() == x.tobytes()), x)


def _widen(x: np.ndarray, dtype: str) -> np.ndarray:
    if x.dtype == np.int16 and dtype == "float32":
        return x.astype(np.float32) / np.float32(32768)
    return x.astype(dtype, copy=False)


def _encode(value: Any, arrays: dict[str, np.ndarray]) -> Any:
    """A nested value as JSON, its arrays put into ``arrays``."""
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        name = f"a{len(arrays)}"
        arrays[name] = _narrow(value)
        return {"array": name, "dtype": str(value.dtype)}
    if value is None or isinstance(value, str | bool | int):
        return {"plain": value}
    if isinstance(value, float | np.floating):
        return {"float": float(value).hex()}
    if isinstance(value, np.integer | np.bool_):
        return {"plain": value.item()}
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {"dict": {key: _encode(item, arrays) for key, item in value.items()}}
    if isinstance(value, list | tuple):
        return {"tuple" if isinstance(value, tuple) else "list": [_encode(item, arrays) for item in value]}
    kind = type(value)
    if dataclasses.is_dataclass(kind) and kind.__module__.startswith("retimbre."):
        kept = {f.name: _encode(getattr(value, f.name), arrays) for f in dataclasses.fields(value)}
        return {"class": f"{kind.__module__}:{kind.__qualname__}", "fields": kept}
    raise TypeError(f"a {kind.__name__} cannot be kept")


def _decode(tree: dict[str, Any], arrays: Mapping[str, np.ndarray]) -> Any:
    if "array" in tree:
        return _widen(arrays[tree["array"]], tree["dtype"])
    if "float" in tree:
        return float.fromhex(tree["float"])
    if "dict" in tree:
        return {key: _decode(item, arrays) for key, item in tree["dict"].items()}
    for kind in (list, tuple):
        if kind.__name__ in tree:
            return kind(_decode(item, arrays) for item in tree[kind.__name__])
    if "class" in tree:
        module, _, name = tree["class"].partition(":")
        found = getattr(importlib.import_module(module), name) if module.startswith("retimbre.") else None
        if not (isinstance(found, type) and dataclasses.is_dataclass(found)):
            raise ValueError(f"{tree['class']} is not a dataclass of retimbre")
        return found(**{key: _decode(item, arrays) for key, item in tree["fields"].items()})
    return tree["plain"]


def pack(value: Any) -> bytes:
    """A value of numbers, texts, arrays, dicts, lists and dataclasses of retimbre as bytes, without loss."""
    arrays: dict[str, np.ndarray] = {}
    tree = json.dumps(_encode(value, arrays))
    buffer = io.BytesIO()
    np.savez_compressed(buffer, tree=np.frombuffer(tree.encode(), np.uint8), **arrays)
    data = buffer.getvalue()
    return hashlib.blake2b(data, digest_size=CHECKSUM_BYTES).digest() + data


def unpack(data: bytes) -> Any:
    """The value that ``pack`` was given. Raises ValueError for damaged bytes and those of another version."""
    checksum, data = data[:CHECKSUM_BYTES], data[CHECKSUM_BYTES:]
    if hashlib.blake2b(data, digest_size=CHECKSUM_BYTES).digest() != checksum:
        raise ValueError("the checksum is wrong")
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as stored:
            return _decode(json.loads(stored["tree"].tobytes()), stored)
    except Exception as error:  # whole, but of a version whose classes have other fields
        raise ValueError(f"the entry is of another version ({type(error).__name__})") from None


class Cache:
    """A folder of entries by kind and key, shared by processes.

    ``folder``: None keeps nothing. ``limit_mb``: megabytes that :meth:`trim` leaves, the least recently used
    go first.
    """

    def __init__(self, folder: Path | None, limit_mb: float = float("inf")):
        self.folder, self.limit_mb = (folder if limit_mb > 0 else None), limit_mb

    @classmethod
    def of_project(cls, limit_mb: float) -> "Cache":
        """The cache of this checkout; temporary experiments use that of the original one."""
        return cls(project_root() / ".scratch" / "evaluation", limit_mb)

    def _path(self, kind: str, key: str) -> Path:
        return self.folder / kind / key[:2] / key

    def get(self, kind: str, key: str) -> Any | None:
        """The entry, or None when there is none or it is damaged."""
        if self.folder is None:
            return None
        path = self._path(kind, key)
        try:
            value = unpack(path.read_bytes())
            os.utime(path)  # used now
        except (OSError, ValueError):
            return None
        return value

    def put(self, kind: str, key: str, value: Any) -> bool:
        """Keep a value (never None); False when there is no cache or the disk takes no more."""
        if self.folder is None:
            return False
        path = self._path(kind, key)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with part_beside(path) as part:
                part.write_bytes(pack(value))
        except OSError:
            return False
        return True

    def once(self, kind: str, key: str, make: Callable[[], Any]) -> Any:
        """The entry, made and kept when it is not there."""
        value = self.get(kind, key)
        if value is None:
            value = make()
            self.put(kind, key, value)
        return value

    def trim(self) -> int:
        """Drop the least recently used entries above the limit; returns how many."""
        if self.folder is None or not self.folder.is_dir():
            return 0
        entries = []
        for path in self.folder.rglob("*"):
            try:
                if path.is_file():
                    entries.append((path.stat().st_mtime_ns, path.stat().st_size, path))
            except OSError:  # another process dropped it
                continue
        dropped, size = 0, sum(size for _, size, _ in entries)
        for _, bytes_, path in sorted(entries):
            if size <= self.limit_mb * 1e6:
                break
            path.unlink(missing_ok=True)
            dropped, size = dropped + 1, size - bytes_
        return dropped


class Stored:
    """A kept value that is read again whenever one of its attributes is asked for, so that hundreds of
    them cost no memory. Attributes given here are held and need no reading.
    """

    def __init__(self, cache: Cache, kind: str, key: str, **held: Any):
        self.__dict__.update(held, _place=(cache, kind, key))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or "_place" not in self.__dict__:
            raise AttributeError(name)
        cache, kind, key = self._place
        value = cache.get(kind, key)
        if value is None:
            raise OSError(f"{cache.folder}: an entry vanished while it was in use; run the stage again")
        return getattr(value, name)
