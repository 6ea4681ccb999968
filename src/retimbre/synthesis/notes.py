"""Sets of notes: those of the sampled instruments, and recordings of published sets."""

import functools
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from retimbre.audio.files import read_mono
from retimbre.datasets.parallel import parallel_map
from retimbre.datasets.recordings.manifest import SPLITS
from retimbre.datasets.scores import soundfont
from retimbre.datasets.sources.base import Track
from retimbre.synthesis import single_notes
from retimbre.synthesis.base import Notes

PEAK = 0.9  # of the loudest note; all have one gain, so that velocities keep their levels
NSYNTH = re.compile(r"nsynth-.*-(\d{3})-(\d{3})")  # pitch and velocity in a note's name
UNKNOWN_VELOCITY = 100
IN_MEMORY = 2 << 30  # bytes; what is larger is read from the disk when it is needed


def embedded(instruments: Sequence[str], samples: int, rate: int, jobs: int = 1) -> dict[str, Notes]:
    """The sampled instruments' notes by split. Raises RetimbreError for an unknown instrument."""
    every = single_notes.single_notes(instruments)
    own = [[note for note in every if note.instrument == name] for name in instruments]
    font = soundfont.find_font(None)
    render = functools.partial(single_notes.render, font=font, samples=samples, rate=rate)
    audio = np.concatenate(list(parallel_map(render, own, jobs)))
    audio *= PEAK / np.abs(audio).max()
    place = {name: n for n, name in enumerate(instruments)}
    rows = np.array([(note.pitch, note.velocity, place[note.instrument]) for note in every])
    splits = np.array([note.split for note in every])
    return {
        split: Notes(audio[splits == split], *rows[splits == split].T, tuple(instruments), rate)
        for split in SPLITS
    }


def recorded(root: Path, tracks: Sequence[Track], samples: int, rate: int) -> Iterator[np.ndarray]:
    """Audio (samples,) of each track below ``root``, cut or filled up with silence."""
    for track in tracks:
        x = read_mono(root / track.path, rate)[:samples]
        yield np.pad(x, (0, samples - len(x)))


def described(tracks: Iterable[Track], domains: Sequence[str]) -> np.ndarray:
    """Pitch, velocity and place of the domain (n, 3) of tracks: of NSynth's notes by their names. Of others
    the pitch is the place of the domain, a word.
    """
    rows = []
    for track in tracks:
        place = domains.index(track.domain)
        said = NSYNTH.fullmatch(track.piece)
        rows.append((int(said[1]), int(said[2]), place) if said else (place, UNKNOWN_VELOCITY, 0))
    return np.array(rows, int).reshape(-1, 3)


def save(folder: Path, split: str, notes: Notes) -> None:
    """Write a split; the audio is kept as it is."""
    save_rows(folder, split, np.stack([notes.pitch, notes.velocity, notes.instrument], axis=1))
    np.save(folder / f"{split}.npy", notes.audio.astype(np.float32))


def save_rows(folder: Path, split: str, rows: np.ndarray) -> None:
    """Write pitch, velocity and instrument (n, 3) of a split."""
    np.save(folder / f"{split}.rows.npy", rows)


def load(folder: Path, split: str, instruments: Sequence[str], rate: int) -> Notes:
    """Read a split; large audio stays on the disk until it is asked for."""
    path = folder / f"{split}.npy"
    audio = np.load(path, mmap_mode="r" if path.stat().st_size > IN_MEMORY else None)
    return Notes(audio, *np.load(folder / f"{split}.rows.npy").T, tuple(instruments), rate)
