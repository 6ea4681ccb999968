"""The long table of results, one row per system, item and metric; every summary is computed from it.

Columns: ``system, vocoder, direction, item, stratum, range, metric, value``. A direction is
``<source>_to_<target>``; an item is a piece (the same name in both directions), or ``all`` where a value is
of all of them; ``stratum`` is ``mono`` or ``poly`` (or ``any``); ``range`` is ``in`` or ``out`` (of what the
target's training recordings play, or ``any``); ``vocoder`` is the kind of vocoder, empty without one.
"""

import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas

from retimbre.errors import RetimbreError
from retimbre.evaluation.results.statistics import Interval, bootstrap_mean, paired_difference
from retimbre.metrics.catalogue import BOUNDS, HEADLINE

COLUMNS = ("system", "vocoder", "direction", "item", "stratum", "range", "metric", "value")
KEY = ["system", "direction", "item", "metric"]
SKILLS = {"skill": "feature_lsd", "skill_shifted": "feature_lsd_shifted"}  # and what it is a scale of
SIGNIFICANT_DIGITS = 4


def make_table(records: Iterable[Mapping[str, Any]]) -> pandas.DataFrame:
    """Records with the columns above -> the table, undefined values left out.

    ``vocoder``, ``stratum`` and ``range`` may be missing. Raises ValueError when another column is missing or
    a value is there twice.
    """
    rows = [{"vocoder": "", "stratum": "any", "range": "any", **record} for record in records]
    table = pandas.DataFrame(rows, columns=list(COLUMNS))
    if rows and table[KEY + ["value"]].isna().all().any():
        raise ValueError(f"records need the columns {', '.join(COLUMNS)}")
    table["value"] = table["value"].astype("float64")
    table = table[np.isfinite(table["value"])].reset_index(drop=True)
    if table.duplicated(KEY).any():
        row = table[table.duplicated(KEY)].iloc[0]
        raise ValueError(f"{row.system} has {row.metric} for {row.direction}, {row['item']} twice")
    return table


def write_table(path: Path, table: pandas.DataFrame) -> None:
    """Write the table as Parquet (``per_item.parquet``)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_parquet(path, index=False)


def parse_table(data: bytes, name: str) -> pandas.DataFrame:
    """The table of a Parquet file's contents.

    Raises RetimbreError, calling it ``name``, when it is no table or lacks a column.
    """
    again = "make it again with `dvc repro --force evaluate`"
    try:
        table = pandas.read_parquet(io.BytesIO(data))
    except (OSError, ValueError):  # pyarrow's errors of contents are ValueErrors
        raise RetimbreError(f"{name} is not a readable Parquet file: {again}.") from None
    if missing := [c for c in COLUMNS if c not in table.columns]:
        raise RetimbreError(f"{name} has no column {missing[0]}: {again}.")
    return table[list(COLUMNS)]


def read_table(path: Path) -> pandas.DataFrame:
    """Read what :func:`write_table` wrote. Raises RetimbreError when it is not there, or is no table."""
    if not path.is_file():
        raise RetimbreError(f"{path} does not exist: make it with `dvc repro evaluate`.")
    return parse_table(path.read_bytes(), str(path))


def annotate(
    records: Iterable[Mapping[str, Any]], vocoders: Mapping[str, str], ranges: Mapping[tuple[str, str], str]
) -> list[dict[str, Any]]:
    """The records with their columns ``vocoder`` (by system) and ``range`` (by direction and item)."""
    found = []
    for r in records:
        known = ranges.get((r["direction"], str(r["item"])), "any")
        found.append({**r, "vocoder": vocoders.get(r["system"], ""), "range": known})
    return found


def add_skill(table: pandas.DataFrame) -> pandas.DataFrame:
    """The table with ``skill``: 0 = the input returned, 1 = the oracle, below 0 = worse than doing nothing.

    Per item (copy - value) / (mean copy - mean oracle), means over the direction's items that the system has,
    so that an item on which copy and oracle happen to be close does not explode and the mean over items is
    the ratio of means. Directions without both control rows, or whose controls do not differ, get none.
    ``skill_shifted`` is the same of distances after the best shift.
    """
    return pandas.concat([table, *(_skill(table, *names) for names in SKILLS.items())], ignore_index=True)


def _skill(table: pandas.DataFrame, name: str, distance: str) -> pandas.DataFrame:
    """The rows of a skill."""
    distances, own = table[table.metric == distance], ["direction", "item"]
    controls = distances[distances.system.isin(["copy", "oracle"])]
    if not {"copy", "oracle"} <= set(controls.system):
        return table[:0]
    wide = controls.pivot(index=own, columns="system", values="value")
    rows = distances.join(wide, on=own).dropna(subset=["copy", "oracle"])
    # The span is that of the items which the system has: some are heard on a few pieces only.
    spans = (rows["copy"] - rows["oracle"]).groupby([rows.system, rows.direction])
    span = spans.transform("mean").replace(0, np.nan)
    rows["value"] = (rows["copy"] - rows.value) / span
    rows = rows.drop(columns=["copy", "oracle"])
    rows["metric"] = name
    return rows[np.isfinite(rows.value)]


def _rounded(value: float) -> float:
    return float(f"{value:.{SIGNIFICANT_DIGITS}g}")


def summarise(table: pandas.DataFrame) -> dict[str, dict[str, float]]:
    """``metrics/evaluation.json``: one object per system, flat, systems and metrics in the table's order.

    ``<metric>`` is the mean over directions (each the mean over its items, so that both weigh the same),
    ``<metric>_<source>_to_<target>`` the mean of one direction, for the headline metrics; four significant
    digits; what was not measured is not there. Ends of intervals (``_low``, ``_high``) are in the table only.
    """
    summary: dict[str, dict[str, float]] = {}
    shown = ~table.metric.str.endswith(BOUNDS)
    for (system, metric), rows in table[shown].groupby(["system", "metric"], sort=False):
        by_direction = rows.groupby("direction", sort=False).value.mean()
        entry = summary.setdefault(str(system), {})
        entry[str(metric)] = _rounded(by_direction.mean())
        if len(by_direction) > 1 and metric in HEADLINE:
            entry |= {f"{metric}_{direction}": _rounded(value) for direction, value in by_direction.items()}
    return summary


def intervals(table: pandas.DataFrame, draws: int = 1000, seed: int = 0) -> dict[tuple[str, str], Interval]:
    """95 % bootstrap intervals over pieces, both directions together: ``(system, metric) -> Interval``."""
    found = {}
    for (system, metric), rows in table.groupby(["system", "metric"], sort=False):
        values, pieces = rows.value.to_numpy(), rows["item"].to_numpy()
        found[str(system), str(metric)] = bootstrap_mean(values, draws, seed, groups=pieces)
    return found


def compare(
    table: pandas.DataFrame, metric: str, system: str, against: str, draws: int = 1000, seed: int = 0
) -> Interval:
    """Paired difference ``system`` - ``against`` of one metric, on the items that both have."""
    rows = table[(table.metric == metric) & table.system.isin([system, against])]
    wide = rows.pivot(index=["direction", "item"], columns="system", values="value")
    wide = wide.reindex(columns=[system, against])
    groups = wide.index.get_level_values("item").to_numpy()
    return paired_difference(wide[system].to_numpy(), wide[against].to_numpy(), draws, seed, groups=groups)
