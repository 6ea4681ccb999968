"""What evaluations made before, kept by content so that a rerun renders and scores only what changed.

Entries lie in ``$DVC_ROOT/.scratch/evaluation/<kind>/<key>`` (git-ignored, outside the stage's outputs, which
DVC deletes). A key is a :func:`digest` of *everything* that the entry depends on: samples, weights, params,
the source text that computed it (:func:`code_of`) and the versions of the libraries (:func:`versions`). So an
entry is never out of date; it can only be unused, and the oldest unused ones go when the folder is full.

An entry is a checksum followed by an ``.npz`` archive: the arrays of a nested value and its structure as
JSON. Nothing is pickled, so reading a file that somebody else wrote runs no code. A damaged entry counts as none.
"""

import ast
import contextlib
import dataclasses
import hashlib
import importlib
import importlib.metadata
import io
import json
import os
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

PACKAGE = Path(__file__).resolve().parents[1]
CHECKSUM_BYTES = 16
# Whose text changes no output: a new parameter must not make everything anew (values of params are in the keys).
WITHOUT_EFFECT = {f"retimbre.{name}" for name in ("params", "errors", "progress", "tracking")}
LIBRARIES = (
    "auraloss basic-pitch librosa mir-eval numba numpy onnxruntime pyloudnorm scikit-learn scipy soxr swift-f0 torch torchmetrics"
).split()


# ------------------------------------------------------------------------------------------- digests


def _feed(into: Any, value: Any) -> None:
    """Feed a value, with its type and extent, so that different values are different bytes."""
    kind = type(value).__name__
    if hasattr(value, "detach"):  # a tensor
        value = value.detach().cpu().numpy()
    if isinstance(value, np.ndarray):
        into.update(f"array {value.dtype} {value.shape};".encode())
        into.update(np.ascontiguousarray(value).tobytes())
    elif value is None or isinstance(value, bool | int | float | np.generic):
        into.update(f"{kind} {value!r};".encode())
    elif isinstance(value, str | bytes | Path):
        data = value if isinstance(value, bytes) else str(value).encode()
        into.update(f"{kind} {len(data)};".encode() + data)
    elif isinstance(value, Mapping):
        into.update(f"mapping {len(value)};".encode())
        for key in sorted(value, key=str):
            _feed(into, key)
            _feed(into, value[key])
    elif isinstance(value, list | tuple):
        into.update(f"list {len(value)};".encode())
        for item in value:
            _feed(into, item)
    elif hasattr(value, "state_dict"):  # a network: its weights and what it was built from
        into.update(f"network {kind};".encode())
        _feed(into, dict(value.state_dict()))
        _feed(into, getattr(value, "config", None))
    elif dataclasses.is_dataclass(value) or (hasattr(value, "__dict__") and not callable(value)):
        into.update(f"object {type(value).__module__}.{kind};".encode())
        _feed(into, {field.name: getattr(value, field.name) for field in dataclasses.fields(value)} if _plain(value) else vars(value))
    else:
        raise TypeError(f"a {kind} has no digest")


def _plain(value: Any) -> bool:
    return dataclasses.is_dataclass(value) and not isinstance(value, type)


def digest(*values: Any) -> str:
    """32 hexadecimal digits that change with any of ``values``: numbers, texts, arrays, tensors, networks
    (weights and config), mappings, lists, and objects made of them. Raises TypeError for functions.
    """
    into = hashlib.blake2b(digest_size=16)
    _feed(into, values)
    return into.hexdigest()


def _path_of(module: str, root: Path) -> Path | None:
    """The file of a module of this package, or None."""
    first, *rest = module.split(".")
    base = root.joinpath(*rest)
    paths = (base.with_suffix(".py"), base / "__init__.py") if first == "retimbre" else ()
    return next((path for path in paths if path.is_file()), None)


def _imports(tree: ast.AST, package: str, in_functions: bool) -> set[str]:
    """The modules that a syntax tree imports, except for type checkers only."""
    found: set[str] = set()
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            origin = ".".join([*above, *([node.module] if node.module else [])])
            found |= {origin, *(f"{origin}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        elif in_functions or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found |= _imports(node, package, in_functions)
    return found


@cache
def _read(path: Path, package: str) -> tuple[frozenset[str], frozenset[str], str]:
    """What a file imports, the texts that it contains, and what it says without comments and layout. Each file is parsed once."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    words = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return frozenset(_imports(tree, package, in_functions=path.name != "__init__.py")), frozenset(words), ast.dump(tree)


@cache
def sources(module: str, root: Path = PACKAGE) -> tuple[Path, ...]:
    """The files of this package that importing ``module`` runs, and files beside them that they name (C++), sorted.

    Imports inside functions count, except in packages' ``__init__.py`` (conveniences for users). Those of
    ``WITHOUT_EFFECT`` do not.
    """
    waiting, found = [module], set()
    while waiting:
        name = waiting.pop()
        path = _path_of(name, root)
        if path is None or path in found or name in WITHOUT_EFFECT:
            continue
        found.add(path)
        waiting.append(name.rpartition(".")[0])
        imports, words, _ = _read(path, name if path.name == "__init__.py" else name.rpartition(".")[0])
        waiting += imports
        found |= {file for file in path.parent.iterdir() if file.suffix != ".py" and file.name in words and file.is_file()}
    return tuple(sorted(found))


@cache
def code_of(*modules: str, root: Path = PACKAGE) -> str:
    """A digest of everything that the modules (``retimbre.vocoders.catalogue`` ...) run; comments and layout do not count."""
    files = sorted({file for module in modules for file in sources(module, root)})
    if missing := [module for module in modules if _path_of(module, root) is None]:
        raise ValueError(f"{missing[0]} is not a module of retimbre")

    def text(file: Path) -> str:
        parts = ("retimbre", *file.relative_to(root).with_suffix("").parts)
        return _read(file, ".".join(parts[:-1]))[2] if file.suffix == ".py" else file.read_text(encoding="utf-8")

    return digest({str(file.relative_to(root)): text(file) for file in files})


@cache
def versions() -> str:
    """The versions of the libraries that outputs and scores depend on, as one line."""

    def version(name: str) -> str:
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            return "none"

    return " ".join(f"{name}={version(name)}" for name in LIBRARIES)


# ------------------------------------------------------------------------------------------- entries


def _narrow(x: np.ndarray) -> np.ndarray:
    """The array in half the space or less when that loses nothing: 16-bit audio as integers, rounded values as float16."""
    if x.dtype != np.float32 or not x.size:
        return x
    with np.errstate(over="ignore", invalid="ignore"):
        narrower = ((x * np.float32(32768)).astype(np.int16), x.astype(np.float16))
    return next((y for y in narrower if _widen(y, "float32").tobytes() == x.tobytes()), x)


def _widen(x: np.ndarray, dtype: str) -> np.ndarray:
    return x.astype(np.float32) / np.float32(32768) if x.dtype == np.int16 and dtype == "float32" else x.astype(dtype, copy=False)


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
    if _plain(value) and type(value).__module__.startswith("retimbre."):
        kept = {field.name: _encode(getattr(value, field.name), arrays) for field in dataclasses.fields(value)}
        return {"class": f"{type(value).__module__}:{type(value).__qualname__}", "fields": kept}
    raise TypeError(f"a {type(value).__name__} cannot be kept")


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
    """A value made of numbers, texts, arrays, dicts, lists and dataclasses of retimbre as bytes, without loss."""
    arrays: dict[str, np.ndarray] = {}
    tree = json.dumps(_encode(value, arrays))
    buffer = io.BytesIO()
    np.savez_compressed(buffer, tree=np.frombuffer(tree.encode(), np.uint8), **arrays)
    data = buffer.getvalue()
    return hashlib.blake2b(data, digest_size=CHECKSUM_BYTES).digest() + data


def unpack(data: bytes) -> Any:
    """The value that ``pack`` was given. Raises ValueError when the bytes are damaged or of another version."""
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

    ``folder``: None keeps nothing. ``limit_mb``: megabytes that :meth:`trim` leaves, the least recently used go first.
    """

    def __init__(self, folder: Path | None, limit_mb: float = float("inf")):
        self.folder, self.limit_mb = (folder if limit_mb > 0 else None), limit_mb

    @classmethod
    def of_project(cls, limit_mb: float) -> "Cache":
        """The cache of this checkout; temporary experiments use that of the original one."""
        return cls(Path(os.environ.get("DVC_ROOT") or ".").resolve() / ".scratch" / "evaluation", limit_mb)

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
        partial = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            partial.write_bytes(pack(value))
            os.replace(partial, path)
        except OSError:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)
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
