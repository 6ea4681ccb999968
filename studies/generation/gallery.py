"""Pictures and sounds of a row: rainbowgrams, pitch across and latent down, and a few notes to listen to."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
from PIL import Image

from retimbre.evaluation.report.rainbowgram import RANGE_DB, colours, rainbowgram, shared_top_db
from retimbre.synthesis.base import Notes, Synthesiser

PITCHES = (42, 48, 54, 60, 66, 72)  # across
LATENTS = 3  # down
SEED = 3
SIZE = (110, 88)  # of a picture, in pixels
GAP = 4
QUALITY = 40  # of the picture, of 100
COMPRESSION = 0.95  # of the sound, of 1
HEARD = 4  # notes of the line that is heard


class Grid(NamedTuple):
    """``audio`` (3, 6, N), what the lines are, and pitches (3, 6) of notes that have one."""

    audio: np.ndarray
    lines: list[str]
    pitches: np.ndarray | None


def across(known: Sequence[int]) -> list[int]:
    """The pitches of a line: the nearest that there are, or of words some from the first to the last."""
    known = np.unique(known)
    wanted = PITCHES if known[-1] >= PITCHES[0] else np.linspace(known[0], known[-1], len(PITCHES))
    return [int(known[np.abs(known - pitch).argmin()]) for pitch in wanted]


def grid_of(model: Synthesiser) -> Grid:
    """Three latents at six pitches, or 18 latents of what cannot be asked for a pitch."""
    shape = (LATENTS, len(PITCHES))
    if not model.pitches:
        audio = model.decode(model.latents(LATENTS * len(PITCHES), SEED))
        return Grid(audio.reshape(*shape, -1), ["noise"] * LATENTS, None)
    latents = model.latents(LATENTS, SEED).repeat_interleave(len(PITCHES), 0)
    nearest = across(model.pitches) * LATENTS
    lines = [f"latent {n}" for n in range(1, LATENTS + 1)]
    return Grid(model.decode(latents, nearest).reshape(*shape, -1), lines, np.reshape(nearest, shape))


def grid_of_notes(notes: Notes) -> Grid:
    """Recordings of three instruments, as far apart as the list goes, at six pitches."""
    lines, places, there = [], [], np.unique(notes.instrument)
    for k in there[np.linspace(0, len(there) - 1, LATENTS).astype(int)]:
        own = np.flatnonzero(notes.instrument == k)
        pitch, velocity = notes.pitch[own], notes.velocity[own]
        places.append([own[np.where(pitch == p, velocity, -1).argmax()] for p in across(pitch)])
        lines.append(notes.instruments[k].replace("_", " ") if notes.instruments else "recordings")
    return Grid(np.asarray(notes.audio[np.array(places)]), lines, notes.pitch[np.array(places)])


def picture(grid: np.ndarray, rate: int) -> bytes:
    """A WebP of the rainbowgrams of audio (rows, columns, N), all on one scale of levels."""
    found = [[rainbowgram(x, rate) for x in row] for row in grid]
    top = max(shared_top_db(row) for row in found)
    width, height = SIZE
    canvas = Image.new(
        "RGB", (len(found[0]) * (width + GAP) - GAP, len(found) * (height + GAP) - GAP), "white"
    )
    for y, row in enumerate(found):
        for x, one in enumerate(row):
            pixels = (255 * colours(one, top)).round().astype(np.uint8)[::-1]
            small = Image.fromarray(np.ascontiguousarray(pixels)).resize(SIZE, Image.Resampling.LANCZOS)
            canvas.paste(small, (x * (width + GAP), y * (height + GAP)))
    buffer = io.BytesIO()
    canvas.save(buffer, "WEBP", quality=QUALITY, method=6)
    return buffer.getvalue()


def sound(grid: np.ndarray, rate: int) -> bytes:
    """An Ogg Vorbis of some notes of the grid, one after the other, each at the same peak."""
    notes = grid.reshape(-1, grid.shape[-1])[:: max(1, grid.shape[0] * grid.shape[1] // HEARD)][:HEARD]
    peaks = np.abs(notes).max(axis=1, keepdims=True)
    line = (0.5 * notes / np.maximum(peaks, 1e-4)).ravel().astype(np.float32)
    buffer = io.BytesIO()
    soundfile.write(buffer, line, rate, format="OGG", subtype="VORBIS", compression_level=COMPRESSION)
    return buffer.getvalue()


def draw(folder: Path, name: str, grid: Grid, rate: int) -> None:
    """Write the picture and the sound of a row."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.webp").write_bytes(picture(grid.audio, rate))
    (folder / f"{name}.ogg").write_bytes(sound(grid.audio, rate))


LEGEND = (
    f"In the pictures pitch goes across (MIDI {PITCHES[0]} to {PITCHES[-1]} in steps of six, or the nearest "
    "that there is) and the latent down; recordings have an instrument in each line, rows without pitch "
    f"{LATENTS * len(PITCHES)} latents. Brightness is level over {RANGE_DB:.0f} dB, hue the phase's advance "
    "from frame to frame: a steady partial keeps one hue."
)
