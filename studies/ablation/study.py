"""What the scripts of this study share: where things lie, and the params of a variant.

A variant is the project's ``params.yaml`` with a few values changed, written as after ``dvc exp run -S``
(``model.lambda_cycle: 1``). This folder is a DVC repository of its own inside the project (``dvc init --subdir``),
so that ``dvc status`` and ``dvc metrics show`` of the pipeline do not list the cells of a study.
"""

import json
import os
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT / "src"))  # this checkout's own code, as in stages/
os.environ["DVC_ROOT"] = str(ROOT)  # unfinished trainings and MLflow's store lie where the pipeline's do

from retimbre import params  # noqa: E402  (after the path is set)
from retimbre.errors import RetimbreError  # noqa: E402

VARIANTS, RESULTS, DATA = HERE / "variants.yaml", HERE / "results", HERE / "data"
DEFAULT_DATA = "default"  # the data that `make repro` made
SYSTEM = "system"  # a variant may name a control in the place of trained generators
CONTROLS = ("eq_match", "eq_affine")
AGAINST = "against"  # and the variant that it is compared with


def read_variants() -> dict[str, Any]:
    """``variants.yaml``. Raises RetimbreError when it is not there or is no YAML."""
    try:
        return yaml.safe_load(VARIANTS.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise RetimbreError(f"{VARIANTS} cannot be read: restore it with `git checkout` ({type(error).__name__}).") from None


def data_of(group: str, given: dict[str, Any]) -> str:
    """The data set that a group of variants is trained on: one of ``data``, or the pipeline's."""
    return group if group in given["data"] else DEFAULT_DATA


def groups(given: dict[str, Any]) -> dict[str, dict[str, dict[str, Any]]]:
    """Group -> variant -> its changes, in the file's order."""
    return {name: values or {} for name, values in given["groups"].items()}


def reference_of(group: str, variant: str, given: dict[str, Any]) -> str:
    """The variant that another is compared with: what it says by ``against``, else ``default``, or in a group with data of
    its own that group's variant of the same name.
    """
    if named := (groups(given)[group][variant] or {}).get(AGAINST):
        return named
    own = data_of(group, given) == group and group in groups(given)[group] and variant != group
    return group if own else "default"


def seeds_of(group: str, given: dict[str, Any]) -> list[int]:
    """Seeds of every variant of a group."""
    return given["seeds"][:1] if group in given["one_seed"] else given["seeds"]


def cells(given: dict[str, Any]) -> list[tuple[str, str, int]]:
    """Group, variant and seed of every cell, in the file's order."""
    return [(g, v, s) for g, variants in groups(given).items() for v in variants for s in seeds_of(g, given)]


def changed(values: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """A copy of params as read from YAML with ``{"model.lambda_cycle": 1, ...}`` set.

    Raises RetimbreError for a name that is no parameter.
    """
    values = deepcopy(values)
    for name, value in changes.items():
        section, _, key = name.partition(".")
        if not isinstance(values.get(section), dict) or key not in values[section]:
            raise RetimbreError(f"studies/ablation/variants.yaml: {name} is not a parameter of params.yaml: correct its name.")
        values[section][key] = value
    return values


def changes_of(group: str, variant: str, given: dict[str, Any]) -> dict[str, Any]:
    """Every parameter that a variant changes: what all cells share, its data set's changes, its own."""
    own = {name: value for name, value in (groups(given)[group][variant] or {}).items() if name not in (SYSTEM, AGAINST)}
    return {**given["all"], **given["data"].get(data_of(group, given), {}), **own}


def params_of(group: str, variant: str, given: dict[str, Any]) -> params.Params:
    """The validated params of a variant. Raises RetimbreError."""
    base = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    return params.parse(changed(base, changes_of(group, variant, given)), f"studies/ablation/variants.yaml, {variant}")


def system_of(group: str, variant: str, given: dict[str, Any]) -> str:
    """``generators`` (trained), or the control that a variant stands for. Raises RetimbreError for another name."""
    named = (groups(given)[group][variant] or {}).get(SYSTEM, "generators")
    if named not in ("generators", *CONTROLS):
        raise RetimbreError(f"studies/ablation/variants.yaml, {variant}: system is {named!r}: use {' or '.join(CONTROLS)}.")
    return named


def folders_of(data: str) -> tuple[Path, Path]:
    """Audio and features of a data set. Those that change features only share the pipeline's audio."""
    if data == DEFAULT_DATA:
        return ROOT / "data/resampled", ROOT / "data/features"
    own = DATA / data / "resampled"
    return own if own.is_dir() else ROOT / "data/resampled", DATA / data / "features"


def write_json(path: Path, values: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values, allow_nan=False) + "\n", encoding="utf-8")
