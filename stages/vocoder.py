"""Stages ``vocoder@NAME``: train one network from spectra to audio. Usage: ``python -m stages.vocoder
NAME``.
"""

import importlib
import sys
from pathlib import Path
from typing import Any

import stages  # noqa: F401  (puts this checkout's src first on the path)
from retimbre import params
from retimbre.datasets.packed.data import Data
from retimbre.errors import run
from retimbre.training.fit import History, Run
from retimbre.training.stage import Outputs, final_losses, train
from retimbre.vocoders.base import Renderer
from retimbre.vocoders.catalogue import Vocoders
from retimbre.vocoders.kinds import STARTS_FROM
from retimbre.vocoders.params import Rendering

MODELS = Path("data/models/vocoder")
INPUTS = [Path("data/resampled"), Path("data/features")]


def main(name: str) -> None:
    p = params.load("seed", "machine", "vocoder")
    values, representation = getattr(p.vocoder, name), p.vocoder.representation
    module = importlib.import_module(f"retimbre.vocoders.{name}.train")
    start = STARTS_FROM[name].rpartition("/")[2]
    inputs = [*INPUTS, *([MODELS / start] if start in STARTS_FROM else [])]
    outputs = Outputs(
        MODELS / name, Path("metrics/plots/vocoder") / name, Path(f"metrics/stages/vocoder_{name}.json")
    )

    def trained(run: Run) -> tuple[Renderer, dict[str, History], dict[str, Any]]:
        # Trainings start from networks as they are rendered by default: how they are used later changes no
        # training.
        below = {start: Vocoders(MODELS, Rendering()).network(start)} if start in STARTS_FROM else {}
        model, history = module.fit(Data(), values, representation, run, below)
        return model, {"history": history}, {"parameters": model.parameters, **final_losses(history)}

    section = f"vocoder.{name}"
    known = {"seed": p.seed, "vocoder.representation": representation, **params.flatten(section, values)}
    train(
        f"vocoder_{name}",
        known,
        inputs,
        module.__name__,
        p.seed,
        p.machine,
        values.precision,
        trained,
        outputs,
    )


if __name__ == "__main__":
    run(lambda: main(sys.argv[1]))
