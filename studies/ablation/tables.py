"""From the cells' results to tables: ``tables.md``, ``brief.md``, ``ablation.csv`` and ``summary.json``.

Means are over pieces, directions and seeds. Intervals (95 %) are drawn over pieces and, where there are
several, over seeds (:func:`retimbre.evaluation.results.statistics.hierarchical_difference`); with three
seeds they are still too narrow. Differences are to the variant ``default`` (or the group's own, see
``study.reference_of``), on the same pieces; none where the pieces are others. ``python tables.py --insert``
puts the tables between the markers of ``docs/ablation.md``, and the brief one between those of
``docs/findings.md``.
"""

import csv
import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import study

from retimbre import errors
from retimbre.evaluation.results.statistics import Interval, hierarchical_difference
from retimbre.evaluation.results.table import compare, intervals, read_table

DOCUMENTS = {study.ROOT / "docs/ablation.md": "tables.md", study.ROOT / "docs/findings.md": "brief.md"}
BEGIN, END = "<!-- made by studies/ablation/tables.py: do not edit -->", "<!-- end of what tables.py made -->"
METRICS = {  # name in results -> heading and decimals
    "skill": ("skill", 2),
    "feature_lsd": ("feature LSD dB", 2),
    "change_db": ("change dB", 1),
    "chroma_ratio": ("chroma ratio", 2),
    "peak_ratio": ("peak ratio", 2),
    "target_rate": ("target rate", 2),
    "beyond_eq": ("beyond EQ", 2),
    "paired_lsd": ("paired LSD dB", 2),
    "paired_mrstft": ("MR-STFT", 2),
    "filter_paired_lsd": ("filtered: paired LSD dB", 2),
    "filter_paired_mrstft": ("filtered: MR-STFT", 2),
    "filter_target_rate": ("filtered: target rate", 2),
    "filter_beyond_eq": ("filtered: beyond EQ", 2),
}
# Of the brief table.
BRIEF = ("skill", "feature_lsd", "change_db", "chroma_ratio", "peak_ratio", "beyond_eq")
HIDDEN = {"target_rate", "filter_paired_mrstft", "filter_target_rate"}  # in the CSV only
FEWEST_PIECES = 5  # that an interval is drawn from
OF_VOCODERS = {  # metric of the evaluation -> heading and decimals
    "paired_lsd": ("LSD dB", 2),
    "paired_mrstft": ("MR-STFT", 3),
    "content_jaccard": ("pitch Jaccard", 3),
    "style_beyond_eq": ("beyond EQ", 2),
}


@dataclass(frozen=True)
class Results:
    """A variant's finished cells: ``values`` by metric (seeds, items), and the ``failed`` ones' reasons."""

    items: tuple[str, ...]
    strata: tuple[str, ...]
    values: dict[str, np.ndarray]
    seeds: tuple[int, ...]
    failed: tuple[str, ...]

    @property
    def trained(self) -> int:
        return len(self.seeds)

    @property
    def directions(self) -> list[str]:
        return sorted({item.split("/")[0] for item in self.items})

    def only(self, direction: str) -> "Results":
        """The same for the pieces of one direction."""
        chosen = [i for i, item in enumerate(self.items) if item.split("/")[0] == direction]
        items, strata = ([names[i] for i in chosen] for names in (self.items, self.strata))
        values = {name: x[:, chosen] for name, x in self.values.items()}
        return replace(self, items=tuple(items), strata=tuple(strata), values=values)


def read_results(variant: str, seeds: list[int], folder: Path) -> Results | None:
    """The results of a variant, or None while it has none."""
    paths = ((seed, folder / f"{variant}-{seed}.json") for seed in seeds)
    found = {seed: json.loads(path.read_text(encoding="utf-8")) for seed, path in paths if path.is_file()}
    finished = tuple(seed for seed, result in found.items() if result["finished"])
    done = [found[seed] for seed in finished]
    failed = tuple(result["reason"] for result in found.values() if not result["finished"])
    if not done:
        return Results((), (), {}, (), failed) if found else None
    first = done[0]
    if any((r["items"], r["values"].keys()) != (first["items"], first["values"].keys()) for r in done):
        raise errors.RetimbreError(f"the results of {variant} are not of one study: run `make study`.")
    known = [name for name in METRICS if name in first["values"]]
    values = {name: np.array([result["values"][name] for result in done], float) for name in known}
    defined = {name: x for name, x in values.items() if np.isfinite(x).all()}
    return Results(tuple(first["items"]), tuple(first["strata"]), defined, finished, failed)


def _drawn(results: Results, values: np.ndarray, against: np.ndarray) -> Interval:
    pieces = [item.split("/")[1] for item in results.items]  # both directions of a piece are drawn together
    return hierarchical_difference(values, against, pieces, results.strata)


def summarise(results: Results, reference: Results | None) -> dict[str, dict[str, float]]:
    """By metric ``mean``, ``low``, ``high``; to the reference also ``difference``, ``_low``, ``_high``."""
    comparable = reference is not None and reference is not results and reference.items == results.items
    summary, other = {}, reference if comparable else None
    for name, values in results.values.items():
        own = _drawn(results, values, np.zeros((1, values.shape[1])))
        summary[name] = {"mean": own.mean, "low": own.low, "high": own.high}
        if other and name in other.values:
            d = _drawn(results, values, other.values[name])
            summary[name] |= {"difference": d.mean, "difference_low": d.low, "difference_high": d.high}
    return summary


def _cell(entry: dict[str, float] | None, decimals: int) -> str:
    if entry is None:
        return "–"
    return f"{entry['mean']:.{decimals}f} [{entry['low']:.{decimals}f}, {entry['high']:.{decimals}f}]"


def _difference(entry: dict[str, float] | None) -> str:
    """Difference to the reference."""
    if entry is None or "difference" not in entry:
        return "–"
    return _difference_text(entry["difference"], entry["difference_low"], entry["difference_high"])


def _difference_text(mean: float, low: float, high: float, decimals: int = 2) -> str:
    """Bold where the interval leaves out 0."""
    text = f"{mean:+.{decimals}f} [{low:+.{decimals}f}, {high:+.{decimals}f}]"
    return f"**{text}**" if low > 0 or high < 0 else text


def changes(group: str, variant: str, given: dict[str, Any]) -> str:
    """What a variant changes, as after ``-S``; the representation of the vocoder goes with the model's."""
    own = given["data"].get(study.data_of(group, given), {}) | study.groups(given)[group][variant]
    hidden = ("vocoder.representation", study.AGAINST)
    shown = (f"`{name}={json.dumps(value)}`" for name, value in own.items() if name not in hidden)
    return ", ".join(shown).replace('"', "") or "nothing"


def groups_of(given: dict[str, Any]) -> dict[str, str]:
    """The group of each variant."""
    return {variant: group for group, variants in study.groups(given).items() for variant in variants}


def _table(rows: list[list[str]]) -> str:
    """Markdown; the first row is the head."""
    return "\n".join("| " + " | ".join(row) + " |" for row in (rows[0], ["---"] * len(rows[0]), *rows[1:]))


def brief(given: dict[str, Any], summaries: dict[str, dict], results: dict[str, Results | None]) -> str:
    """One table of the variants under ``brief``, in few columns."""
    rows = [["variant", "changes", "trainings", *(METRICS[name][0] for name in BRIEF)]]
    group_of = groups_of(given)
    for variant in given["brief"]:
        result, summary = results.get(variant), summaries.get(variant, {})
        figures = [f"{summary[n]['mean']:.{METRICS[n][1]}f}" if n in summary else "–" for n in BRIEF]
        if "skill" in summary:
            figures[0] = _cell(summary["skill"], 2)
        trained = _trained(group_of[variant], variant, given, result)
        rows.append([variant, changes(group_of[variant], variant, given), trained, *figures])
    return _table(rows) + "\n"


def by_direction(given: dict[str, Any], results: dict[str, Results | None]) -> str:
    """A row per direction of the variants under ``directions``."""
    rows = [["variant", "direction", "trainings", *(METRICS[name][0] for name in BRIEF)]]
    group_of = groups_of(given)
    for variant in given["directions"]:
        if (result := results.get(variant)) is None:
            continue
        for direction in result.directions:
            summary = summarise(result.only(direction), None)
            figures = [_cell(summary.get(name), METRICS[name][1]) for name in BRIEF]
            trained = _trained(group_of[variant], variant, given, result)
            rows.append([variant, direction.replace("_", " "), trained, *figures])
    return _table(rows)


def by_seed(given: dict[str, Any], results: dict[str, Results | None]) -> str:
    """A row per training of the variants under ``by_seed``: means over pieces."""
    names = [name for name in METRICS if name not in HIDDEN and not name.startswith("filter_")]
    rows = [["variant", "seed", *(METRICS[name][0] for name in names)]]
    for variant in given["by_seed"]:
        if (result := results.get(variant)) is None:
            continue
        for i, seed in enumerate(result.seeds):
            means = {name: values[i].mean() for name, values in result.values.items()}
            figures = [f"{means[n]:.{METRICS[n][1]}f}" if n in means else "–" for n in names]
            rows.append([variant, str(seed), *figures])
    return _table(rows)


def _trained(group: str, variant: str, given: dict[str, Any], result: Results | None) -> str:
    if result is None:
        return "not run"
    return "none" if study.system_of(group, variant, given) in study.CONTROLS else str(result.trained)


def markdown(
    given: dict[str, Any], summaries: dict[str, dict], results: dict[str, Results | None], vocoders: str
) -> str:
    """All tables; a row per variant, a note below for what did not finish."""
    group_of = groups_of(given)
    named = [*given["tables"].values(), given["by_seed"], given["directions"], given["brief"]]
    if unknown := [variant for variants in named for variant in variants if variant not in group_of]:
        said = f"{study.ORIGIN}: tables name {unknown[0]}, which no group has"
        raise errors.RetimbreError(f"{said}: correct its name.")
    parts, notes = [], []
    for heading, variants in given["tables"].items():
        present = [v for v in variants if results.get(v) is not None]
        names = [n for n in METRICS if n not in HIDDEN and any(n in summaries.get(v, {}) for v in present)]
        head = ["variant", "changes", "trainings", *(METRICS[n][0] for n in names), "skill against"]
        rows = [head]
        for variant in variants:
            result, summary = results.get(variant), summaries.get(variant, {})
            trained = _trained(group_of[variant], variant, given, result)
            figures = [_cell(summary.get(n), METRICS[n][1]) for n in names]
            reference = study.reference_of(group_of[variant], variant, given)
            against = _difference(summary.get("skill"))
            against = against if against == "–" else f"{reference}: {against}"
            rows.append([variant, changes(group_of[variant], variant, given), trained, *figures, against])
            notes += [f"- {variant} did not finish: {reason}" for reason in (result.failed if result else ())]
        parts.append(f"### {heading}\n\n{_table(rows)}")
    parts.append(f"### Seed by seed\n\n{by_seed(given, results)}")
    parts.append(f"### By direction\n\n{by_direction(given, results)}")
    if vocoders:
        parts.append(f"### Vocoders, from the pipeline's own evaluation\n\n{vocoders}")
    about = (
        f"Every training: {given['all'].get('model.steps')} steps unless its row says otherwise; "
        "[low, high]: 95 % interval; bold: the interval leaves out 0."
    )
    return "\n\n".join([about, *parts, *(["\n".join(dict.fromkeys(notes))] if notes else [])]) + "\n"


def of_vocoders(path: Path) -> str:
    """The vocoders' rows of the pipeline's evaluation: targets rebuilt, and the default system's outputs.

    Slow vocoders are heard on fewer pieces; their difference to the default one is taken on those. An
    interval from a handful of pieces would be their range: none is shown. Empty without an evaluation.
    """
    if not path.is_file():
        return ""
    table = read_table(path)
    default = table.loc[table.system == study.DEFAULT_SYSTEM, "vocoder"].iloc[0]
    references = {"vocoder_": f"vocoder_{default}", study.DEFAULT_SYSTEM: study.DEFAULT_SYSTEM}
    found = intervals(table[table.system.str.startswith(tuple(references))])
    rows = [["row", "pieces", *(heading for heading, _ in OF_VOCODERS.values()), "LSD dB against"]]
    for system in dict.fromkeys(system for system, _ in found):
        reference = next(name for start, name in references.items() if system.startswith(start))
        pieces = table[(table.system == system) & (table.metric == "paired_lsd")]["item"].nunique()
        cells = []
        for metric, (_, decimals) in OF_VOCODERS.items():
            e = found.get((system, metric))
            few = e and pieces < FEWEST_PIECES
            cells.append(f"{e.mean:.{decimals}f}" if few else _cell(vars(e) if e else None, decimals))
        against = "–"
        if system != reference and pieces:
            d = compare(table, "paired_lsd", system, reference)
            text = f"{d.mean:+.3f}" if pieces < FEWEST_PIECES else _difference_text(d.mean, d.low, d.high, 3)
            against = f"{reference}: {text}"
        rows.append([system, str(pieces), *cells, against])
    return _table(rows)


def make(given: dict[str, Any], folder: Path, evaluation: Path) -> tuple[str, str, dict[str, dict]]:
    """The tables as Markdown, the brief one, and the summaries by variant."""
    group_of = groups_of(given)
    results = {v: read_results(v, study.seeds_of(group, given), folder) for v, group in group_of.items()}
    references = {v: results.get(study.reference_of(group, v, given)) for v, group in group_of.items()}
    summaries = {v: summarise(r, references[v]) for v, r in results.items() if r is not None}
    tables = markdown(given, summaries, results, of_vocoders(evaluation))
    return tables, brief(given, summaries, results), summaries


def insert(document: str, tables: str, name: str) -> str:
    """The document ``name`` with ``tables`` between its markers. Raises RetimbreError when it has none."""
    if document.count(BEGIN) != 1 or document.count(END) != 1:
        said = f"{name} must hold {BEGIN} and {END} once"
        raise errors.RetimbreError(f"{said}: restore it with `git checkout`.")
    before, after = document.split(BEGIN)[0], document.split(END)[1]
    return f"{before}{BEGIN}\n\n{tables}\n{END}{after}"


def write_csv(path: Path, summaries: dict[str, dict]) -> None:
    columns = ["mean", "low", "high", "difference", "difference_low", "difference_high"]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["variant", "metric", *columns])
        for variant, summary in summaries.items():
            for metric, entry in summary.items():
                figures = (f"{entry[c]:.5g}" if c in entry else "" for c in columns)
                writer.writerow([variant, metric, *figures])


def main() -> None:
    given = study.read_variants()
    if sys.argv[1:] == ["--insert"]:
        for document, source in DOCUMENTS.items():
            made = (study.HERE / source).read_text(encoding="utf-8")
            text = insert(document.read_text(encoding="utf-8"), made, document.name)
            document.write_text(text, encoding="utf-8")
        return
    tables, short, summaries = make(given, study.RESULTS, study.ROOT / "data/evaluation/per_item.parquet")
    (study.HERE / "tables.md").write_text(tables, encoding="utf-8")
    (study.HERE / "brief.md").write_text(short, encoding="utf-8")
    write_csv(study.HERE / "ablation.csv", summaries)
    means = {v: {name: float(f"{e['mean']:.4g}") for name, e in s.items()} for v, s in summaries.items()}
    study.write_json(study.HERE / "summary.json", means)


if __name__ == "__main__":
    errors.run(main)
