"""Trained rows: where they lie, and whether they are of the params that are asked for."""

import json
from pathlib import Path
from typing import Any

from retimbre.errors import RetimbreError
from retimbre.provenance import training_key
from retimbre.synthesis import catalogue
from retimbre.synthesis.base import Synthesiser
from studies.generation import study
from studies.generation.data import EMBEDDED, Data

FIGURES = "figures.json"  # of a model: its key, and what its training cost


def folder(row: study.Row, data: Data, published: bool) -> Path:
    """The folder of a row's model."""
    parts = [*([study.PUBLISHED] if published else []), *([] if data.name == EMBEDDED else [data.name])]
    return data.scratch.joinpath(catalogue.MODELS.name, *parts, row.name)


def known(row: study.Row, data: Data) -> dict[str, Any]:
    """All that a row's training depends on beside its code."""
    return {"seed": data.p.seed, "data": data.folder.name, **row.given}


def key(row: study.Row, data: Data) -> str:
    """A model of another key is out of date."""
    return training_key(known(row, data), [], catalogue.trainer(row.system).__name__)


def cost(row: study.Row, data: Data, published: bool) -> dict[str, Any] | None:
    """What a row's training cost; None where it has no model of these params."""
    path = folder(row, data, published) / FIGURES
    found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return found if found.pop("key", None) == key(row, data) else None


def load(row: study.Row, data: Data, published: bool) -> Synthesiser:
    """The trained model. Raises RetimbreError where there is none, or one of other params."""
    path = folder(row, data, published)
    if path.is_dir() and cost(row, data, published) is None:
        again = f"`python studies/generation/run.py --only {row.name} --again`"
        raise RetimbreError(f"{path} was trained with other params or code: train it again with {again}.")
    return catalogue.load(row.name, path.parent)
