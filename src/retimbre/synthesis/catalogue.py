"""The generators of notes by name: every folder beside this file that has a ``system.py`` is one.

A folder holds ``__init__.py``, ``params.py`` (``Params``),
``train.py`` (``fit(notes, p, run) -> (synthesiser, history)``) and ``system.py`` (``Synthesiser``).
"""

import importlib
from pathlib import Path
from typing import Any

from retimbre.errors import RetimbreError
from retimbre.nn.weights import DAMAGED, read_config, write_config
from retimbre.synthesis.base import Synthesiser

MODELS = Path(".scratch/generation/models")  # where the study keeps what it has trained, by row


def names() -> list[str]:
    """Names of all generators whose code is here."""
    return sorted(path.parent.name for path in Path(__file__).parent.glob("*/system.py"))


def _part(name: str, part: str) -> Any:
    """A module of a generator's folder. Raises RetimbreError for a name that is none."""
    if name not in names():
        raise RetimbreError(f"{name!r} is no generator of notes: choose {', '.join(names())}.")
    return importlib.import_module(f"retimbre.synthesis.{name}{part}")


def params_class(name: str) -> Any:
    """The class of a generator's params."""
    return _part(name, ".params").Params


def trainer(name: str) -> Any:
    """The module that trains a generator."""
    return _part(name, ".train")


def store(name: str, model: Synthesiser, folder: Path) -> None:
    """Save a model with the name of the code that reads it."""
    model.save(folder)
    write_config(folder, {"system": name, **read_config(folder)})


def load(row: str, models: Path = MODELS) -> Synthesiser:
    """A trained row of the study. Raises RetimbreError when it is not trained, or damaged."""
    folder, make = models / row, f"`python studies/generation/run.py --only {row} --again`"
    if not (folder / "config.json").is_file():
        known = ", ".join(sorted(path.parent.name for path in models.glob("*/config.json"))) or "none"
        raise RetimbreError(f"{models} has no trained {row} (it has {known}): train it with {make}.")
    try:
        return _part(read_config(folder)["system"], ".system").Synthesiser.load(folder)
    except DAMAGED as error:
        raise RetimbreError(
            f"{folder} is damaged or of another version ({type(error).__name__}): delete it and train it "
            f"again with {make}."
        ) from None
