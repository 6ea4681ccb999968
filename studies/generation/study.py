"""Rows of the study, their params, and where their results lie.

A row is a section of ``rows.yaml``: recordings (``real_train``, ``real_test``), or a ``system`` with its
``params``, over which ``published`` is laid at the published sizes. Another file of rows is a study of its
own, whose notes, models, results and pages lie beside that file.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from retimbre import params
from retimbre.errors import RetimbreError
from retimbre.provenance import digest
from retimbre.synthesis import catalogue
from studies import cells

ROOT, HERE = Path(__file__).resolve().parents[2], Path(__file__).resolve().parent
ROWS = HERE / "rows.yaml"
RESULTS = HERE / "results"
REAL = ("real_train", "real_test")
SAMPLES = 16384  # of a note, unless the row says otherwise
PUBLISHED = "published"


@dataclass(frozen=True)
class Row:
    """``system`` is empty for recordings; ``given`` are its params, ``samples`` those of its notes."""

    name: str
    system: str
    given: dict[str, Any]
    samples: int = SAMPLES
    text: str = ""

    @property
    def key(self) -> str:
        """A result of another key is out of date."""
        return digest(self.system, self.given, self.samples)[:12]

    @property
    def params(self) -> Any:
        """The params, validated. Raises RetimbreError for the first that is wrong."""
        try:
            return catalogue.params_class(self.system)(**self.given)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            raise RetimbreError(f"{ROWS.name}, {self.name}: {place}: {first['msg']}.") from None


def add_which(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which rows are meant: of which data, at which sizes, of which file."""
    parser.add_argument("--published", action="store_true", help="at the published sizes")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="as after dvc -S")
    help = "another study: its rows, beside which lie its notes, models and results"
    parser.add_argument(
        "--rows", type=lambda path: Path(path).resolve(), default=ROWS, metavar="FILE", help=help
    )


def place(path: Path) -> Path:
    """The folder in which the study of a file of rows keeps what it makes."""
    return ROOT if path == ROWS else path.parent


def read(published: bool = False, path: Path = ROWS) -> dict[str, Row]:
    """Every row by its name. Raises RetimbreError for a row that is neither recordings nor of a system, and
    for a file that cannot be read.
    """
    try:
        given = yaml.safe_load(path.read_text(encoding="utf-8"))["rows"]
    except (OSError, ValueError, yaml.YAMLError, KeyError, TypeError):
        raise RetimbreError(f"{path} is no file of rows: give --rows one such as {ROWS}.") from None
    rows: dict[str, Row] = {}
    for name, values in given.items():
        system = values.get("system", "")
        if system not in catalogue.names() and name not in REAL:
            raise RetimbreError(
                f"{path.name}: {name} names no system: use one of {', '.join(catalogue.names())}."
            )
        changes: dict[str, Any] = {}
        of = given[values["same"]] if "same" in values else {}
        layers = [
            one.get(size, {}) for size in ("params", PUBLISHED)[: 1 + published] for one in (of, values)
        ]
        for layer in layers:
            params.overlay(changes, json.loads(json.dumps(layer)))
        samples = changes.pop("samples", SAMPLES)
        rows[name] = Row(name, system, changes, samples, values.get("text", ""))
    return rows


def results(source: str, published: bool = False, rows: Path = ROWS) -> Path:
    """The folder of a data set's results."""
    folder = rows.with_name(RESULTS.name) / ("" if source == "soundfont" else source)
    return folder / PUBLISHED if published else folder


def result_of(row: Row, folder: Path) -> dict[str, Any] | None:
    """A row's result, or None where there is none of these params."""
    return cells.read_result(folder / f"{row.name}.json", row.key)


def write_result(row: Row, folder: Path, values: dict[str, Any]) -> None:
    cells.write_result(folder / f"{row.name}.json", row.key, values)
