"""Real scores from music21's corpus: four-part Bach chorales and tunes of Ryan's Mammoth Collection.

Splits are made by melody, not by file: Bach and the fiddlers reused tunes, so scores whose top part
begins with the same seven intervals always share a split. The split depends on nothing but that
incipit, hence a test tune of one seed is never a training tune of another.
"""

import functools
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from retimbre.datasets.parallel import parallel_map
from retimbre.datasets.recordings.choosing import TEST_SHARE, VALIDATION_SHARE, split_of_hash, unit_hash
from retimbre.errors import RetimbreError

Collection = Literal["bach", "ryansMammoth"]
CHORALES: Collection = "bach"
TUNES: Collection = "ryansMammoth"
INCIPIT_INTERVALS = 7
CHORALE_PARTS = 4


class Note(NamedTuple):
    """A notated note; onset and length in quarter notes, part 0 is the top one."""

    onset: float
    length: float
    pitch: int
    part: int


@dataclass(frozen=True)
class Score:
    name: str
    collection: str
    notes: tuple[Note, ...]
    incipit: tuple[int, ...]


def corpus_files(collection: Collection) -> list[Path]:
    """The collection's files in music21's corpus, sorted. Raises RetimbreError when music21 is missing."""
    spec = importlib.util.find_spec("music21")
    if spec is None or spec.origin is None:
        raise RetimbreError(
            "dataset.source soundfont takes its scores from the music21 package: `pip install music21`."
        )
    suffixes = {".mxl", ".xml", ".krn"} if collection == CHORALES else {".abc"}
    folder = Path(spec.origin).parent / "corpus" / collection
    return sorted(path for path in folder.glob("*") if path.suffix in suffixes)


def parse(path: Path) -> Score | None:
    """Notes of a score file: ties merged, grace notes and chord symbols dropped.

    None for what does not belong to its collection: chorales without exactly four parts (their
    first parts are often instruments) and files that music21 cannot read.
    """
    from music21 import converter, harmony
    from music21.exceptions21 import Music21Exception

    collection = path.parent.name
    try:
        parts = list(converter.parse(path, forceSource=True).parts)
    except (Music21Exception, ValueError, AttributeError, IndexError, KeyError):
        return None
    if len(parts) != (CHORALE_PARTS if collection == CHORALES else 1):
        return None
    notes = []
    for number, part in enumerate(parts):
        part.stripTies(inPlace=True)  # a copy of the part would take as long as reading it
        for item in part.flatten().notes:
            if isinstance(item, harmony.Harmony) or item.duration.isGrace or item.duration.quarterLength <= 0:
                continue
            onset, length = float(item.offset), float(item.duration.quarterLength)
            notes += [Note(onset, length, int(pitch.midi), number) for pitch in item.pitches]
    notes.sort()
    if len({note.onset for note in notes if note.part == 0}) <= INCIPIT_INTERVALS:
        return None
    first = notes[0].onset  # a score may begin with rests
    notes = [note._replace(onset=note.onset - first) for note in notes]
    return Score(f"{collection}-{path.stem}", collection, tuple(notes), incipit(notes))


def top_line(notes: tuple[Note, ...] | list[Note]) -> list[Note]:
    """The highest note of the first part at each onset, each ending where the next begins: one line."""
    highest: dict[float, Note] = {}
    first = min(note.part for note in notes)
    for note in notes:
        if note.part == first and (note.onset not in highest or note.pitch > highest[note.onset].pitch):
            highest[note.onset] = note
    line = [highest[onset] for onset in sorted(highest)]
    ends = [note.onset for note in line[1:]] + [float("inf")]
    return [
        note._replace(length=min(note.length, end - note.onset)) for note, end in zip(line, ends, strict=True)
    ]


def incipit(notes: tuple[Note, ...] | list[Note]) -> tuple[int, ...]:
    """The first seven intervals of the top part, semitones: the same in every key."""
    pitches = [note.pitch for note in top_line(notes)[: INCIPIT_INTERVALS + 1]]
    return tuple(after - before for before, after in zip(pitches, pitches[1:], strict=False))


@functools.lru_cache(maxsize=4096)
def split_of(incipit: tuple[int, ...], domains: int) -> tuple[str, int | None]:
    """``("test", None)``, ``("validation", None)`` or ``("train", index of the domain)`` of an incipit.

    Every training score belongs to one domain, so that no score is heard in two: unpaired.
    """
    u = unit_hash("incipit " + " ".join(map(str, incipit)))
    if (split := split_of_hash(u)) != "train":
        return split, None
    share = (u - TEST_SHARE - VALIDATION_SHARE) / (1 - TEST_SHARE - VALIDATION_SHARE)
    return "train", min(int(share * domains), domains - 1)


def transpositions(notes: tuple[Note, ...] | list[Note], lowest: int, highest: int) -> list[int]:
    """Transpositions within two octaves, in semitones, that put all notes into ``lowest..highest`` (MIDI).

    The smallest comes first, and of two equally small ones the lower.
    """
    low, high = min(note.pitch for note in notes), max(note.pitch for note in notes)
    shifts = [shift for shift in range(-24, 25) if low + shift >= lowest and high + shift <= highest]
    return sorted(shifts, key=abs)


def scores(collection: Collection, seed: int, jobs: int) -> Iterator[Score]:
    """The collection's usable scores in an order drawn by ``seed``; parsed (0.08 s each) on demand."""
    files = sorted(corpus_files(collection), key=lambda path: unit_hash(f"{seed} {path.name}"))
    return (score for score in parallel_map(parse, files, jobs) if score is not None)
