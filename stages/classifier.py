"""Stage ``classifier``: train the instrument classifiers that ``evaluate`` asks, on recordings of the train
split.
"""

from pathlib import Path
from typing import Any

import stages  # noqa: F401  (puts this checkout's src first on the path)
from retimbre import params
from retimbre.classifiers.panel import Classifiers, recording_scores, window_scores
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

    def trained(run: Run) -> tuple[Classifiers, dict[str, History], dict[str, Any]]:
        data = Data()
        model, decode, history = fit(data, c, run)
        scores, table = window_scores(
            model.networks["instrument"], data.features, c.representation, c.window_frames
        )
        OUTPUTS.plots.mkdir(parents=True, exist_ok=True)
        table.to_csv(OUTPUTS.plots / "confusion.csv", index=False)
        heard = recording_scores(model.networks, data.features, c.window_frames, decode)
        return model, {"history": history}, {**scores, "on_recordings": heard}

    values = {"seed": p.seed, **params.flatten("classifier", c)}
    machine = p.machine.model_copy(
        update={"devices": 1, "nodes": 1}
    )  # seconds each: several processes would only wait
    inputs = [Path("data/features")]
    train(
        "classifier",
        values,
        inputs,
        "retimbre.classifiers.train",
        p.seed,
        machine,
        c.precision,
        trained,
        OUTPUTS,
    )


if __name__ == "__main__":
    run(main)
