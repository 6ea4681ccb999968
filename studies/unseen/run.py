"""Sources that no training has heard: the test pieces on other instruments, through the trained systems.

``python studies/unseen/run.py`` after ``dvc repro`` renders every test piece on General MIDI programs outside
the data set, transfers them to both targets, and writes ``table.md`` and ``results.json`` beside this file:
notes against the score as shares of the true target's (``source_f1``: of the source itself, before any
transfer), and the classifiers' rates. Some four minutes.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "src"), str(ROOT)]

from retimbre import errors, params  # noqa: E402
from retimbre.audio.features import spectrum_of  # noqa: E402
from retimbre.audio.levels import rms  # noqa: E402
from retimbre.datasets.scores import soundfont  # noqa: E402
from retimbre.datasets.scores.performance import PlayedNote  # noqa: E402
from retimbre.evaluation.bench import suite  # noqa: E402
from retimbre.evaluation.bench.bench import Bench  # noqa: E402
from retimbre.evaluation.bench.scores import heard_targets, score_records  # noqa: E402
from retimbre.evaluation.bench.scoring import records  # noqa: E402
from retimbre.evaluation.bench.testset import Clip, Item  # noqa: E402
from retimbre.evaluation.results.table import make_table  # noqa: E402
from retimbre.systems import catalogue  # noqa: E402
from studies.orchestra.held_out import UNSEEN, program  # noqa: E402
from tools.figures import markdown  # noqa: E402

HERE = Path(__file__).resolve().parent
SOURCES = (*UNSEEN, "trumpet", "flute")
SYSTEM, COPY = catalogue.DEFAULTS[0], "copy"
VELOCITY = 80
SHOWN = ("score_f1_of_true", "score_precision_of_true", "score_recall_of_true", "style_target_rate")


def on_another(item: Item, name: str, bench: Bench) -> Item:
    """The item with its score played by another instrument, of which nobody knows the true times."""
    rate, length = bench.data.features.config.sample_rate, len(item.source.audio)
    spans = zip(item.score.intervals_s.clip(min=0), item.score.pitches_midi, strict=True)
    notes = [PlayedNote(float(on), float(off), int(pitch), VELOCITY) for (on, off), pitch in spans]
    font = soundfont.find_font(bench.p.dataset.soundfont)
    audio = soundfont.recorded(notes, program(name), font.path, length, rate)
    audio = (audio * (bench.p.audio.rms / rms(audio))).astype(np.float32)
    heard = Clip(audio, spectrum_of(audio, bench.data.features.config, bench.representation))
    return replace(item, source=heard, oracle=None)


def main() -> None:
    bench = Bench(params.read(ROOT / "params.yaml"), ROOT / catalogue.MODELS, ROOT / "data/raw")
    scored = [item for item in bench.items() if item.score is not None]
    rows = [row for row in bench.rows() if row.name in (COPY, SYSTEM)]
    scorer, cache, jobs = bench.make_scorer(), bench.cache, bench.p.machine.jobs
    targets = heard_targets(scored, bench.data.features.config.sample_rate, cache)
    found = []
    for name in SOURCES:
        items = [on_another(item, name, bench) for item in scored]
        results = suite.run(items, rows, scorer, cache, bench.p.seed, len(items), jobs)
        for record in (*records(results), *score_records(results, targets)):
            target = record["direction"].partition("_to_")[2]  # classifiers know no other source
            found.append({**record, "direction": f"{name}_to_{target}"})
    table = make_table(found)
    means = table.groupby(["system", "metric", "direction"], sort=False).value.mean()
    wide = means[SYSTEM].unstack("metric")[list(SHOWN)]
    wide.insert(1, "source_f1", means[COPY][SHOWN[0]])
    (HERE / "results.json").write_text(json.dumps(wide.round(3).to_dict("index"), indent=1) + "\n")
    wide.loc["mean"] = wide.mean()
    rows = ([name.replace("_to_", " → "), *(f"{x:.2f}" for x in row)] for name, row in wide.T.items())
    text = markdown(["direction", *wide], rows)
    (HERE / "table.md").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    errors.run(main)
