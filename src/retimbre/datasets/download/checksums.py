"""Checksums of complete files, remembered so that a file of a hundred gigabytes is read once."""

import hashlib
import json
from pathlib import Path
from typing import Any

from retimbre.paths import write_atomically


def split_checksum(checksum: str) -> tuple[str, str]:
    """``"md5:..."`` as algorithm and lower-case digits; SHA-256 and no digits where none is published."""
    algorithm, _, digits = (checksum or "sha256:").partition(":")
    return algorithm, digits.lower()


def problem_of(path: Path, size: int | None, checksum: str, record: Path) -> str:
    """The fault of a complete file, "" without one; ``record`` remembers checksums until it changes."""
    if size is not None and path.stat().st_size != size:
        return f"has {path.stat().st_size:,} bytes, not {size:,}"
    algorithm, digits = split_checksum(checksum)
    known = read_json(record)
    sums = known.get("sums", {}) if known.get("state") == _state(path) else {}
    if algorithm not in sums:
        with open(path, "rb") as file:
            sums[algorithm] = hashlib.file_digest(file, algorithm).hexdigest()
        remember(path, record, sums)
    right = not digits or sums[algorithm] == digits
    return "" if right else f"has the {algorithm} {sums[algorithm]}, not {digits}"


def remember(path: Path, record: Path, sums: dict[str, str]) -> None:
    """Write a file's checksums by algorithm, with what tells whether it has changed since."""
    write_json(record, {"state": _state(path), "sums": sums})


def _state(path: Path) -> list[Any]:
    return [str(path), path.stat().st_size, path.stat().st_mtime_ns]


def read_json(path: Path) -> dict[str, Any]:
    """A mapping from a file, empty when there is none."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return values if isinstance(values, dict) else {}
    except (OSError, ValueError):
        return {}


def write_json(path: Path, values: dict[str, Any]) -> None:
    with write_atomically(path) as file:
        json.dump(values, file, sort_keys=True)
