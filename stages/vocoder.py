"""Stages ``vocoder@NAME``: train a network from spectra to audio: ``python -m stages.vocoder NAME``."""

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import stages  # noqa: F401  (puts this checkout's src first on the path)
from retimbre import params
from retimbre.datasets.packed.data import Data
from retimbre.errors import RetimbreError, run
from retimbre.training.fit import History, Run
from retimbre.training.stage import Outputs, final_losses, train
from retimbre.vocoders import kinds
from retimbre.vocoders.catalogue import Vocoders
from retimbre.vocoders.params import Rendering

MODELS = Path("data/models/vocoder")
INPUTS = [Path("data/resampled"), Path("data/features")]


def main(name: str) -> None:
    if name not in kinds.STARTS_FROM:
        raise RetimbreError(
            f"there is no network {name!r}: run `python -m stages.vocoder NAME` with one of "
            f"{', '.join(kinds.STARTS_FROM)}."
        )
    p = params.load("seed", "machine", "vocoder")
    values, representation = getattr(p.vocoder, name), p.vocoder.representation
    module = importlib.import_module(f"retimbre.vocoders.{name}.train")
    start = kinds.below(name)
    inputs = [*INPUTS, *([MODELS / start] if start else []), *map(Path, getattr(values, "inputs", ()))]
    plots, figures = Path("metrics/plots/vocoder") / name, Path(f"metrics/stages/vocoder_{name}.json")
    outputs = Outputs(MODELS / name, plots, figures)

    def trained(run: Run) -> tuple[Callable[[Path], None], dict[str, History], dict[str, Any]]:
        # Trainings start from networks as rendered by default: how they are used later changes no training.
        below = {start: Vocoders(MODELS, Rendering()).network(start)} if start else {}
        model, history = module.fit(Data(), values, representation, run, below)
        return model.save, {"history": history}, {"parameters": model.parameters, **final_losses(history)}

    section = f"vocoder.{name}"
    known = {"seed": p.seed, "vocoder.representation": representation, **params.flatten(section, values)}
    stage, code = f"vocoder_{name}", module.__name__
    train(stage, known, inputs, code, p.seed, p.machine, values.precision, trained, outputs)


if __name__ == "__main__":
    run(lambda: main("".join(sys.argv[1:2])))
