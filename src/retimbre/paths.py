"""The project's root, paths that users give, and files that appear complete or not at all."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from retimbre.errors import RetimbreError


def project_root() -> Path:
    """The folder of ``dvc.yaml``: ``DVC_ROOT``, which DVC sets to the original checkout in queued experiments too, else here."""
    return Path(os.environ.get("DVC_ROOT") or ".").resolve()


def user_path(given: str, label: str) -> Path:
    """A path that the user gives as ``label``; a relative one is below the project's root.

    Raises RetimbreError for the home of an unknown user and for links in a circle.
    """
    try:
        return (project_root() / Path(given).expanduser()).resolve()
    except RuntimeError as error:
        raise RetimbreError(f"{label}: {given} leads nowhere ({str(error).rstrip('.')}): give another path.") from None


@contextmanager
def write_atomically(path: Path, binary: bool = False) -> Iterator[IO[Any]]:
    """A new file beside ``path`` that takes its place when the block ends well, and is removed otherwise.

    Its name is its own, so that two processes may write the same file: the last one to finish counts.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        with open(partial, "wb") if binary else open(partial, "w", encoding="utf-8", newline="") as file:
            yield file
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
