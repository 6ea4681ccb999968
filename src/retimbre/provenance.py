"""Digests of values, files, code and library versions: the one place that traces results to causes.

A checkpoint, an output that evaluation keeps and a cell of a study are each keyed by what they depend on.
Code counts by what it does: comments, docstrings and layout change no digest.
"""

import ast
import dataclasses
import hashlib
import importlib.metadata
from collections.abc import Iterable, Mapping
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np

from retimbre.errors import RetimbreError

PACKAGE = Path(__file__).resolve().parent
# Modules that change no result: values of params are in the keys, and how long something takes is not.
WITHOUT_EFFECT = {
    f"retimbre.{name}"
    for name in ("params", "section", "errors", "progress", "tracking", "paths", "provenance")
}
LIBRARIES = (
    "auraloss basic-pitch librosa mir-eval numba numpy onnxruntime pyloudnorm scikit-learn scipy soxr "
    "swift-f0 torch torchmetrics"
).split()


# --------------------------------------------------------------------------------------------- values


def _feed(into: Any, value: Any, classes: set[type]) -> None:
    """Feed a value, with its type and extent, so that different values are different bytes."""
    kind = type(value).__name__
    if hasattr(value, "detach"):  # a tensor
        value = value.detach().cpu().numpy()
    elif kind == "device":  # torch's: where something is computed
        value = str(value)
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
            _feed(into, key, classes)
            _feed(into, value[key], classes)
    elif isinstance(value, list | tuple):
        into.update(f"list {len(value)};".encode())
        for item in value:
            _feed(into, item, classes)
    elif hasattr(value, "state_dict"):  # a network: its weights and what it was built from
        classes.add(type(value))
        into.update(f"network {kind};".encode())
        _feed(into, dict(value.state_dict()), classes)
        _feed(into, getattr(value, "config", None), classes)
    elif not isinstance(value, type) and (
        dataclasses.is_dataclass(value) or (hasattr(value, "__dict__") and not callable(value))
    ):
        classes.add(type(value))
        into.update(f"object {type(value).__module__}.{kind};".encode())
        if dataclasses.is_dataclass(value):  # one with slots has no vars
            names = [field.name for field in dataclasses.fields(value)]
        else:
            names = list(vars(value))
        kept = {name for name in names if not isinstance(getattr(type(value), name, None), cached_property)}
        _feed(into, {name: getattr(value, name) for name in kept}, classes)
    else:
        raise TypeError(f"a {kind} has no digest")


def digest(*values: Any) -> str:
    """32 hexadecimal digits that change with any of ``values``: numbers, texts, arrays, tensors, networks
    (weights and config), mappings, lists, and objects made of them. Raises TypeError for functions.
    """
    into = hashlib.blake2b(digest_size=16)
    _feed(into, values, set())
    return into.hexdigest()


def digest_with_code(*values: Any) -> str:
    """:func:`digest`, and of the code of every class of this package that the values are made of."""
    into, classes = hashlib.blake2b(digest_size=16), set()
    _feed(into, values, classes)
    modules = sorted({c.__module__ for c in classes if c.__module__.split(".")[0] == "retimbre"})
    return digest(into.hexdigest(), code_of(*modules) if modules else "", versions())


def digest_of_files(paths: Iterable[Path | str]) -> str:
    """32 hexadecimal digits that change with any byte and any relative name of files and folders.

    Where a folder lies does not matter, so a copy of it has the same digest. Raises RetimbreError for a
    missing one.
    """
    into = hashlib.blake2b(digest_size=16)
    for root in map(Path, paths):
        for file in _files(root):
            name = file.relative_to(root) if file != root else file.name
            into.update(f"\0{root.name}\0{name}\0{file.stat().st_size}\0".encode())
            with file.open("rb") as stream:
                into.update(hashlib.file_digest(stream, "blake2b").digest())
    return into.hexdigest()


def _files(path: Path) -> list[Path]:
    """The files of ``path`` (itself, or everything below it) in a fixed order."""
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise RetimbreError(f"{path} does not exist: run `dvc repro`, which makes what this stage needs.")
    return sorted(file for file in path.rglob("*") if file.is_file() and "__pycache__" not in file.parts)


# ----------------------------------------------------------------------------------------------- code


def _path_of(module: str, root: Path) -> Path | None:
    """The file of a module of this package, or None."""
    first, *rest = module.split(".")
    base = root.joinpath(*rest)
    paths = (base.with_suffix(".py"), base / "__init__.py") if first == "retimbre" else ()
    return next((path for path in paths if path.is_file()), None)


def imports_of(tree: ast.AST, package: str, in_functions: bool) -> set[str]:
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
            found |= imports_of(node, package, in_functions)
    return found


def _without_docstrings(tree: ast.Module) -> str:
    """A syntax tree's meaning as text: neither comments, layout nor docstrings."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(tree):
        if isinstance(node, documented) and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
    return ast.dump(tree)


@cache
def _read(path: Path, package: str) -> tuple[frozenset[str], frozenset[str], str]:
    """A file's imports, the texts that it contains, and its meaning. Each file is parsed once."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    values = (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant))
    words = {value for value in values if isinstance(value, str)}
    imports = imports_of(tree, package, in_functions=path.name != "__init__.py")
    return frozenset(imports), frozenset(words), _without_docstrings(tree)


@cache
def sources(module: str, root: Path = PACKAGE) -> tuple[Path, ...]:
    """The files of this package that importing ``module`` runs, and those that they name (C++), sorted.

    Imports inside functions count, except in packages' ``__init__.py`` (conveniences for users). Modules of
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
        beside = (file for file in path.parent.iterdir() if file.suffix != ".py" and file.name in words)
        found |= {file for file in beside if file.is_file()}
    return tuple(sorted(found))


@cache
def code_of(*modules: str, root: Path = PACKAGE) -> str:
    """A digest of everything that the modules (``retimbre.vocoders.catalogue`` ...) run.

    Raises ValueError for a module that is not of this package.
    """
    files = sorted({file for module in modules for file in sources(module, root)})
    if missing := [module for module in modules if _path_of(module, root) is None]:
        raise ValueError(f"{missing[0]} is not a module of retimbre")

    def meaning(file: Path) -> str | bytes:
        if file.suffix != ".py":
            return file.read_bytes()
        return _read(file, ".".join(("retimbre", *file.relative_to(root).parts[:-1])))[2]

    return digest({str(file.relative_to(root)): meaning(file) for file in files})


@cache
def versions(libraries: tuple[str, ...] = tuple(LIBRARIES)) -> str:
    """The versions of the libraries that results depend on, as one line."""

    def version(name: str) -> str:
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            return "none"

    return " ".join(f"{name}={version(name)}" for name in libraries)


def training_key(values: Mapping[str, Any], inputs: Iterable[Path | str], *modules: str) -> str:
    """16 hexadecimal digits of what a training depends on: params, bytes of its inputs, its code, torch's
    version (another version's arithmetic would not end with the same weights).
    """
    return digest(dict(values), digest_of_files(inputs), code_of(*modules), versions(("torch",)))[:16]
