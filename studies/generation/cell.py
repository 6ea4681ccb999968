"""One row of the study: trained, asked for notes, measured.

``python studies/generation/cell.py NAME``. What is trained lies in ``.scratch/generation``, an unfinished
training too: the same command goes on.
"""

import argparse
import json
import shutil
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "src"), str(ROOT)]  # this checkout's own code, as in stages/

import numpy as np  # noqa: E402

from retimbre import errors  # noqa: E402
from retimbre.synthesis import catalogue  # noqa: E402
from retimbre.synthesis.base import Drawing, Notes, Synthesiser, sample  # noqa: E402
from retimbre.synthesis.measures.scores import Score, mean, projection_error  # noqa: E402
from retimbre.synthesis.measures.suite import Reference, measure  # noqa: E402
from retimbre.tracking import study_run  # noqa: E402
from retimbre.training.stage import training  # noqa: E402
from studies.changes import changes  # noqa: E402
from studies.counting import Counting  # noqa: E402
from studies.generation import gallery, models, page, study  # noqa: E402
from studies.generation.data import EMBEDDED, Data, settings  # noqa: E402

SEED = 7  # of the notes that are measured
PROJECTED = 64  # notes whose spectra are compared as drawn and as heard


def trained(row: study.Row, data: Data, published: bool) -> tuple[Synthesiser, dict[str, Any]]:
    """The row's generator, and what its training cost."""
    p, values, known = data.p, row.params, models.known(row, data)
    if (cost := models.cost(row, data, published)) is None:
        module, folder = catalogue.trainer(row.system), models.folder(row, data, published)
        stage = "generation/" + "-".join(folder.relative_to(data.scratch).parts[1:])
        named = stage, known, [], module.__name__, p.seed, p.machine, "32-true"
        with training(*named, lambda s, v: study_run("generation", stage, v)) as run:
            count = Counting(run.tracker, run.scratch.folder / "seconds")
            model, history = module.fit(data.notes("train"), values, replace(run, tracker=count))
            cost = {
                "parameters": model.parameters,
                "steps": max(int(r["step"]) for r in history),
                "training_cpu_minutes": round(count.seconds / 60, 2),
            }
            run.scratch.release_signals()
            part = folder.with_name(f"{row.name}.part")
            shutil.rmtree(part, ignore_errors=True)
            catalogue.store(row.system, model, part)
            (part / models.FIGURES).write_text(json.dumps({"key": models.key(row, data), **cost}))
            shutil.rmtree(folder, ignore_errors=True)
            part.rename(folder)
    return models.load(row, data, published), cost


def drawn(notes: Notes, count: int) -> Notes:
    """So many of the notes, all where there are no more."""
    picked = np.sort(np.random.default_rng(SEED).permutation(len(notes))[:count])
    fields = ("pitch", "velocity", "instrument")
    own = {name: getattr(notes, name)[picked] for name in fields}
    return replace(notes, audio=np.asarray(notes.audio[picked]), **own)


def projected(model: Drawing, audio: np.ndarray, asked: np.ndarray | None) -> Score:
    """Projection error of the first notes that :func:`notes_of` makes."""
    count = min(PROJECTED, len(audio))
    pitches = None if asked is None else asked[:count].tolist()
    magnitudes = model.drawn(model.latents(count, SEED), pitches)
    return mean(projection_error(magnitudes, model.analysed(audio[:count])))


def notes_of(
    row: study.Row, data: Data, count: int, published: bool
) -> tuple[np.ndarray, Any, dict[str, Any], dict[str, Score]]:
    """Notes (n, N) of a row, their pitches if these can be chosen, the row's cost and speed, and figures that
    the audio alone does not show.
    """
    pictured = not published and data.name == EMBEDDED and data.place == ROOT
    if not row.system:
        every = data.notes(row.name.removeprefix("real_"))
        if pictured:
            gallery.draw(page.MEDIA, row.name, gallery.grid_of_notes(every), data.rate)
        notes = drawn(every, count)
        return notes.audio, notes.pitch, {"parameters": 0, "steps": 0, "training_cpu_minutes": 0.0}, {}
    model, cost = trained(row, data, published)
    if pictured:
        gallery.draw(page.MEDIA, row.name, gallery.grid_of(model), data.rate)
    asked = None
    if model.pitches:  # as often as among the training notes
        known = data.notes("train").pitch
        known = known[np.isin(known, model.pitches)]
        asked = np.random.default_rng(SEED).choice(known, count)
    began = time.process_time()
    audio = sample(model, count, None if asked is None else asked.tolist(), SEED)
    seconds = (time.process_time() - began) / (audio.size / data.rate)
    more = {"projection_error": projected(model, audio, asked)} if isinstance(model, Drawing) else {}
    return audio, asked, cost | {"seconds_per_second": float(f"{seconds:.2g}")}, more


def cell(row: study.Row, data: Data, published: bool) -> dict[str, Any]:
    """Train and measure a row; returns what ``results/NAME.json`` holds of it."""
    reference = Reference(data.notes("train"), data.notes("test"), data.listener)
    audio, asked, cost, more = notes_of(row, data, reference.notes, published)
    found = measure(audio, asked, reference) | more
    figures = {name: [float(f"{x:.4g}") for x in score] for name, score in found.items()}
    return {"samples": row.samples, "notes": len(audio), "group": reference.group, **cost, "figures": figures}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", help="a row of rows.yaml")
    study.add_which(parser)
    given = parser.parse_args()
    rows, place = study.chosen(given, [given.name])
    row = rows[given.name]
    data = Data(settings(changes(given.set)), row.samples, place)
    data.prepare()
    folder = study.results(data.name, given.published, given.rows)
    study.write_result(row, folder, cell(row, data, given.published))


if __name__ == "__main__":
    errors.run(main)
