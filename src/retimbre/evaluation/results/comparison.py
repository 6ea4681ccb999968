"""Which differences between two runs, or two rows of one, are real: ``retimbre compare RUN_A RUN_B``.

A run is a folder with a ``per_item.parquet``, ``workspace``, or anything that names a commit to DVC
(revision, tag, branch, experiment): its table is read from DVC's cache, or from a remote, without checking
anything out. Several runs per side, separated by commas, are trainings of one configuration that differ in
the seed.

The difference is B - A on the items that all runs have. The interval covers items, and seeds where there are
several; p is a permutation test over whole pieces with one training per side (it says nothing of another
training), over the trainings with two or more per side. Holm's correction covers the headline metrics;
everything else is exploratory. "better" and "worse" need both: an interval without 0 and a corrected p below
5 %.
"""

import io
import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pandas
import scipy.stats

from retimbre.errors import RetimbreError
from retimbre.evaluation.results.rows import main_system
from retimbre.evaluation.results.statistics import (
    hierarchical_difference,
    holm,
    permutation_p,
    permutation_p_of_runs,
)
from retimbre.evaluation.results.table import parse_table
from retimbre.metrics.catalogue import FAILURES, HEADLINE, SIGNS, metric

TABLE, VERSIONS = "data/evaluation/per_item.parquet", "data/evaluation/versions.json"
ANSWERS = "metrics/plots/classifier/confusion.csv"  # of the instrument classifier on real test windows
ALPHA = 0.05
ENOUGH_SEEDS = 5  # with fewer, the interval over seeds is too narrow and p cannot become small
BETTER = {"up": 1, "down": -1, "none": 0}
DIFFER = {  # a key of versions.json that two runs do not share, and what that means
    "classifiers": "the runs were scored by different classifiers: metrics that begin with style_ cannot be "
    "compared",
    "metrics": "the runs were measured by different versions of the metrics or libraries: small differences "
    "may come from that",
    "test_set": "items of the same name differ in their recordings or features: the runs were not tested on "
    "the same data",
}


@dataclass(frozen=True)
class Run:
    """One training's results: the long table, what its numbers depend on beside the model (empty: not known),
    and the instrument classifier's answers on real test windows, in a fixed order (None: not known).
    """

    name: str
    table: pandas.DataFrame
    versions: dict[str, str]
    answers: pandas.DataFrame | None = None


@dataclass(frozen=True)
class Row:
    """One metric: both means, B - A with its interval, p (``corrected``: Holm's, of the headline only)."""

    metric: str
    mean_a: float
    mean_b: float
    difference: float
    low: float | None
    high: float | None
    p: float | None
    corrected: float | None
    improved: float | None  # share of items in which B is better
    items: int
    verdict: str = ""


@dataclass(frozen=True)
class Comparison:
    """All metrics of one system, and sentences that a reader must know."""

    a: tuple[str, ...]
    b: tuple[str, ...]
    system: str
    rows: tuple[Row, ...]
    notes: tuple[str, ...]


# ------------------------------------------------------------------------------------- reading runs


def read_run(name: str) -> Run:
    """A run by name. Raises RetimbreError when there is no such run, or its table cannot be had here."""
    folder = Path() if name == "workspace" else Path(name)
    if name != "workspace" and not folder.is_dir():
        return _of_revision(name)
    for path in (folder / "per_item.parquet", folder / TABLE):
        if path.is_file():
            return _run(name, str(path), path.read_bytes(), path.with_name("versions.json"), folder / ANSWERS)
    if name == "workspace":
        raise RetimbreError(
            f"the workspace has no {TABLE}: make it with `dvc repro evaluate`, or fetch it with `dvc pull`."
        )
    other = "give the folder that holds it, or the name of a revision"
    raise RetimbreError(f"{name} has no per_item.parquet: {other}.")


def _run(name: str, where: str, table: bytes, versions: Any, answers: Any) -> Run:
    """A run from the table's contents and two files, of any file system, that may be missing."""

    def parsed(path: Any, parse: Callable[[bytes], Any]) -> Any:
        try:
            return parse(path.read_bytes())
        except Exception:  # what storages raise for what they do not have is of many kinds
            return None

    known = parsed(versions, json.loads)
    said = parsed(answers, lambda data: pandas.read_csv(io.BytesIO(data))[["actual", "predicted"]])
    return Run(name, parse_table(table, where), known if isinstance(known, dict) else {}, said)


def _of_revision(revision: str) -> Run:
    """A run by what DVC calls a revision."""
    from dvc.api import DVCFileSystem  # a second of imports
    from dvc.exceptions import DvcException, NotDvcRepoError
    from dvc.scm import RevError, SCMError

    try:
        files = DVCFileSystem(".", rev=revision)
        table = files.read_bytes(TABLE)
    except RevError:
        raise RetimbreError(
            f"{revision!r} is neither a folder nor a revision, tag, branch or experiment of this repository: "
            "`dvc exp list` and `git log` show what there is."
        ) from None
    except (NotDvcRepoError, SCMError):
        raise RetimbreError(
            f"{Path.cwd()} is not a DVC repository: run this in Retimbre's root, or give folders."
        ) from None
    except DvcException as error:
        said = str(error).splitlines()[0].rstrip(".")
        raise RetimbreError(f"DVC cannot read {revision!r}: {said}.") from None
    except Exception:  # what storages raise for what they do not have is of many kinds
        raise RetimbreError(
            f"the table of {revision!r} is not in DVC's cache: fetch it with `dvc pull` on that revision, or "
            "make it with `dvc exp apply` and `dvc repro evaluate`."
        ) from None
    versions, answers = (_File(files, path) for path in (VERSIONS, ANSWERS))
    return _run(revision, f"the table of {revision!r}", table, versions, answers)


@dataclass(frozen=True)
class _File:
    """A file of a file system that is not the disk's."""

    system: Any
    path: str

    def read_bytes(self) -> bytes:
        return self.system.read_bytes(self.path)


# ---------------------------------------------------------------------------------------- comparing


def better_sign(name: str) -> int:
    """1 when more of a metric is better, -1 when less is, 0 when neither."""
    return BETTER[metric(name).better]


def _wide(run: Run, system: str, metrics: set[str] | None) -> pandas.DataFrame:
    """(direction, item) by metric of one system."""
    own = run.table[run.table.system == system]
    if own.empty:
        there = ", ".join(dict.fromkeys(run.table.system))
        raise RetimbreError(f"{run.name} has no system {system!r}: its systems are {there}.")
    own = own if metrics is None else own[own.metric.isin(metrics)]
    return own.pivot(index=["direction", "item"], columns="metric", values="value")


def _one(
    name: str, a: list[pandas.Series], b: list[pandas.Series], strata: pandas.Series, draws: int, seed: int
) -> Row | None:
    """One metric on the items that every run has; None when there are none."""
    columns = pandas.concat([*a, *b], axis=1).dropna()
    if columns.empty:
        return None
    x, y = columns.to_numpy().T[: len(a)], columns.to_numpy().T[len(a) :]
    pieces = columns.index.get_level_values("item").to_numpy()
    sign = better_sign(name)
    low = high = p = improved = None
    seeds = min(len(a), len(b))
    if len(set(pieces)) > 1:
        known = strata.reindex(columns.index).fillna("any").to_numpy()
        found = hierarchical_difference(y, x, pieces, known, draws, seed)
        low, high = found.low, found.high
        change = y.mean(0) - x.mean(0)
        improved = float((sign * change > 0).mean()) if sign else None
        p = permutation_p(y.mean(0), x.mean(0), pieces, seed)
    if seeds > 1:  # also of one value per training, such as a distance between sets
        p = permutation_p_of_runs(x.mean(1), y.mean(1), seed)
    means = float(x.mean()), float(y.mean())
    return Row(name, *means, means[1] - means[0], low, high, p, None, improved, len(columns))


def _verdict(row: Row) -> str:
    """The verdict in words; outside the headline the uncorrected p decides and is called exploratory.

    What has no p is not judged.
    """
    p = row.p if row.corrected is None else row.corrected
    if p is None:
        return "one value per run: no test"
    clear = row.low is None or row.low > 0 or row.high < 0
    sign = better_sign(row.metric) * (1 if row.difference > 0 else -1)
    shown = {1: "better", -1: "worse", 0: "different"}[sign] if p < ALPHA and clear else "no difference shown"
    return shown if row.corrected is not None else f"{shown} (exploratory)"


def _notes(a: Sequence[Run], b: Sequence[Run], common: int, most: int) -> list[str]:
    """What a reader must know before believing the rows."""
    notes, fewest = [], min(len(a), len(b))
    if fewest == 1:
        several = "" if len(a) == len(b) == 1 else " (on one side)"
        notes.append(
            f"one training run{several}: p and intervals are about test items, not about what another seed "
            f"would give; {ENOUGH_SEEDS} seeds a side, separated by commas, show that."
        )
    elif fewest < ENOUGH_SEEDS:
        least = (2 if len(a) == len(b) else 1) / math.comb(len(a) + len(b), len(a))
        notes.append(
            f"{fewest} seeds a side are few: the intervals are too narrow, and p cannot be below {least:.2g} "
            "before correction."
        )
    if common < most:
        notes.append(
            f"the runs were tested on different items: only the {common} that all have are compared (of up "
            f"to {most})."
        )
    for key, what in DIFFER.items():
        if len({str(run.versions[key]) for run in (*a, *b) if key in run.versions}) > 1:
            notes.append(f"{what}.")
    return notes


def _classifiers(a: Run, b: Run) -> list[str]:
    """A sentence on the two runs' instrument classifiers, when both answered on the same windows."""
    if a.answers is None or b.answers is None or not a.answers.actual.equals(b.answers.actual):
        return []
    x, y = ((run.answers.actual == run.answers.predicted).to_numpy() for run in (a, b))
    only_a, only_b = int((x & ~y).sum()), int((y & ~x).sum())
    if only_a == only_b == 0:
        return []
    p = scipy.stats.binomtest(only_a, only_a + only_b).pvalue  # the exact McNemar test
    return [
        f"instrument classifier on {len(x)} windows of real test recordings: accuracy {x.mean():.3f} (A) and "
        f"{y.mean():.3f} (B), only A right {only_a}, only B right {only_b}, exact McNemar p = {p:.2g} "
        "(exploratory: windows of one recording are not independent)."
    ]


def _changed(a: Run, b: Run) -> list[str]:
    """Systems whose measured values are not the same in both runs."""
    keys = ["system", "direction", "item", "metric"]
    x, y = (run.table.set_index(keys).value for run in (a, b))
    both = pandas.concat([x, y], axis=1, join="inner").dropna()
    changed = set(both.index[both.iloc[:, 0] != both.iloc[:, 1]].get_level_values("system"))
    return [name for name in dict.fromkeys(a.table.system) if name in changed]


def compare_runs(
    a: Sequence[Run],
    b: Sequence[Run],
    system: str | None = None,
    metrics: Iterable[str] = (),
    draws: int = 2000,
    seed: int = 0,
    against: str | None = None,
) -> Comparison:
    """Compare two sides of one or more trainings.

    ``system``: row of the table (default: :func:`main_system`); ``against``: the row of side ``b``, which may
    then be the same run (default: the same row); ``metrics``: names from the table (default: the headline and
    the failures). Raises RetimbreError: no such system or metric, or no item in common.
    """
    system = system or main_system(a[0].table) or ""
    against = against or system
    asked = list(dict.fromkeys(metrics))
    wanted = asked or [*HEADLINE, *FAILURES]
    both = ((a, system), (b, against))
    sides = [[_wide(run, row, {*wanted, *HEADLINE}) for run in side] for side, row in both]
    tables = [table for side in sides for table in side]
    for name in asked:
        every = zip((*a, *b), tables, strict=True)
        if lacking := [run.name for run, table in every if name not in table.columns]:
            known = ", ".join(sorted(set(_wide(a[0], system, None).columns)))
            raise RetimbreError(f"{lacking[0]} has no metric {name!r} of {system}: the table has {known}.")
    items = [{key for key in table.index if key[1] != "all"} for table in tables]
    common = set.intersection(*items)
    if not common:
        said = "the runs have no test item in common, so they cannot be compared"
        raise RetimbreError(f"{said}: they come from different data sets.")
    rows = a[0].table[a[0].table.system == system].drop_duplicates(["direction", "item"])
    strata = rows.set_index(["direction", "item"]).stratum
    # Holm covers every headline metric that the runs have, also when only some are asked for: asking less
    # must not prove more.
    every = [m for m in dict.fromkeys([*wanted, *HEADLINE]) if all(m in table.columns for table in tables)]
    found = {}
    for m in every:
        ours, theirs = ([table[m] for table in side] for side in sides)
        found[m] = _one(m, ours, theirs, strata, draws, seed)
    tested = [m for m in HEADLINE if found.get(m) and found[m].p is not None]
    corrected = dict(zip(tested, holm([found[m].p for m in tested]).tolist(), strict=True))
    done = [replace(found[m], corrected=corrected.get(m)) for m in wanted if found.get(m)]
    done = [replace(row, verdict=_verdict(row)) for row in done]
    notes = _notes(a, b, len(common), max(map(len, items)))
    one_row = len(a) == len(b) == 1 and system == against
    if one_row and system not in (changed := _changed(a[0], b[0])):
        named = f"choose one that changed with --system: {', '.join(changed)}"
        others = named if changed else "and so has every other system"
        notes.insert(0, f"{system} has the same values in both runs; {others}.")
    if one_row:
        notes += _classifiers(a[0], b[0])
    named = system if system == against else f"{system} (A) and {against} (B)"
    return Comparison(tuple(r.name for r in a), tuple(r.name for r in b), named, tuple(done), tuple(notes))


def to_json(comparison: Comparison) -> str:
    """The comparison as JSON; what is not defined is null."""
    return json.dumps(asdict(comparison), indent=1, allow_nan=False)


def to_text(comparison: Comparison) -> str:
    """The comparison as a table for a terminal."""

    def number(value: float | None) -> str:
        return "" if value is None else f"{value:.3g}"

    header = ["", "A", "B", "B - A", "95 % interval", "p", "Holm", "improved", "items", ""]
    lines = [header]
    for r in comparison.rows:
        interval = "" if r.low is None else f"{number(r.low)} .. {number(r.high)}"
        improved = "" if r.improved is None else f"{r.improved:.0%}"
        name = f"{r.metric} {SIGNS[metric(r.metric).better]}"
        cells = [name, number(r.mean_a), number(r.mean_b), number(r.difference), interval]
        lines.append([*cells, number(r.p), number(r.corrected), improved, str(r.items), r.verdict])
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    last = len(header) - 1

    def padded(line: Sequence[str]) -> str:
        sized = enumerate(zip(line, widths, strict=True))
        return "  ".join(c.ljust(w) if i in (0, last) else c.rjust(w) for i, (c, w) in sized).rstrip()

    names = [f"A = {', '.join(comparison.a)}", f"B = {', '.join(comparison.b)}"]
    names.append(f"system {comparison.system}")
    about = "(- lower is better, + higher; better and worse are said of B; Holm corrects for the headline)"
    notes = (f"note: {note}" for note in comparison.notes)
    return "\n".join(["; ".join(names), *map(padded, lines), about, *notes])
