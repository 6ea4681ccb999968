"""Checkouts of the repository in which studies run the pipeline with other params."""

import subprocess
from pathlib import Path
from typing import Any

import yaml

from retimbre import params

ROOT = Path(__file__).resolve().parents[1]


def profile(name: str) -> dict[str, Any]:
    """The changes of a file in ``profiles/``."""
    return yaml.safe_load((ROOT / f"profiles/{name}.yaml").read_text(encoding="utf-8"))


def checked_out(folder: Path, *changes: dict[str, Any]) -> Path:
    """A checkout of ``HEAD`` with changes laid over its params; what DVC made in ``folder`` stays."""
    if not folder.is_dir():
        subprocess.run(["git", "clone", "--quiet", ROOT, folder], check=True)
    git = ["git", "-C", folder]
    subprocess.run([*git, "fetch", "--quiet", ROOT, "HEAD"], check=True)
    subprocess.run([*git, "reset", "--quiet", "--hard", "FETCH_HEAD"], check=True)
    values = yaml.safe_load((folder / "params.yaml").read_text(encoding="utf-8"))
    for one in changes:
        params.overlay(values, one)
    (folder / "params.yaml").write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    return folder
