"""The page ``reports/generation.html``: notes of every row to look at and to hear, in one file.

Pitch across and latent down, a rainbowgram and its sound for every note, of the models that are here. It is
in the style of the evaluation's report, and reads its sounds and pictures as that does.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from retimbre.evaluation.report import page as pages
from retimbre.evaluation.report.media import Media, sound
from retimbre.evaluation.report.rainbowgram import rainbow_picture, rainbowgram, shared_top_db
from retimbre.paths import write_atomically
from studies.generation import gallery, models, study
from studies.generation.data import Data

TEMPLATE = "notes.html.j2"
COLUMNS = 64  # at most, of a note's picture


def grid(row: study.Row, data: Data, published: bool) -> gallery.Grid | None:
    """A row's notes; None where its model or the recordings are not here."""
    if not data.ready or (row.system and models.cost(row, data, published) is None):
        return None
    if row.system:
        return gallery.grid_of(models.load(row, data, published))
    return gallery.grid_of_notes(data.notes(row.name.removeprefix("real_")))


def called(found: gallery.Grid, data: Data) -> np.ndarray:
    """Names (3, 6) of a grid's notes: pitch or word, or the number of the latent."""
    if found.pitches is None:
        names = [f"latent {n}" for n in range(1, found.audio[..., 0].size + 1)]
    elif not data.instruments:
        names = [data.domains[place] for place in found.pitches.ravel()]
    else:
        names = [f"MIDI {pitch}" for pitch in found.pitches.ravel()]
    return np.reshape(names, found.audio.shape[:2])


def lines(found: gallery.Grid, data: Data, media: Media) -> list[dict[str, Any]]:
    """A grid for the template: lines of notes, each with its name, picture and sound."""
    pictures = [[rainbowgram(x, data.rate) for x in line] for line in found.audio]
    top = max(map(shared_top_db, pictures))  # one scale, so that levels can be compared
    names, shown = called(found, data), []
    for k, name in enumerate(found.lines):
        notes = [
            {
                "name": str(names[k, n]),
                "picture": media.name(rainbow_picture(pictures[k][n], top, COLUMNS)),
                "sound": media.name(sound(found.audio[k, n], data.rate)),
            }
            for n in range(len(names[k]))
        ]
        shown.append({"name": name, "notes": notes})
    return shown


def path_of(data: Data, published: bool) -> Path:
    """The page of a data set and size."""
    name = "-".join(["generation", *models.variant(data, published)])
    return data.place / "reports" / f"{name}.html"


def write(
    rows: Mapping[str, study.Row], data: Mapping[int, Data], published: bool, words: Sequence[str]
) -> Path:
    """Write the page of all rows; ``data`` by the samples of a note, ``words`` of the command that makes the
    rows that are not here. Returns its path.
    """
    media, shown = Media(), []
    for row in rows.values():
        own = data[row.samples]
        found = grid(row, own, published)
        made = {"lines": lines(found, own, media) if found else [], "command": models.command(row, words)}
        shown.append({"row": row, **made})
    loader = FileSystemLoader([study.HERE, Path(pages.__file__).parent])
    blocks = {"trim_blocks": True, "lstrip_blocks": True}
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, **blocks)
    values = {"shown": shown, "media": media, "legend": gallery.LEGEND, "style": pages.STYLE}
    text = environment.get_template(TEMPLATE).render(values, script=pages.SCRIPT)
    path = path_of(next(iter(data.values())), published)
    with write_atomically(path) as file:
        file.write(text)
    print(path)
    return path
