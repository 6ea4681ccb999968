"""Scores of systems: the files that they are in, and a table of them as text."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from retimbre.errors import RetimbreError
from retimbre.metrics.catalogue import FAILURES, HEADLINE, SIGNS, metric


class Evaluation(BaseModel, extra="allow"):
    """``metrics/evaluation.json``: the calibration, and the metrics of each system."""

    calibration: dict[str, int | str] = {}
    __pydantic_extra__: dict[str, dict[str, float]]


class Targets(BaseModel):
    """``metrics.json`` beside weights: the figures of each instrument that they make."""

    targets: dict[str, dict[str, float]] = {}


def read_json(path: Path, shape: Any, advice: str | None) -> Any:
    """A metrics file of a shape, whose texts and truth values are no numbers.

    ``advice``: what to do where it is not there (None: the file is optional, and empty where it is not there
    or of another shape). Raises RetimbreError: not there, no JSON, another shape.
    """
    try:
        return TypeAdapter(shape).validate_json(path.read_bytes(), strict=True)
    except FileNotFoundError:
        if advice is not None:
            raise RetimbreError(f"{path} does not exist: {advice}.") from None
    except ValidationError as error:
        no_json = error.errors()[0]["type"] == "json_invalid"  # or no UTF-8
        if no_json or advice is not None:
            raise RetimbreError(
                f"{path} is not valid JSON of metrics: restore it with `git checkout {path}` or `dvc repro`."
            ) from None
    return TypeAdapter(shape).validate_python({})


def table(systems: dict[str, dict[str, float]], speed: dict[str, float]) -> str:
    """The headline columns of the systems' metrics as text, one row each; ``speed``: real-time factors
    (seconds of one core per second of audio), where they are known.

    Failures are shown only where some are seen; columns without a value are left out.
    """
    shown = [name for name in HEADLINE if any(name in values for values in systems.values())]
    shown += [name for name in FAILURES if any(values.get(name, 0) > 0 for values in systems.values())]
    titles = [f"{metric(name).title} {SIGNS[metric(name).better]}" for name in shown]
    rows = [["", *titles, *(["RTF -"] if speed else [])]]
    for system, values in systems.items():
        cells = [values.get(name) for name in shown] + ([speed.get(system)] if speed else [])
        rows.append([system, *("" if cell is None else f"{cell:.3g}" for cell in cells)])
    return _aligned(rows)


def table_of_targets(targets: dict[str, dict[str, float]]) -> str:
    """All figures of each instrument as text, one row each, under their own names."""
    columns = list(dict.fromkeys(name for values in targets.values() for name in values))
    rows = [["", *columns]]
    for target, values in targets.items():
        rows.append([target, *(f"{values[name]:.3g}" if name in values else "" for name in columns)])
    return _aligned(rows)


def _aligned(rows: list[list[str]]) -> str:
    """Rows of cells as lines of text: the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])] for row in rows)
    return "\n".join("  ".join(line) for line in lines)
