"""Every classifier of the package on one protocol: ``make classifiers``.

Makes the windows (once), trains every row with every seed, one thread each, and keeps what is finished in
``results/<source>/``: a run that is interrupted goes on. Then it writes the tables and pictures of the
results (docs/classifiers.md for the embedded data). ``--set dataset.source=irmas`` takes another source.
"""

import argparse
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "src"), str(ROOT)]

from retimbre import errors  # noqa: E402
from retimbre.arguments import positive  # noqa: E402
from retimbre.classifiers.bench import scores  # noqa: E402
from retimbre.classifiers.bench.catalogue import ROWS, make  # noqa: E402
from retimbre.classifiers.bench.descriptors import Pipelined, cross_validated  # noqa: E402
from retimbre.classifiers.bench.windows import RATE, SAMPLES  # noqa: E402
from retimbre.errors import RetimbreError  # noqa: E402
from retimbre.provenance import training_key  # noqa: E402
from retimbre.section import Machine  # noqa: E402
from retimbre.training.checkpoint import Scratch  # noqa: E402
from retimbre.training.devices import THREADS, make_fabric, set_threads  # noqa: E402
from retimbre.training.fit import Run  # noqa: E402
from studies.changes import changes  # noqa: E402
from studies.classifiers import page  # noqa: E402
from studies.classifiers.data import SHIFTED, Data, Set, settings  # noqa: E402
from studies.classifiers.page import CURVES, MINUTES, RESULTS, place  # noqa: E402
from studies.counting import Counting  # noqa: E402

Cell = tuple[str, int, float | None]  # row, seed, minutes of training in all (None: all there are)
DETERMINISTIC = [name for name, row in ROWS.items() if row.pipeline and not name.endswith("forest")]


def trained_on(found: Set, minutes: float | None) -> np.ndarray | slice:
    """Numbers of the windows of so many minutes in all, as many of every class; None: of all."""
    if minutes is None:
        return slice(None)
    numbers, classes = np.arange(len(found.windows)), np.unique(found.labels)
    each = max(1, round(minutes * 60 * RATE / SAMPLES / len(classes)))
    return np.concatenate([numbers[found.labels == c][:each] for c in classes])


def cell(data: Data, name: str, seed: int, minutes: float | None) -> None:
    """Train a row and write what it says of the test sets."""
    classes, train = data.classes, data.load("train")
    train.windows.heard(front(name))
    picked = trained_on(train, minutes)
    windows, labels = train.windows[picked], train.labels[picked]
    key = training_key({"seed": seed, "row": name, "data": data.folder.name, "minutes": minutes},
                       [], "retimbre.classifiers.bench.catalogue")  # fmt: skip
    with Scratch("classifiers", key) as scratch:
        run = Run(seed, make_fabric("cpu"), Machine(jobs=1, checkpoint_every=50), scratch)
        count = Counting(run.tracker, scratch.folder / "seconds")
        classifier = make(name, len(classes), seed, run=replace(run, tracker=count))
        classifier.fit(windows, labels)
        found: dict[str, Any] = {"parameters": classifier.parameters, "seconds": round(count.seconds, 1)}
        for split in ("test", SHIFTED):
            if split in data.sets:
                found[split] = judged(classifier.predict_proba, data.load(split))
        if isinstance(classifier, Pipelined) and labels.ndim == 1 and minutes is None and seed == 1:
            found["cross_validated"] = round(
                cross_validated(classifier, windows, labels, train.recordings[picked]), 4
            )
        path = place(data.name, name, seed, minutes)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(found) + "\n", encoding="utf-8")
        scratch.finish()
    said = ", ".join(f"{k} {v:.3f}" for k, v in found["test"].items() if isinstance(v, float))
    print(f"{path.stem}: {said}, {found['seconds']} s", flush=True)


def judged(predict: Any, held_out: Set) -> dict[str, Any]:
    """Scores of probabilities, and the class that every window and every recording is called."""
    p, labels = predict(held_out.windows), held_out.labels
    together = scores.by_recording(p, held_out.recordings)
    if labels.ndim == 2:
        of = np.unique(held_out.recordings, return_index=True)[1]
        return {"macro_auc": scores.macro_auc(together, labels[of]),
                "micro_auc": scores.micro_auc(together, labels[of])}  # fmt: skip
    figures = {name: round(value, 4) for name, value in scores.scores(p, labels).items()}
    called = {"windows": p.argmax(1).tolist(), "recordings": together.argmax(1).tolist()}
    return figures | called


def write_truth(data: Data) -> None:
    """Write the truth of the test sets: classes, labels and recordings.

    Raises RetimbreError where there are results of other data.
    """
    found: dict[str, Any] = {"data": data.folder.name, "classes": data.classes}
    for split in ("test", SHIFTED):
        if split in data.sets:
            one = data.load(split)
            found[split] = {"labels": one.labels.tolist(), "recordings": one.recordings.tolist()}
    path = RESULTS / data.name / "truth.json"
    if path.is_file() and json.loads(path.read_text(encoding="utf-8"))["data"] != data.folder.name:
        raise RetimbreError(f"{path} is of other data: delete {path.parent} to measure anew.")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found) + "\n", encoding="utf-8")


def cells(seeds: int, rows: list[str]) -> list[Cell]:
    """Row, seed and minutes of every cell, the first training of every row first."""
    found = []
    for seed in range(1, seeds + 1):
        found += [(name, seed, None) for name in rows if seed == 1 or name not in DETERMINISTIC]
        found += [(name, seed, m) for name in CURVES for m in MINUTES
                  if name in rows and (seed == 1 or name not in DETERMINISTIC)]  # fmt: skip
    return found


def missing(source: str, seeds: int, rows: list[str]) -> list[Cell]:
    """Cells without a result. Tags have no curves: no part of the windows has as many of every tag."""
    tags = page.Results(source).tags
    return [
        (name, seed, minutes)
        for name, seed, minutes in cells(seeds, rows)
        if not (place(source, name, seed, minutes).is_file() or (tags and minutes))
    ]


def front(name: str) -> object:
    """Front of a row: rows with the same one are trained in one process, which computes it once."""
    return ROWS[name].pipeline[0] if ROWS[name].pipeline else ROWS[name].recipe.heard


def divided(wanted: list[Cell], workers: int) -> list[list[Cell]]:
    """The cells of every worker: by seed, then by what they hear, as even as groups can be dealt."""
    groups: dict[tuple[int, object], list[Cell]] = {}
    for name, seed, minutes in wanted:
        groups.setdefault((seed, front(name)), []).append((name, seed, minutes))
    shares: list[list[Cell]] = [[] for _ in range(workers)]
    for group in groups.values():
        min(shares, key=len).extend(group)
    return [share for share in shares if share]


def work(share: list[Cell], changes: list[str]) -> str | None:
    """Run cells one after the other in a process of one thread; a sentence when one failed."""
    words = [sys.executable, __file__, *(f"--set={change}" for change in changes), "--cells"]
    words += [f"{name}:{seed}:{minutes or ''}" for name, seed, minutes in share]
    environment = {**os.environ, **dict.fromkeys(THREADS, "1")}
    done = subprocess.run(words, env=environment, check=False)
    return f"a worker ended with status {done.returncode}: see above" if done.returncode else None


def read_cell(text: str) -> Cell:
    """A cell as :func:`work` writes it. Raises ValueError for another form."""
    name, seed, minutes = text.split(":")
    if name not in ROWS:
        raise ValueError(name)
    return name, int(seed), float(minutes) if minutes else None


def main() -> None:
    os.environ.setdefault("DVC_ROOT", str(ROOT))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=positive, default=2, help="processes, one thread each (2)")
    parser.add_argument("--seeds", type=positive, default=3, help="trainings of every row (3)")
    parser.add_argument("--rows", default="", help="rows whose names begin so, separated by commas")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="as after dvc -S")
    parser.add_argument("--tables", action="store_true", help="write the tables of what is there, no more")
    help = "these alone, in this process: of training in all so many minutes, or all"
    parser.add_argument("--cells", nargs="+", type=read_cell, metavar="ROW:SEED:[MINUTES]", help=help)
    given = parser.parse_args()
    data = Data(settings(changes(given.set)))
    if not given.tables:
        data.prepare()
    if given.cells:
        set_threads()
        for which in given.cells:
            cell(data, *which)
        return
    failed = []
    if not given.tables:
        write_truth(data)
        rows = [name for name in ROWS if name.startswith(tuple(given.rows.split(",")))]
        wanted = missing(data.name, given.seeds, rows)
        print(f"{len(wanted)} trainings to do", flush=True)
        shares = divided(wanted, given.jobs)
        with ThreadPoolExecutor(given.jobs) as pool:
            failed = [said for said in pool.map(lambda share: work(share, given.set), shares) if said]
    page.write(data.name)
    if failed:
        raise RetimbreError(f"{failed[0]}.")


if __name__ == "__main__":
    errors.run(main)
