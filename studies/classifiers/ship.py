"""The weights of `retimbre classify`: the row that is right most often with both fonts, calibrated.

``python studies/classifiers/ship.py`` after ``make classifiers`` (whose windows it takes) writes
``src/retimbre/weights/instruments``.
"""

import json
import os
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "src"), str(ROOT)]

from retimbre import errors  # noqa: E402
from retimbre.classifiers.bench.base import NetworkClassifier  # noqa: E402
from retimbre.classifiers.bench.catalogue import make  # noqa: E402
from retimbre.classifiers.bench.listener import NONE, SHIPPED, Listener  # noqa: E402
from retimbre.classifiers.bench.scores import by_recording, scores  # noqa: E402
from retimbre.classifiers.bench.windows import compressed  # noqa: E402
from retimbre.provenance import training_key  # noqa: E402
from retimbre.section import Machine  # noqa: E402
from retimbre.training.checkpoint import Scratch  # noqa: E402
from retimbre.training.devices import make_fabric, set_threads  # noqa: E402
from retimbre.training.fit import Run  # noqa: E402
from studies.classifiers.data import SHIFTED, STRANGERS, Data, settings  # noqa: E402

ROW, STEPS, SEED = "timbral_4x2_entropy", 300, 1


def measured(listener: Listener, data: Data) -> dict[str, float]:
    """Balanced accuracy on test pieces and on the other font, and how often strangers are refused."""
    found: dict[str, float] = {}
    for split in ("test", SHIFTED):
        one = data.load(split)
        p = listener.probabilities(one.windows.audio)
        first = np.unique(one.recordings, return_index=True)[1]
        together = by_recording(p, one.recordings)
        found[f"{split}_windows"] = scores(p, one.labels)["balanced_accuracy"]
        found[f"{split}_recordings"] = scores(together, one.labels[first])["balanced_accuracy"]
        found[f"{split}_called_none"] = float(np.mean([listener.called(x) == NONE for x in p]))
    p = listener.probabilities(data.load(STRANGERS).windows.audio)
    found["strangers_called_none"] = float(np.mean([listener.called(x) == NONE for x in p]))
    return {name: round(value, 3) for name, value in found.items()}


def main() -> None:
    os.environ.setdefault("DVC_ROOT", str(ROOT))
    set_threads()
    data = Data(settings({}))
    data.prepare()
    train, validation = data.load("train"), data.load("validation")
    key = training_key({"row": ROW, "steps": STEPS, "data": data.folder.name}, [],
                       "retimbre.classifiers.bench.catalogue")  # fmt: skip
    with Scratch("instruments", key) as scratch:
        run = Run(SEED, make_fabric("cpu"), Machine(jobs=1), scratch)
        trained = make(ROW, len(data.classes), SEED, STEPS, run)
        assert isinstance(trained, NetworkClassifier)
        trained.fit(train.windows, train.labels)
        x = validation.windows.heard(compressed)
        listener = Listener.calibrated(trained, data.classes, x, validation.labels)
        listener.save(SHIPPED)
        found = measured(listener, data)
        (SHIPPED / "metrics.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        scratch.finish()
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    errors.run(main)
