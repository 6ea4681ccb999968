"""From a params file to its validated sections."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import yaml
from pydantic import ValidationError

from retimbre.errors import RetimbreError
from retimbre.params.base import Section
from retimbre.params.together import Params


def _sentence(error: ValidationError) -> str:
    """The first problem of a validation error as one sentence that names the key."""
    # A misspelt key is missing too: the one that should not be there is the better hint.
    problem = min(error.errors(), key=lambda p: p["type"] != "extra_forbidden")
    key = ".".join(str(part) for part in problem["loc"])
    kind, given, context = problem["type"], problem.get("input"), problem.get("ctx", {})
    if kind == "value_error":
        return str(context["error"])
    if kind == "extra_forbidden":
        return f"{key} is not a parameter: remove it or correct its name"
    if kind == "missing":
        return f"{key} is missing: add it (profiles/ has complete files)"
    hint = ""
    if isinstance(given, str) and kind.endswith("_type"):
        hint = " (write exponents as 2.0e-4)" if given[:1].isdigit() else ""
    message = problem["msg"][0].lower() + problem["msg"][1:]
    return f"{key} is {given!r}: {message}{hint}"


def parse(values: Any, origin: str = "params.yaml") -> Params:
    """Validate a mapping as read from YAML.

    Raises RetimbreError with one sentence that names the key and what is allowed.
    """
    if not isinstance(values, dict):
        raise RetimbreError(f"{origin} must be a mapping of sections: seed, dataset, audio, ...")
    try:
        return Params.model_validate(values)
    except ValidationError as error:
        raise RetimbreError(f"{origin}: {_sentence(error)}.") from None


def read(path: str | Path = "params.yaml") -> Params:
    """Read and validate a whole params file. Raises RetimbreError (missing, broken, invalid)."""
    path = Path(path)
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RetimbreError(f"{path} does not exist: run this in the repository's root, or copy one of profiles/ there.") from None
    except UnicodeDecodeError:
        raise RetimbreError(f"{path} is not text in UTF-8: restore it with `git checkout {path}`.") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" in line {mark.line + 1}" if mark else ""
        raise RetimbreError(f"{path} is not valid YAML{line}: correct it or restore it with `git checkout {path}`.") from None
    return parse(values, str(path))


def load(*sections: str, path: str | Path = "params.yaml") -> SimpleNamespace:
    """The named sections of a validated params file, as attributes, and nothing else."""
    params = read(path)
    return SimpleNamespace(**{name: getattr(params, name) for name in sections})


def flatten(section: str, values: Section) -> dict[str, Any]:
    """``{"model.lambda_cycle": 4, ...}``: the names that people type after ``-S``."""
    return {f"{section}.{key}": value for key, value in values.model_dump().items()}
