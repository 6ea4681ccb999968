"""Pictures and sounds of a row: rainbowgrams, pitch across and latent down, and a few notes to listen to."""

import io
from pathlib import Path

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


def grid_of(model: Synthesiser) -> np.ndarray:
    """Audio (3, 6, N): three latents at six pitches, or 18 latents of what cannot be asked for a pitch."""
    if not model.pitches:
        audio = model.decode(model.latents(LATENTS * len(PITCHES), SEED))
    else:
        latents = model.latents(LATENTS, SEED).repeat_interleave(len(PITCHES), 0)
        nearest = [min(model.pitches, key=lambda known: abs(known - pitch)) for pitch in PITCHES]
        audio = model.decode(latents, nearest * LATENTS)
    return audio.reshape(LATENTS, len(PITCHES), -1)


def grid_of_notes(notes: Notes) -> np.ndarray:
    """Audio (3, 6, N) of recordings: three instruments, as far apart as the list goes, at six pitches."""
    rows = []
    for k in np.linspace(0, max(0, len(notes.instruments) - 1), LATENTS).astype(int):
        own = np.flatnonzero(notes.instrument == k)
        nearest = [own[np.argmin(abs(notes.pitch[own] - p) - notes.velocity[own] / 1e3)] for p in PITCHES]
        rows.append(notes.audio[nearest])
    return np.array(rows)


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


def draw(folder: Path, name: str, grid: np.ndarray, rate: int) -> None:
    """Write the picture and the sound of a row."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.webp").write_bytes(picture(grid, rate))
    (folder / f"{name}.ogg").write_bytes(sound(grid, rate))


LEGEND = (
    f"In the pictures pitch goes across (MIDI {PITCHES[0]} to {PITCHES[-1]} in steps of six, or the nearest "
    "that there is) and the latent down; recordings have an instrument in each line, rows without pitch "
    f"{LATENTS * len(PITCHES)} latents. Brightness is level over {RANGE_DB:.0f} dB, hue the phase's advance "
    "from frame to frame: a steady partial keeps one hue."
)
