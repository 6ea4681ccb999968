"""Cells of a study: each runs in a process of one thread and leaves a small result in a file of its own."""

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from retimbre.training.devices import THREADS

INTERRUPTED = (130, 143)  # exit statuses


def run_cell(command: Sequence[str | Path], project: Path, log: Path) -> str | None:
    """Run a cell in the folder ``project``, with what it prints in ``log``.

    Returns None when it is done, "" when it was interrupted, and its last line when it failed.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    # Unbuffered, so that what a cell printed stands before its error.
    settings = {**dict.fromkeys(THREADS, "1"), "DVC_ROOT": str(project), "PYTHONUNBUFFERED": "1"}
    environment = {**os.environ, **settings}
    with log.open("w", encoding="utf-8") as stream:
        done = subprocess.run(
            command, cwd=project, env=environment, stdout=stream, stderr=subprocess.STDOUT, check=False
        ).returncode
    if done == 0:
        return None
    if done < 0 or done in INTERRUPTED:
        return ""
    lines = log.read_text(encoding="utf-8").strip().splitlines()
    return lines[-1] if lines else f"exit status {done}"


def read_result(path: Path, key: str) -> dict[str, Any] | None:
    """A cell's result, or None where there is none with this key."""
    found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
    return found if found and found["key"] == key else None


def write_result(path: Path, key: str, values: Mapping[str, Any]) -> None:
    """Write a cell's result with the key of what it was asked for."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"key": key, **values}, allow_nan=False) + "\n", encoding="utf-8")
