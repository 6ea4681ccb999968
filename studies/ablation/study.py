"""Paths and variants of the study, for its scripts.

A variant is the project's ``params.yaml`` with a few values changed, written as after ``dvc exp run -S``
(``model.lambda_cycle: 1``). This folder is a DVC repository of its own inside the project (``dvc init
--subdir``), so that ``dvc status`` and ``dvc metrics show`` of the pipeline do not list the cells of a
study.
"""

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT)]  # this checkout's own code, as in stages/
os.environ["DVC_ROOT"] = str(ROOT)  # unfinished trainings and MLflow's store lie where the pipeline's do

from retimbre import params  # noqa: E402  (after the path is set)
from retimbre.errors import RetimbreError  # noqa: E402
from retimbre.systems import catalogue  # noqa: E402
from retimbre.systems.controls import EQUALISERS  # noqa: E402

VARIANTS, RESULTS, DATA = HERE / "variants.yaml", HERE / "results", HERE / "data"
MODELS = ROOT / "data/models"
ORIGIN = "studies/ablation/variants.yaml"  # in messages
DEFAULT_DATA = "default"  # the data that `make repro` made
DEFAULT_SYSTEM = "cyclegan"
SYSTEM = "system"  # a variant may name another system, or a control, of which nothing is trained
CONTROLS = tuple(EQUALISERS)
AGAINST = "against"  # and the variant that it is compared with


@dataclass(frozen=True)
class Variant:
    """A row of the study: the ``data`` set and the ``system`` of its cells, their validated ``params``."""

    name: str
    data: str
    system: str
    params: Any

    @property
    def section(self) -> str:
        """Name of the params that its cells depend on; a control has the default system's representation."""
        return catalogue.section_name(DEFAULT_SYSTEM if self.system in CONTROLS else self.system)

    @property
    def own(self) -> Any:
        """That section."""
        return getattr(self.params, self.section)


def read_variants() -> dict[str, Any]:
    """``variants.yaml``. Raises RetimbreError when it is not there or is no YAML."""
    try:
        return yaml.safe_load(VARIANTS.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        said = f"{VARIANTS} cannot be read ({type(error).__name__})"
        raise RetimbreError(f"{said}: restore it with `git checkout`.") from None


def data_of(group: str, given: dict[str, Any]) -> str:
    """The data set that a group of variants is trained on: one of ``data``, or the pipeline's."""
    return group if group in given["data"] else DEFAULT_DATA


def groups(given: dict[str, Any]) -> dict[str, dict[str, dict[str, Any]]]:
    """Group -> variant -> its changes, in the file's order."""
    every = given["groups"].items()
    return {group: {name: values or {} for name, values in named.items()} for group, named in every}


def reference_of(group: str, name: str, given: dict[str, Any]) -> str:
    """The variant that another is compared with: what it says by ``against``, else ``default``, or in a
    group with data of its own that group's variant of the same name.
    """
    if named := groups(given)[group][name].get(AGAINST):
        return named
    own = data_of(group, given) == group and group in groups(given)[group] and name != group
    return group if own else "default"


def seeds_of(group: str, given: dict[str, Any]) -> list[int]:
    """Seeds of every variant of a group."""
    return given["seeds"][:1] if group in given["one_seed"] else given["seeds"]


def cells(given: dict[str, Any]) -> list[tuple[str, str, int]]:
    """Group, variant and seed of every cell, in the file's order."""
    return [(g, v, s) for g, variants in groups(given).items() for v in variants for s in seeds_of(g, given)]


def system_of(group: str, name: str, given: dict[str, Any]) -> str:
    """The system that a variant trains, or the control that it is. Raises RetimbreError for another name."""
    named, known = groups(given)[group][name].get(SYSTEM, DEFAULT_SYSTEM), (*catalogue.names(), *CONTROLS)
    if named not in known:
        raise RetimbreError(f"{ORIGIN}, {name}: system is {named!r}: use one of {', '.join(known)}.")
    return named


def params_with(changes: dict[str, Any], name: str) -> Any:
    """The project's params with ``{"model.lambda_cycle": 1, ...}`` set, validated; ``name``: whose changes.

    Raises RetimbreError for a name that is no parameter, and for a value that is not allowed.
    """
    values = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    for key, change in changes.items():
        for part in reversed(key.split(".")):
            change = {part: change}
        params.overlay(values, change)
    for other in {*catalogue.DEFAULTS} - {DEFAULT_SYSTEM}:  # which no cell trains
        values[catalogue.section_name(other)]["representation"] = values["vocoder"]["representation"]
    return params.parse(values, f"{ORIGIN}, {name}")


def variant(group: str, name: str, given: dict[str, Any]) -> Variant:
    """A variant, with what all cells share, its data set's changes and its own. Raises RetimbreError."""
    data, named = data_of(group, given), groups(given)[group]
    if (values := named.get(name)) is None:
        raise RetimbreError(f"{ORIGIN}: {group} has no variant {name!r}: it has {', '.join(named)}.")
    own = {key: value for key, value in values.items() if key not in (SYSTEM, AGAINST)}
    changes = {**given["all"], **given["data"].get(data, {}), **own}
    return Variant(name, data, system_of(group, name, given), params_with(changes, name))


def folders_of(data: str) -> tuple[Path, Path]:
    """Audio and features of a data set. Those that change features only share the pipeline's audio."""
    if data == DEFAULT_DATA:
        return ROOT / "data/resampled", ROOT / "data/features"
    own = DATA / data / "resampled"
    return own if own.is_dir() else ROOT / "data/resampled", DATA / data / "features"


def write_json(path: Path, values: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values, allow_nan=False) + "\n", encoding="utf-8")
