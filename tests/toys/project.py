"""Project folders with the smoke profile's parameters."""

from pathlib import Path
from typing import Any

import yaml

from tests.toys import ROOT


def laid_over(base: dict[str, Any], overlay: dict[str, Any]) -> dict[str, Any]:
    """``base`` with the values of ``overlay``, section by section."""
    changed = {
        k: laid_over(base[k], v) if isinstance(v, dict) and isinstance(base.get(k), dict) else v
        for k, v in overlay.items()
    }
    return base | changed


def smoke(**sections: dict[str, Any]) -> dict[str, Any]:
    """The whole of ``params.yaml`` under the smoke profile, with changes: ``smoke(dataset={"excerpt_s":
    2})``."""
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    for overlay in (yaml.safe_load((ROOT / "profiles/smoke.yaml").read_text()), sections):
        values = laid_over(values, overlay)
    return values


def write_params(folder: Path, **dataset: object) -> None:
    """``params.yaml`` in ``folder`` for sets of short clips."""
    short = {"train_minutes": 0, "validation_pieces": 1, "test_pieces": 1, "excerpt_s": 0.6}
    (folder / "params.yaml").write_text(yaml.safe_dump(smoke(dataset=short | dataset)))
