"""One row of the leaderboard: trained, heard on the test set of a project, scored as heard.

``python studies/leaderboard/cell.py NAME`` in the folder of a project, which lends its data, test set and
classifiers. What is trained lies in ``.scratch/leaderboard``, an unfinished training too: the same command
goes on. Only audio is scored, never the spectrum that a system writes: so every kind of system has the same
chance.
"""

import argparse
import importlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "src"), str(ROOT)]  # this checkout's own code, as in stages/

from retimbre import errors, params  # noqa: E402
from retimbre.datasets.packed.data import Data  # noqa: E402
from retimbre.datasets.preparation.caching import cache_features  # noqa: E402
from retimbre.datasets.preparation.hearing import cache_content  # noqa: E402
from retimbre.datasets.preparation.resampling import pack  # noqa: E402
from retimbre.evaluation.bench import suite  # noqa: E402
from retimbre.evaluation.bench.bench import Bench  # noqa: E402
from retimbre.evaluation.bench.rows import Row, Scrambled, Transferred  # noqa: E402
from retimbre.evaluation.bench.scores import heard_targets, score_records  # noqa: E402
from retimbre.evaluation.bench.scoring import records  # noqa: E402
from retimbre.evaluation.bench.testset import Item  # noqa: E402
from retimbre.evaluation.results.rows import BASELINES, SCRAMBLED  # noqa: E402
from retimbre.evaluation.results.table import add_skill, make_table  # noqa: E402
from retimbre.metrics.catalogue import CATALOGUE  # noqa: E402
from retimbre.provenance import digest, training_key  # noqa: E402
from retimbre.systems import catalogue  # noqa: E402
from retimbre.systems.base import Coded, Spectral, System  # noqa: E402
from retimbre.tracking import study_run  # noqa: E402
from retimbre.training.fit import Run  # noqa: E402
from retimbre.training.stage import training  # noqa: E402
from retimbre.vocoders.catalogue import Vocoders  # noqa: E402
from retimbre.vocoders.kinds import KINDS, below  # noqa: E402
from retimbre.vocoders.params import Rendering  # noqa: E402
from studies.counting import Counting  # noqa: E402
from studies.leaderboard import study  # noqa: E402
from studies.rendering import render  # noqa: E402
from studies.unseen.run import on_another  # noqa: E402

SCRATCH, RAW, CONTENT = Path(".scratch/leaderboard"), Path("data/raw"), Path("data/content")
SLOW_ITEMS = {"main": 6, "flute_violin": 6, "unseen": 3}  # per direction, of rows that take long
KEPT = ("paired", "content", "style")  # families of metrics that results hold


@dataclass(frozen=True)
class Heard(Transferred):
    """A system's transfer, measured on the audio alone."""

    def spectrum(self, item: Item) -> None:
        return None


@dataclass(frozen=True)
class HeardScrambled(Scrambled):
    """The same of a system that is given the code of another piece."""

    def spectrum(self, item: Item) -> None:
        return None


# --------------------------------------------------------------------------------------------- data


def folders_of(p: Any, base: Any, heard: bool) -> tuple[Path, Path, Path]:
    """Audio, features and content that the params ``p`` ask for: the project's, or folders made once.

    ``heard``: with content, which takes minutes.
    """
    audio, features, content = (Path("data") / name for name in ("resampled", "features", "content"))
    differing = [name for name in ("dataset", "audio", "features") if getattr(p, name) != getattr(base, name)]
    if not differing:
        return audio, features, content
    values = {name: getattr(p, name).model_dump() for name in ("dataset", "audio", "features")}
    folder, size = SCRATCH / "data" / digest(p.seed, values)[:12], p.audio.shard_mb

    def made(name: str, make: Callable[[Path], object]) -> Path:
        """A folder that is complete or not there."""
        if not (folder / name).is_dir():
            folder.mkdir(parents=True, exist_ok=True)
            part = folder / f"{name}.{os.getpid()}"
            make(part)
            part.rename(folder / name)
        return folder / name

    if "dataset" in differing:
        audio = made("resampled", lambda out: render(p, out))
    elif "audio" in differing:
        audio = made("resampled", lambda out: pack(RAW, out, p.audio, p.machine))
    features = made("features", lambda out: cache_features(audio, out, p.features, size, p.machine))
    if heard:
        content = made("content", lambda out: cache_content(audio, out, p.features, size, p.machine))
    return audio, features, content


# ----------------------------------------------------------------------------------------- training


class Trainings:
    """Trainings of a row: each network once, kept with its cost."""

    def __init__(self, row: study.Row, p: Any, folders: tuple[Path, Path, Path], profile: str):
        self.row, self.p, self.folders, self.data = row, p, folders, Data(*folders)
        self.name = "-".join(filter(None, (row.name, profile)))
        self.figures: list[dict[str, float]] = []

    def train(
        self,
        what: str,
        values: Mapping[str, Any],
        inputs: list[Path],
        module: str,
        precision: str,
        fit: Callable[[Run], tuple[Any, list]],
        store: Callable[[Any, Path], None],
    ) -> Path:
        """The folder of a trained network, called ``what``."""
        p = self.p
        known = {"seed": p.seed, **values}
        key = training_key(known, inputs, module)
        folder = SCRATCH / "models" / f"{self.name}-{key}" / what
        if not (folder / "figures.json").is_file():
            shutil.rmtree(folder, ignore_errors=True)
            named = f"leaderboard/{self.name}-{what}", known, inputs, module, p.seed, p.machine, precision
            with training(*named, lambda s, v: study_run("leaderboard", f"{self.name} {what}", v)) as run:
                count = Counting(run.tracker, run.scratch.folder / "seconds")
                model, history = fit(replace(run, tracker=count))
                figures = {"seconds": count.seconds, "parameters": model.parameters}
                run.scratch.release_signals()
                folder.mkdir(parents=True)
                store(model, folder)
                figures["steps"] = max((row["step"] for row in history), default=0)
                (folder / "figures.json").write_text(json.dumps(figures))
        self.figures.append(json.loads((folder / "figures.json").read_text()))
        return folder

    def inputs(self, values: Any = None) -> list[Path]:
        """The folders that a training reads."""
        *own, content = self.folders
        named = map(Path, getattr(values, "inputs", ()))
        return own + [content if path == CONTENT else path for path in named]

    def system(self) -> System:
        """The row's system, trained; a spectral one with the vocoder that the params ask for."""
        code = self.row.system
        section = catalogue.section_name(code)
        values = getattr(self.p, section)
        fit, module = catalogue.trainer(code, values)
        folder = self.train(
            code, params.flatten(section, values), self.inputs(values), module, values.precision,
            lambda run: fit(self.data, values, run),
            lambda model, folder: catalogue.store(code, values, model, folder),
        )  # fmt: skip
        needs_vocoder = not hasattr(importlib.import_module(f"retimbre.systems.{code}.system"), "System")
        vocoder = self.vocoder() if needs_vocoder else None
        return catalogue.load(code, folder.parent, vocoder)

    def vocoder(self) -> Any:
        """The project's vocoder, or one of this row's own data or params."""
        p, base = self.p, params.read()
        networks = KINDS[p.rendering.vocoder].networks
        own = [name for name in networks if getattr(p.vocoder, name) != getattr(base.vocoder, name)]
        same = not own and p.vocoder.representation == base.vocoder.representation
        project = Vocoders(catalogue.MODELS / "vocoder", p.rendering)
        if same and self.folders[1] == Path("data/features") and {*networks} <= {*project.networks}:
            return project.by()
        folder = SCRATCH / "models" / f"{self.name}-vocoder"
        shutil.rmtree(folder, ignore_errors=True)
        for name in networks:
            trained = self._network(name, folder)
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).symlink_to(trained.resolve())
        return Vocoders.load(folder, p.rendering).by()

    def _network(self, name: str, before: Path) -> Path:
        """One network of a vocoder; those that it starts from lie in ``before``."""
        values, representation = getattr(self.p.vocoder, name), self.p.vocoder.representation
        module = importlib.import_module(f"retimbre.vocoders.{name}.train")
        start = below(name)
        below_it = {start: Vocoders(before, Rendering()).network(start)} if start else {}
        known = {"vocoder.representation": representation, **params.flatten(f"vocoder.{name}", values)}
        inputs = self.inputs() + ([before / start] if start else [])
        return self.train(
            name, known, inputs, module.__name__, values.precision,
            lambda run: module.fit(self.data, values, representation, run, below_it),
            lambda model, folder: model.save(folder),
        )  # fmt: skip


# ------------------------------------------------------------------------------------------ scoring


def made(
    row: study.Row, base: Any, references: Mapping[str, Row], profile: str
) -> tuple[list[Row], dict[str, float]]:
    """The bench's rows that a row of the leaderboard is measured by, itself first; what its training cost."""
    if not row.system:
        one = references[row.name]
        if isinstance(one.maker, Transferred):
            one = replace(one, maker=Heard(one.maker.system))
        return [one], {"parameters": 0, "steps": 0, "training_cpu_minutes": 0.0}
    if not row.changes and row.system in catalogue.DEFAULTS:  # the project has trained it
        system = catalogue.load(row.system, catalogue.MODELS, rendering=base.rendering)
        figures = json.loads(Path(f"metrics/stages/{row.system}.json").read_text(encoding="utf-8"))
        cost = {"parameters": figures["parameters"], "steps": 0, "training_cpu_minutes": 0.0}
        return heard_rows(row, system), cost
    p = study.params_of(row, Path())
    values = getattr(p, catalogue.section_name(row.system))
    trainings = Trainings(row, p, folders_of(p, base, str(CONTENT) in values.inputs), profile)
    system = trainings.system()
    figures = trainings.figures
    return heard_rows(row, system), {
        "parameters": int(sum(one["parameters"] for one in figures)),
        "steps": int(sum(one["steps"] for one in figures)),
        "training_cpu_minutes": round(sum(one["seconds"] for one in figures) / 60, 2),
    }


def heard_rows(row: study.Row, system: System) -> list[Row]:
    """A trained system's row, and its control with the code of another piece, if it hears one."""
    found = [Row(row.name, Heard(system), slow=system.slow, tried=system.slow)]
    if isinstance(system, Spectral) and isinstance(system.change, Coded):
        found.append(Row(row.name + SCRAMBLED, HeardScrambled(system), slow=True))
    return found


def measure(row: study.Row, which: str, profile: str = "") -> dict[str, Any]:
    """Train a row if it has to be, and measure it: what ``results/NAME.json`` holds."""
    base = params.read()
    baselines = base.baselines.model_copy(update={"systems": [row.name] if row.name in BASELINES else []})
    bench = Bench(base.model_copy(update={"baselines": baselines}), catalogue.MODELS, RAW)
    bench.names = ()  # the project's own systems are not asked
    items, references = bench.items(), {one.name: one for one in bench.rows()}
    own, cost = made(row, base, references, profile)
    if which == "unseen":
        if own[0].maker.system.sources is not None:
            return {"hears": own[0].maker.system.sources}
        items = [item for item in items if item.score is not None]
        sets = {name: [on_another(item, name, bench) for item in items] for name in study.SOURCES}
    else:
        sets = {"": items}
        own += [references[name] for name in ("copy", "oracle") if name != row.name]
    rate = bench.data.features.config.sample_rate
    targets = heard_targets(items, rate, bench.cache)
    found, speeds = [], []
    for source, heard in sets.items():
        results = suite.run(heard, own, bench.make_scorer(), bench.cache, base.seed, SLOW_ITEMS[which])
        speeds.append(suite.speeds(results, rate).get(row.name, 0.0))
        for record in (*records(results), *score_records(results, targets)):
            target = record["direction"].partition("_to_")[2]
            found.append(record | ({"direction": f"{source}_to_{target}"} if source else {}))
    table = add_skill(make_table(found))
    table = table[(table["item"] != "all") & table.metric.map(kept)]
    scrambled = table[table.system == row.name + SCRAMBLED]
    return {
        **cost,
        "seconds_per_second": float(f"{sum(speeds) / len(speeds):.2g}"),
        **tabulated(table[table.system == row.name]),
        **({"scrambled": tabulated(scrambled)} if len(scrambled) else {}),
    }


def kept(metric: str) -> bool:
    """True for metrics of single items that a table may show."""
    return metric in CATALOGUE and CATALOGUE[metric].family in KEPT


def tabulated(rows: Any) -> dict[str, Any]:
    """``items`` (direction/piece) and ``values`` (metric -> one number per item, null where undefined)."""
    wide = rows.assign(key=rows.direction + "/" + rows["item"]).pivot(
        index="key", columns="metric", values="value"
    )
    wide = wide.sort_index().sort_index(axis=1)
    columns = {m: [None if np.isnan(x) else float(f"{x:.4g}") for x in wide[m]] for m in wide}
    return {"items": list(wide.index), "values": columns}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", help="a row of rows.yaml")
    parser.add_argument("--set", choices=study.SETS, default="main", help="of which table (main)")
    parser.add_argument("--profile", default="", help="published sizes, such as leaderboard_gpu")
    given = parser.parse_args()
    rows = study.read(given.profile)
    if given.name not in rows:
        raise errors.RetimbreError(f"{study.ROWS} has no row {given.name!r}: it has {', '.join(rows)}.")
    row = rows[given.name]
    study.write_result(row, given.set, measure(row, given.set, given.profile), given.profile)


if __name__ == "__main__":
    errors.run(main)
