"""The ritual of a training stage: devices, seeds, checkpoint, MLflow, outputs.

    train(name, values, inputs, f"retimbre.systems.{name}.train", seed, machine, precision, fit, outputs)

One of several processes computes its share; the first does all the rest.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from retimbre.provenance import training_key
from retimbre.section import Machine
from retimbre.tracking import StageRun, stage_run
from retimbre.training.checkpoint import Scratch
from retimbre.training.devices import make_fabric, seed_everything, set_threads
from retimbre.training.fit import History, Run, write_history

# Saves the model in a folder, histories by name, metrics.
Fit = Callable[[Run], tuple[Callable[[Path], None], Mapping[str, History], dict[str, Any]]]


@dataclass(frozen=True)
class Outputs:
    """Paths that a training stage writes: the model's folder, the folder of its histories, its metrics."""

    model: Path
    plots: Path
    metrics: Path


@contextmanager
def training(
    stage: str,
    values: Mapping[str, Any],
    inputs: Iterable[Path],
    module: str,
    seed: int,
    machine: Machine,
    precision: str,
    tracked: Callable[[str, Mapping[str, Any]], AbstractContextManager[StageRun]] = stage_run,
) -> Iterator[Run]:
    """Surroundings of a training; the first process has the checkpoint and a run in MLflow (``tracked``).

    ``values``: the params by the names that people type; ``inputs``: files and folders that it reads;
    ``module``: where its code is. Together they are the key of the checkpoint, which stays after an error.
    """
    set_threads()
    seed_everything(seed)
    fabric = make_fabric(machine.accelerator, machine.devices, precision, machine.nodes)
    if not fabric.is_global_zero:
        with Scratch(stage, "", writes=False) as scratch:
            yield Run(seed, fabric, machine, scratch)
        return
    key = training_key({**values, "processes": fabric.world_size}, inputs, module)
    with Scratch(stage, key, wait=fabric.world_size == 1) as scratch, tracked(stage, values) as tracker:
        yield Run(seed, fabric, machine, scratch, tracker)
        scratch.finish()


def train(
    stage: str,
    values: Mapping[str, Any],
    inputs: Iterable[Path],
    module: str,
    seed: int,
    machine: Machine,
    precision: str,
    fit: Fit,
    outputs: Outputs,
) -> None:
    """Run ``fit`` as a DVC stage and write the model, histories and metrics that it returns.

    The arguments before ``fit`` are those of :func:`training`. Times go to MLflow, never into the outputs.
    """
    with training(stage, values, inputs, module, seed, machine, precision) as run:
        save, histories, metrics = fit(run)
        if not run.leads:
            return
        run.scratch.release_signals()
        save(outputs.model)
        for name, rows in histories.items():
            write_history(outputs.plots / f"{name}.csv", rows)
        write_metrics(outputs.metrics, metrics)
        run.tracker.metrics(metrics)
        for path in (*sorted(outputs.plots.glob("*.csv")), outputs.model / "config.json"):
            run.tracker.artifact(path, "model" if path.suffix == ".json" else "curves")


def final_losses(rows: History) -> dict[str, float]:
    """The last logged values of a history without the guards' figures, which are of single batches."""
    return {
        name: value
        for row in rows
        for name, value in row.items()
        if name != "step" and not name.startswith("guard/")
    }


def write_metrics(path: Path, metrics: Mapping[str, Any]) -> None:
    """Write a metrics file: sorted as given, four significant digits, without NaN (left out)."""

    def tidy(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: tidy(item) for key, item in value.items() if item == item}
        return float(f"{value:.4g}") if isinstance(value, float) else value

    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(tidy(metrics), indent=1) + "\n", encoding="utf-8")
