"""Rows of the study, their params, and where their results lie.

A row is a section of ``rows.yaml``: recordings (``real_train``, ``real_test``), or a ``system`` with its
``params``, over which ``published`` is laid at the published sizes. Another file of rows is a study of its
own, whose notes, models, results and pages lie beside that file.
"""

import argparse
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field, TypeAdapter, ValidationError

from retimbre import params
from retimbre.errors import RetimbreError
from retimbre.provenance import digest
from retimbre.section import Name, Section
from retimbre.synthesis import catalogue
from studies import cells

ROOT, HERE = Path(__file__).resolve().parents[2], Path(__file__).resolve().parent
ROWS = HERE / "rows.yaml"
RESULTS = HERE / "results"
REAL = ("real_train", "real_test")
SAMPLES = 16384  # of a note, unless the row says otherwise
PUBLISHED = "published"


class Written(Section):
    """A row as its file has it."""

    system: str = ""
    same: str = ""
    text: str = ""
    params: dict[str, Any] = {}
    published: dict[str, Any] = {}


FILE = TypeAdapter(Annotated[dict[Name, Written], Field(min_length=1)])


def sentence(error: ValidationError) -> str:
    """The first problem, after the names that lead to it."""
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}."


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
            raise RetimbreError(f"row {self.name}: {sentence(error)}") from None


def add_which(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which rows are meant: of which data, at which sizes, of which file."""
    parser.add_argument("--published", action="store_true", help="at the published sizes")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="as after dvc -S")
    help = "another study: its rows, beside which lie its notes, models, results and pages"
    parser.add_argument(
        "--rows", type=lambda path: Path(path).resolve(), default=ROWS, metavar="FILE", help=help
    )


def words(given: argparse.Namespace) -> list[str]:
    """The options of :func:`add_which` as they are typed."""
    rows = [] if given.rows == ROWS else [f"--rows={given.rows}"]
    return [*["--published"] * given.published, *(f"--set={change}" for change in given.set), *rows]


def chosen(given: argparse.Namespace, names: Iterable[str]) -> tuple[dict[str, Row], Path]:
    """All rows that the options of :func:`add_which` say, and the folder of their study, where unfinished
    trainings go on. Raises RetimbreError if one of ``names`` is no row.
    """
    folder, rows = place(given.rows), read(given.published, given.rows)
    if unknown := [name for name in names if name not in rows]:
        raise RetimbreError(f"{given.rows} has no row {unknown[0]!r}: it has {', '.join(rows)}.")
    os.environ.setdefault("DVC_ROOT", str(folder))
    return rows, folder


def place(path: Path) -> Path:
    """The folder in which the study of a file of rows keeps what it makes. Raises RetimbreError for another
    file where these rows have theirs.
    """
    if path == ROWS:
        return ROOT
    if path.parent in (ROOT, HERE):
        raise RetimbreError(
            f"{path} would write over what the rows of {ROWS} made: put it into a folder of its own."
        )
    return path.parent


def read(published: bool = False, path: Path = ROWS) -> dict[str, Row]:
    """Every row by its name. Raises RetimbreError for a row that is neither recordings nor of a system, and
    for a file that cannot be read.
    """
    try:
        given = FILE.validate_python(yaml.safe_load(path.read_text(encoding="utf-8"))["rows"])
    except ValidationError as error:
        raise RetimbreError(f"{path}: rows.{sentence(error)}") from None
    except (OSError, ValueError, yaml.YAMLError, KeyError, TypeError):
        raise RetimbreError(f"{path} is no file of rows: give --rows one such as {ROWS}.") from None
    rows: dict[str, Row] = {}
    for name, row in given.items():
        if row.system not in catalogue.names() and name not in REAL:
            raise RetimbreError(
                f"{path.name}: {name} names no system: use one of {', '.join(catalogue.names())}."
            )
        if row.same and row.same not in given:
            raise RetimbreError(f"{path.name}: {name} is the same as {row.same}, which is no row of it.")
        both = (given.get(row.same, Written()), row)
        layers = [one.params for one in both] + [one.published for one in both] * published
        changes: dict[str, Any] = {}
        for layer in layers:
            params.overlay(changes, json.loads(json.dumps(layer)))
        samples = changes.pop("samples", SAMPLES)
        rows[name] = Row(name, row.system, changes, samples, row.text)
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
