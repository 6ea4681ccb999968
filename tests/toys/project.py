"""Project folders with the smoke profile's parameters."""

from pathlib import Path
from typing import Any

import yaml

from retimbre import params
from tests.toys import ROOT


def smoke(**sections: dict[str, Any]) -> dict[str, Any]:
    """``params.yaml`` under the smoke profile, with changes: ``smoke(dataset={"excerpt_s": 2})``."""
    values = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    params.overlay(values, yaml.safe_load((ROOT / "profiles/smoke.yaml").read_text(encoding="utf-8")))
    return params.overlay(values, sections)


def write_params(folder: Path, **dataset: object) -> None:
    """``params.yaml`` in ``folder`` for sets of short clips."""
    short = {"train_minutes": 0, "validation_pieces": 1, "test_pieces": 1, "excerpt_s": 0.6}
    (folder / "params.yaml").write_text(yaml.safe_dump(smoke(dataset=short | dataset)))
