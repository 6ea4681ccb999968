"""Project folders with the smoke profile's parameters."""

import importlib
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from retimbre import params, tracking
from tests.toys import ROOT


def under(profile: str) -> dict[str, Any]:
    """``params.yaml`` under a profile."""
    values = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    return params.overlay(values, yaml.safe_load((ROOT / f"profiles/{profile}.yaml").read_text("utf-8")))


def smoke(**sections: dict[str, Any]) -> dict[str, Any]:
    """``params.yaml`` under the smoke profile, with changes: ``smoke(dataset={"excerpt_s": 2})``."""
    return params.overlay(under("smoke"), sections)


def copy_checkout(folder: Path, wanted: Callable[[str], object]) -> None:
    """The working tree's files, new ones too, that are ``wanted`` by their names."""
    command = ["git", "ls-files", "-coz", "--exclude-standard"]
    listing = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    for name in filter(None, listing.stdout.split("\0")):
        if wanted(name) and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)


def write_params(folder: Path, **dataset: object) -> None:
    """``params.yaml`` in ``folder`` for sets of short clips."""
    short = {"train_minutes": 0, "validation_pieces": 1, "test_pieces": 1, "excerpt_s": 0.6}
    (folder / "params.yaml").write_text(yaml.safe_dump(smoke(dataset=short | dataset)))


@cache
def empty_store() -> bytes:
    """MLflow's database without experiments, for projects to begin with: to make one takes it two seconds."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("DVC_ROOT", folder)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        store = tracking._Store()
        store.connect()
        store.client.search_experiments()
        return Path(folder, "mlflow.db").read_bytes()


def run_stages(folder: Path, *names: str) -> None:
    """Run stages (``"vocoder inverter"``: one of a network) in a project folder, one after the other, in this
    process; MLflow's store is ``folder/mlflow.db``.
    """
    if not (store := folder / "mlflow.db").exists():
        store.write_bytes(empty_store())
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("DVC_ROOT", str(folder))
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{store}")
        for name in names:
            stage, *words = name.split()
            importlib.import_module(f"stages.{stage}").main(*words)
