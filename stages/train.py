"""Stages ``resynthesis``, ``cyclegan``, ``system@NAME``: ``python -m stages.train NAME`` trains a system."""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import stages  # noqa: F401  (puts this checkout's src first on the path)
from retimbre import params
from retimbre.datasets.packed.data import Data
from retimbre.errors import RetimbreError, run
from retimbre.systems import catalogue
from retimbre.training.fit import History, Run
from retimbre.training.stage import Outputs, final_losses, train

INPUTS = (Path("data/resampled"), Path("data/features"))


def main(name: str) -> None:
    names = (*catalogue.DEFAULTS, *params.read().systems)
    if name not in names:
        raise RetimbreError(
            f"params.yaml names no system {name!r}: run `python -m stages.train NAME` with one of "
            f"{', '.join(names)}."
        )
    section = catalogue.section_name(name)
    p = params.load("seed", "machine", section)
    values = getattr(p, section)
    fit, module = catalogue.trainer(name, values)
    plots, figures = Path("metrics/plots") / name, Path(f"metrics/stages/{name}.json")
    outputs = Outputs(catalogue.MODELS / name, plots, figures)

    def trained(run: Run) -> tuple[Callable[[Path], None], dict[str, History], dict[str, Any]]:
        data = Data()
        if len(data.features.domains) < values.least_domains:
            raise RetimbreError(
                f"dataset.domains names one instrument, and {name} learns from {values.least_domains}: add "
                "another, or run `dvc repro resynthesis`, which one is enough for."
            )
        model, history = fit(data, values, run)
        metrics = {"parameters": model.parameters, **final_losses(history)}
        return partial(catalogue.store, name, values, model), {"history": history}, metrics

    known = {"seed": p.seed, **params.flatten(section, values)}
    inputs = (*INPUTS, *map(Path, values.inputs))
    train(name, known, inputs, module, p.seed, p.machine, values.precision, trained, outputs)


if __name__ == "__main__":
    run(lambda: main("".join(sys.argv[1:2])))
