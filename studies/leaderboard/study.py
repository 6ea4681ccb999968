"""Rows of the leaderboard, their params, and where their results lie.

A row is a section of ``rows.yaml``: a control or a baseline of the bench by its name, or a ``system`` (the
folder of its code) with ``params`` laid over the project's. ``cpu`` is laid over them, too: sizes and steps
for two cores, which a profile of published sizes leaves out.

A *set* is one table: ``main`` on the project's own instruments, ``flute_violin`` on two others, ``unseen`` on
sources that no training has heard.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from retimbre import params
from retimbre.errors import RetimbreError
from retimbre.evaluation.results.rows import BASELINES, CONTROLS
from retimbre.provenance import digest
from retimbre.systems import catalogue
from studies import cells

ROOT, HERE = Path(__file__).resolve().parents[2], Path(__file__).resolve().parent
ROWS = HERE / "rows.yaml"
SETS = ("main", "flute_violin", "unseen")
PAIRS = {"flute_violin": ["flute", "violin"]}  # sets with data of their own, in a checkout of their own
SOURCES = ("trumpet", "alto_sax")  # of the set `unseen`
# In every table, besides what it ranks.
REFERENCES = {"main": tuple(CONTROLS), "flute_violin": ("copy", "eq_match", "oracle"), "unseen": ()}


@dataclass(frozen=True)
class Row:
    """A row: ``system`` is empty for controls and baselines; ``changes`` are laid over params.yaml, where
    ``section`` is the system's own.
    """

    name: str
    system: str
    changes: dict[str, Any]
    text: str = ""
    section: Any = None

    @property
    def key(self) -> str:
        """Changes with what the row asks for: a result of another key is out of date."""
        return digest(self.system, self.changes, self.section)[:12]


def read(profile: str = "") -> dict[str, Row]:
    """Every row by its name. ``profile``: of ``profiles/``, laid over params.yaml in the place of ``cpu``.

    Raises RetimbreError for a row that is no control, no baseline, and names no system.
    """
    given = yaml.safe_load(ROWS.read_text(encoding="utf-8"))
    over = yaml.safe_load((ROOT / f"profiles/{profile}.yaml").read_text("utf-8")) if profile else {}
    rows, base = {}, yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    for name, values in given["rows"].items():
        values = values or {}
        system = values.get("system", "")
        if system not in catalogue.names() and name not in (*CONTROLS, *BASELINES):
            raise RetimbreError(f"{ROWS}: {name} names no system: use one of {', '.join(catalogue.names())}.")
        changes: dict[str, Any] = {}
        for layer in (over, values.get("params", {}), {} if profile else values.get("cpu", {})):
            params.overlay(changes, json.loads(json.dumps(layer)))
        section = base[catalogue.section_name(system)] if system else None
        rows[name] = Row(name, system, changes if system else {}, values.get("text", ""), section)
    return rows


def leading() -> list[str]:
    """Names of the rows of the second table."""
    return yaml.safe_load(ROWS.read_text(encoding="utf-8"))["leading"]


def wanted(rows: dict[str, Row], which: str) -> list[str]:
    """Names of the rows that a set holds."""
    if which == "main":
        return list(rows)
    if which in PAIRS:
        return [*REFERENCES[which], *leading()]
    return [row.name for row in rows.values() if row.system or row.name in BASELINES]


def params_of(row: Row, project: Path) -> Any:
    """The project's params with a row's changes, validated."""
    values = yaml.safe_load((project / "params.yaml").read_text(encoding="utf-8"))
    return params.parse(params.overlay(values, row.changes), f"{ROWS.relative_to(ROOT)}, {row.name}")


def results(which: str, profile: str = "") -> Path:
    """The folder of a set's results."""
    folder = HERE / "results" / profile if profile else HERE / "results"
    return folder if which == "main" else folder / which


def result_of(row: Row, which: str, profile: str = "") -> dict[str, Any] | None:
    """A row's result, or None where there is none of these params."""
    return cells.read_result(results(which, profile) / f"{row.name}.json", row.key)


def write_result(row: Row, which: str, values: dict[str, Any], profile: str = "") -> None:
    cells.write_result(results(which, profile) / f"{row.name}.json", row.key, values)
