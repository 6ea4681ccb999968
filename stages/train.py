"""Stages ``cyclegan`` and ``system@NAME``: train a transfer system: ``python -m stages.train NAME``."""

import sys
from pathlib import Path
from typing import Any

import stages  # noqa: F401  (puts this checkout's src first on the path)
from retimbre import params
from retimbre.datasets.packed.data import Data
from retimbre.errors import run
from retimbre.systems import catalogue
from retimbre.training.fit import History, Run
from retimbre.training.stage import Outputs, final_losses, train

INPUTS = [Path("data/resampled"), Path("data/features")]


class Stored:
    """A model that is saved with the name of the code that reads it."""

    def __init__(self, name: str, p: Any, model: Any):
        self.name, self.p, self.model = name, p, model

    def save(self, folder: Path) -> None:
        catalogue.store(self.name, self.p, self.model, folder)


def main(name: str) -> None:
    section = catalogue.section_name(name)
    p = params.load("seed", "machine", section)
    values = getattr(p, section)
    fit, module = catalogue.trainer(name, values)
    outputs = Outputs(
        catalogue.MODELS / name, Path("metrics/plots") / name, Path(f"metrics/stages/{name}.json")
    )

    def trained(run: Run) -> tuple[Stored, dict[str, History], dict[str, Any]]:
        model, history = fit(Data(), values, run)
        metrics = {"parameters": model.parameters, **final_losses(history)}
        return Stored(name, values, model), {"history": history}, metrics

    known = {"seed": p.seed, **params.flatten(section, values)}
    train(name, known, INPUTS, module, p.seed, p.machine, values.precision, trained, outputs)


if __name__ == "__main__":
    run(lambda: main(sys.argv[1]))
