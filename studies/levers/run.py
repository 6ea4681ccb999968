"""Levers of resynthesis, on and off: what matters, with intervals.

``python studies/levers/run.py`` after ``dvc repro`` trains every variant of ``VARIANTS`` with every seed, two
at a time with one thread each, scores each on the test set and keeps its figures in ``results/`` (finished
cells are kept when it is interrupted); then it writes its tables into docs/systems/resynthesis.md. A cell
takes 10 minutes of a core.
"""

import argparse
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT, HERE = Path(__file__).resolve().parents[2], Path(__file__).resolve().parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT)]

from retimbre import errors, params  # noqa: E402
from retimbre.arguments import positive  # noqa: E402
from retimbre.errors import RetimbreError  # noqa: E402
from retimbre.provenance import digest  # noqa: E402
from studies import cells  # noqa: E402
from tools.figures import inserted, markdown  # noqa: E402

# What differs from params.yaml's section `resynthesis`.
VARIANTS: dict[str, dict[str, Any]] = {
    "default": {},
    "no back-translation": {"steps": 1150, "rounds": 0, "spectrum_steps": 0, "joint_rounds": 0},
    "content network alone": {"spectrum_steps": 0, "joint_rounds": 0, "rounds": 5, "round_steps": 255},
    "no joint rounds": {"joint_rounds": 0, "rounds": 4, "spectrum_steps": 500},
    "no variation": {"vary_sustain": 0.0, "vary_levels": 0.0},
    "no other pitches": {"vary_pitch": 0.0},
    "no linear loss": {"lambda_linear": 0.0},
}
SEEDS = (1, 2, 3)
PAGE = ROOT / "docs/systems/resynthesis.md"
BEGIN, END = "<!-- made by studies/levers: do not edit -->", "<!-- end of the levers -->"
ACROSS = 5  # metrics of the first table
SHOWN = ("skill", "skill_shifted", "style_beyond_eq", "paired_lsd", "paired_mrstft", "content_jaccard",
         "score_f1_of_true", "energy_lost", "energy_ghosts")  # fmt: skip


def place(variant: str, seed: int) -> Path:
    return HERE / "results" / f"{variant.replace(' ', '_')}-{seed}.json"


def section(variant: str) -> Any:
    """The params of resynthesis that a variant has."""
    base = params.read(ROOT / "params.yaml").resynthesis
    return type(base).model_validate(base.model_dump() | VARIANTS[variant])


def key_of(variant: str) -> str:
    return digest(section(variant).model_dump())[:12]


def result_of(variant: str, seed: int) -> dict[str, Any] | None:
    """Figures of every test item, or None where there are none of these params."""
    return cells.read_result(place(variant, seed), key_of(variant))


def cell(variant: str, seed: int) -> None:
    """Train one variant and write its figures of every test item."""
    from retimbre.datasets.packed.data import Data
    from retimbre.evaluation.bench import suite
    from retimbre.evaluation.bench.bench import Bench
    from retimbre.evaluation.bench.cache import Cache
    from retimbre.evaluation.bench.rows import Row, Transferred
    from retimbre.evaluation.bench.scores import heard_targets, score_records
    from retimbre.evaluation.bench.scoring import records
    from retimbre.evaluation.results.table import add_skill, make_table
    from retimbre.provenance import training_key
    from retimbre.section import Machine
    from retimbre.systems import catalogue
    from retimbre.systems.base import Spectral
    from retimbre.systems.resynthesis.train import fit
    from retimbre.training.checkpoint import Scratch
    from retimbre.training.devices import make_fabric, seed_everything, set_threads
    from retimbre.training.fit import Run

    p, values = params.read(ROOT / "params.yaml"), section(variant)
    set_threads()
    seed_everything(seed)
    inputs = [Path("data/features"), *map(Path, values.inputs)]
    key = training_key({"seed": seed, **values.model_dump()}, inputs, fit.__module__)
    with Scratch("levers", key) as scratch:
        change, _ = fit(Data(), values, Run(seed, make_fabric("cpu"), Machine(jobs=1), scratch))
        scratch.release_signals()
        bench = Bench(p, catalogue.MODELS, Path("data/raw"))
        items, controls = bench.items(), [row for row in bench.rows() if row.name in ("copy", "oracle")]
        system = Spectral("resynthesis", change, bench.vocoders.by())
        rows = [*controls, Row("resynthesis", Transferred(system), system.vocoder.kind)]
        results = suite.run(items, rows, bench.make_scorer(), Cache(None), p.seed, len(items))
        targets = heard_targets(items, system.sample_rate, bench.cache)
        table = add_skill(make_table([*records(results), *score_records(results, targets)]))
        own = table[(table.system == "resynthesis") & table.metric.isin(SHOWN)]
        found = {metric: [round(float(x), 5) for x in rows.sort_values(["direction", "item"]).value]
                 for metric, rows in own.groupby("metric")}  # fmt: skip
        cells.write_result(place(variant, seed), key_of(variant), found)
        scratch.finish()


def run_cell(which: tuple[str, int]) -> str | None:
    """Run a cell in a process of one thread; a sentence when it failed."""
    variant, seed = which
    words = [sys.executable, __file__, "--cell", variant, "--seed", str(seed)]
    log = ROOT / ".scratch" / "levers" / f"{place(variant, seed).stem}.log"
    said = cells.run_cell(words, ROOT, log)
    print(f"{variant}, seed {seed}: {'done' if said is None else 'failed'}", flush=True)
    return None if said is None else f"{variant} with seed {seed} failed: {log} says why"


def known(variant: str) -> dict[str, Any]:
    """Values (seeds, items) of every metric, from the seeds that have them; empty without a seed."""
    import numpy as np

    found = [one for seed in SEEDS if (one := result_of(variant, seed))]
    return {name: np.array([one[name] for one in found]) for name in SHOWN} if found else {}


def made() -> str:
    """Two tables: means over items and seeds, of a variant its difference from the default, with 95 %
    intervals over trainings and pieces.
    """
    import numpy as np

    from retimbre.evaluation.results.statistics import hierarchical_difference
    from retimbre.metrics.catalogue import SIGNS, metric

    default, tables = known("default"), []
    for names in (SHOWN[:ACROSS], SHOWN[ACROSS:]):
        rows = []
        for variant in VARIANTS:
            values, shown = known(variant) if default else {}, []
            for name in names if values else ():
                # Items are all pieces in one direction, then all in the other.
                x, pieces = values[name], np.arange(values[name].shape[1] // 2)
                base = np.zeros_like(x[:1]) if variant == "default" else default[name]
                d = hierarchical_difference(x, base, np.tile(pieces, 2))
                sign = "" if variant == "default" else "+"
                shown.append(f"{d.mean:{sign}.3f} ({d.low:{sign}.3f} to {d.high:{sign}.3f})")
            if shown:
                rows.append([variant, str(len(values[names[0]])), *shown])
        heads = [f"{metric(name).title} {SIGNS[metric(name).better]}" for name in names]
        tables.append(markdown(["variant", "trainings", *heads], rows))
    return "\n\n".join(tables)


def page() -> str:
    """The page of resynthesis with the tables made anew."""
    return inserted(PAGE, BEGIN, END, made())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=positive, default=2, help="cells at the same time (2)")
    parser.add_argument("--seeds", type=positive, default=len(SEEDS), help=f"how many seeds ({len(SEEDS)})")
    parser.add_argument("--cell", choices=VARIANTS, help="this one alone, in this process")
    parser.add_argument("--seed", type=positive, default=1, help="of --cell (1)")
    given = parser.parse_args()
    if given.cell:
        cell(given.cell, given.seed)
        return
    wanted = [(v, s) for s in SEEDS[: given.seeds] for v in VARIANTS if not result_of(v, s)]
    with ThreadPoolExecutor(given.jobs) as pool:
        failed = [said for said in pool.map(run_cell, wanted) if said]
    PAGE.write_text(page(), encoding="utf-8")
    if failed:
        raise RetimbreError(f"{failed[0]}.")


if __name__ == "__main__":
    errors.run(main)
