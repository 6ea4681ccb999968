"""Stage ``classifier``: train the instrument classifiers that ``evaluate`` asks, on the train split."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import stages  # noqa: F401  (puts this checkout's src first on the path)
from retimbre import params
from retimbre.classifiers.panel import recording_scores, window_scores
from retimbre.classifiers.train import fit
from retimbre.datasets.packed.data import Data
from retimbre.errors import run
from retimbre.training.fit import History, Run
from retimbre.training.stage import Outputs, train

OUTPUTS = Outputs(
    Path("data/models/classifier"), Path("metrics/plots/classifier"), Path("metrics/stages/classifier.json")
)


def main() -> None:
    p = params.load("seed", "machine", "classifier")
    c = p.classifier

    def trained(run: Run) -> tuple[Callable[[Path], None], dict[str, History], dict[str, Any]]:
        data = Data()
        model, decode, history = fit(data, c, run)
        network = model.networks["instrument"]
        scores, table = window_scores(network, data.features, c.representation, c.window_frames)
        OUTPUTS.plots.mkdir(parents=True, exist_ok=True)
        table.to_csv(OUTPUTS.plots / "confusion.csv", index=False)
        heard = recording_scores(model.networks, data.features, c.window_frames, decode)
        return model.save, {"history": history}, {**scores, "on_recordings": heard}

    values = {"seed": p.seed, **params.flatten("classifier", c)}
    # Seconds each: several processes would only wait.
    machine = p.machine.model_copy(update={"devices": 1, "nodes": 1})
    inputs, module = [Path("data/features")], "retimbre.classifiers.train"
    train("classifier", values, inputs, module, p.seed, machine, c.precision, trained, OUTPUTS)


if __name__ == "__main__":
    run(main)
