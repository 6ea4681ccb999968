"""The project's root, paths that users give, and files that appear complete or not at all."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from retimbre.errors import RetimbreError


def project_root() -> Path:
    """The folder of ``dvc.yaml``: ``DVC_ROOT``, which DVC sets to the original checkout in queued
    experiments too, else here."""
    return Path(os.environ.get("DVC_ROOT") or ".").resolve()


def user_path(given: str, label: str) -> Path:
    """A path that the user gives as ``label``; a relative one is below the project's root.

    Raises RetimbreError for the home of an unknown user and for links in a circle.
    """
    try:
        return (project_root() / Path(given).expanduser()).resolve()
    except RuntimeError as error:
        raise RetimbreError(
            f"{label}: {given} leads nowhere ({str(error).rstrip('.')}): give another path."
        ) from None


def shown(text: str) -> str:
    """Text that any terminal can print: a file's name need not be UTF-8."""
    return text.encode(errors="replace").decode()


def check_place(path: Path) -> None:
    """Raise RetimbreError unless ``path`` can be the name of a file."""
    if not path.parent.is_dir():
        raise RetimbreError(f"the folder {path.parent} does not exist: create it or choose another output.")
    if path.is_dir():
        raise RetimbreError(f"{path} is a folder: give the name of a file in it.")


@contextmanager
def part_beside(path: Path) -> Iterator[Path]:
    """The name of a new file beside ``path`` that takes its place when the block ends well, else is removed.

    It is a name of its own, so that two processes may write the same file: the last one to finish counts.
    """
    # A long name has room for no more.
    part = path.with_name(f".{path.name[:40]}.{uuid.uuid4().hex[:8]}.part")
    try:
        yield part
        os.replace(part, path)
    finally:
        with suppress(OSError):  # it is gone after os.replace
            part.unlink()


@contextmanager
def write_atomically(path: Path) -> Iterator[IO[str]]:
    """A text file that is written whole or not at all (see :func:`part_beside`); missing folders are made."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with part_beside(path) as part:
        with open(part, "w", encoding="utf-8", newline="") as file:
            yield file
