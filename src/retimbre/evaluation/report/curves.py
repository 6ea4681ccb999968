"""Training histories as CSV (for ``dvc plots``) and as pictures."""

from pathlib import Path

from retimbre.evaluation.report.figures import curves, save
from retimbre.training.fit import write_history


def write_curves(folder: Path, name: str, rows: list[dict[str, float]], title: str) -> list[Path]:
    """Write ``<name>.csv`` and ``<name>.png`` into ``folder``; returns the two files.

    ``rows``: one dict per logged step with ``step`` and values named ``group/value``.
    """
    csv = folder / f"{name}.csv"
    write_history(csv, rows)
    return [csv, save(curves(rows, title), folder / f"{name}.png")]
