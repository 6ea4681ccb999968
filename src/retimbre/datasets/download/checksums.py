"""Checksums of complete files, remembered so that a file of a hundred gigabytes is read once."""

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from retimbre.paths import write_atomically

ALGORITHMS = {"md5": 32, "sha1": 40, "sha256": 64, "sha512": 128}  # hexadecimal digits


def split_checksum(checksum: str) -> tuple[str, str]:
    """``"md5:..."`` as algorithm and lower-case digits. Raises ValueError for anything else: an adapter's mistake."""
    algorithm, _, digits = checksum.partition(":")
    if not re.fullmatch(rf"[0-9a-fA-F]{{{ALGORITHMS.get(algorithm, 0)}}}", digits) or algorithm not in ALGORITHMS:
        raise ValueError(f"checksum {checksum!r} is not one of {', '.join(ALGORITHMS)}, a colon and its digits")
    return algorithm, digits.lower()


def hash_file(path: Path, algorithms: Sequence[str]) -> dict[str, str]:
    digests = {name: hashlib.new(name) for name in algorithms}
    with open(path, "rb") as file:
        while data := file.read(1 << 20):
            for digest in digests.values():
                digest.update(data)
    return {name: digest.hexdigest() for name, digest in digests.items()}


def problem_of(path: Path, size: int | None, checksum: str, record: Path) -> str:
    """What is wrong with a complete file, "" when nothing is. ``record`` remembers its checksums while it does not change."""
    state = path.stat()
    if size is not None and state.st_size != size:
        return f"has {state.st_size:,} bytes, not {size:,}"
    algorithm, digits = split_checksum(checksum) if checksum else ("sha256", "")
    known = read_json(record)
    if (known.get("path"), known.get("size"), known.get("mtime_ns")) != (str(path), state.st_size, state.st_mtime_ns):
        known = {}
    sums = known.get("sums") or {}
    if algorithm not in sums:
        sums = sums | hash_file(path, [algorithm])
        write_json(record, {"path": str(path), "size": state.st_size, "mtime_ns": state.st_mtime_ns, "sums": sums})
    return "" if not digits or sums[algorithm] == digits else f"has the {algorithm} {sums[algorithm]}, not {digits}"


def read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return values if isinstance(values, dict) else {}
    except (OSError, ValueError):
        return {}


def write_json(path: Path, values: dict[str, Any]) -> None:
    with write_atomically(path) as file:
        json.dump(values, file, sort_keys=True)
