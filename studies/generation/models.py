"""Trained rows: where they lie, and whether they are of the params that are asked for."""

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from retimbre.provenance import training_key
from retimbre.synthesis import catalogue
from retimbre.synthesis.base import Synthesiser
from studies.generation import study
from studies.generation.data import EMBEDDED, Data

FIGURES = "figures.json"  # of a model: its key, and what its training cost


def variant(data: Data, published: bool) -> list[str]:
    """Names of what is not the study in docs: the published sizes, another set of notes."""
    return [*[study.PUBLISHED] * published, *([] if data.name == EMBEDDED else [data.name])]


def folder(row: study.Row, data: Data, published: bool) -> Path:
    """The folder of a row's model."""
    return data.scratch.joinpath(catalogue.MODELS.name, *variant(data, published), row.name)


def known(row: study.Row, data: Data) -> dict[str, Any]:
    """All that a row's training depends on beside its code."""
    return {"seed": data.p.seed, "data": data.folder.name, **row.given}


def key(row: study.Row, data: Data) -> str:
    """A model of another key is out of date."""
    return training_key(known(row, data), [], catalogue.trainer(row.system).__name__)


def cost(row: study.Row, data: Data, published: bool) -> dict[str, Any] | None:
    """Cost of a row's training; None where it has no model of these params."""
    path = folder(row, data, published) / FIGURES
    found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return found if found.pop("key", None) == key(row, data) else None


def load(row: study.Row, data: Data, published: bool) -> Synthesiser:
    """The model of a row that has one. Raises RetimbreError where it is damaged."""
    return catalogue.load(row.name, folder(row, data, published).parent)


def command(row: study.Row, words: Sequence[str]) -> str:
    """The command that trains a row; ``words`` say which rows are meant (:func:`study.words`)."""
    return shlex.join(["python", "studies/generation/run.py", "--only", row.name, "--again", *words])
