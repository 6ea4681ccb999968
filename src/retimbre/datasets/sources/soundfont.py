"""The embedded data set: real scores, performed and rendered on sampled instruments.

Training sets are unpaired: each score belongs to one domain. Validation and test pieces are paired:
one performance, rendered by every instrument at the same sample positions; test pieces have a second
performance besides (other jitter and velocities), to know how close two true recordings are.
With ``dataset.paired_training`` training pieces are paired too, with the same minutes per domain.
With ``dataset.shared_range: false`` every instrument plays in its own range, and nothing is paired.
"""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from retimbre.datasets.parallel import parallel_map
from retimbre.datasets.recordings.choosing import unit_hash
from retimbre.datasets.recordings.manifest import Recording
from retimbre.datasets.scores import corpus as scores
from retimbre.datasets.scores import performance, soundfont
from retimbre.datasets.scores.corpus import CHORALES, TUNES, Score
from retimbre.datasets.sources.params import Dataset
from retimbre.errors import RetimbreError
from retimbre.progress import Progress
from retimbre.section import Machine

LONGEST_TRAINING_S = 60.0
SHORTEST_TRAINING_S = 4.0  # what is left of the asked minutes below this is not rendered
LEAD_S = 0.03  # an excerpt begins this much before its first onset, which may jitter
PREROLL_S = 6.0  # notes that began this long before an excerpt are rendered with it: they still ring
MUSIC_LICENCE = "music: public domain, encodings of the music21 corpus without a statement of their own"


# A split and the index of the domain; None: all play it, as they do 0 of paired training.
Key = tuple[str, int | None]


@dataclass(frozen=True)
class Piece:
    """A score with everything drawn about it, so that rendering it is a pure function."""

    name: str
    collection: str
    notes: tuple[scores.Note, ...]
    split: str
    domains: tuple[str, ...]  # what it is rendered on
    shift: int  # semitones
    tempo_bpm: float
    start_s: float
    duration_s: float

    @property
    def paired(self) -> bool:
        """True when several instruments play it."""
        return len(self.domains) > 1


def least(key: Key) -> float:
    """The least worth filling of a split: seconds of training, or pieces."""
    return SHORTEST_TRAINING_S if key[0] == "train" else 1


def common_range(instruments: Sequence[soundfont.Instrument]) -> tuple[int, int] | None:
    """Lowest and highest MIDI pitch that all instruments play in tune; None when it is no octave."""
    lowest = max(instrument.lowest for instrument in instruments)
    highest = min(instrument.highest for instrument in instruments)
    return (lowest, highest) if highest - lowest >= 12 else None


def random(seed: int, *what: object) -> np.random.Generator:
    """A generator for one purpose, independent of the order in which purposes come."""
    return np.random.default_rng([seed, int(unit_hash(" ".join(map(str, what))) * 2**56)])


class RenderedScores:
    """Source ``soundfont``. Raises RetimbreError at once for unknown instruments and broken fonts."""

    def __init__(self, dataset: Dataset, seed: int, machine: Machine):
        self.dataset, self.seed, self.jobs = dataset, seed, machine.jobs
        self.domains = tuple(dataset.domains)
        self.instruments = [soundfont.instrument(domain) for domain in self.domains]
        if dataset.shared_range and not common_range(self.instruments):
            raise RetimbreError(
                f"dataset.domains: {', '.join(self.domains)} share less than an octave, so they cannot play "
                "the same notes; choose instruments of closer range, or set dataset.shared_range: false."
            )
        self.font = soundfont.find_font(dataset.soundfont)

    def prepare(self, out: Path) -> list[Recording]:
        pieces = self.plan()
        takes = [
            (piece, number)
            for piece in pieces
            for number in ((1, 2) if piece.split == "test" and piece.paired else (1,))
        ]
        render = functools.partial(render_take, seed=self.seed, font=self.font, out=Path(out))
        recordings = []
        seconds = sum(piece.duration_s * len(piece.domains) for piece, _ in takes)
        with Progress(round(seconds), "render", "s of audio") as progress:
            for (piece, _), made in zip(takes, parallel_map(render, takes, self.jobs), strict=True):
                recordings += made
                progress.update(round(piece.duration_s) * len(made))
        return recordings

    def plan(self) -> list[Piece]:
        """Choose scores until every split is full. Raises RetimbreError when the corpus has too few."""
        share = self.dataset.polyphonic_share
        pieces = []
        for collection, part in ((CHORALES, share), (TUNES, 1 - share)):
            counts = {"validation": self.dataset.validation_pieces, "test": self.dataset.test_pieces}
            # Chorales are rounded and tunes take the rest, so that the counts add up.
            chorales = {split: math.floor(count * share + 0.5) for split, count in counts.items()}
            needed = chorales
            if collection == TUNES:
                needed = {split: counts[split] - chorales[split] for split in counts}
            pieces += self._choose(collection, needed, self.dataset.train_minutes * 60 * part)
        return pieces

    def _choose(self, collection: scores.Collection, pieces: dict[str, int], train_s: float) -> list[Piece]:
        """``pieces[split]`` held-out pieces and ``train_s`` seconds for each domain from one collection."""
        groups = 1 if self.dataset.paired_training else len(self.domains)
        held_out = [None] if self.dataset.shared_range else range(groups)
        left: dict[Key, float] = {(split, n): count for split, count in pieces.items() for n in held_out}
        left |= {("train", group): train_s for group in range(groups)}
        asked = dict(left)

        def missing(key: Key) -> bool:
            return left[key] >= least(key)

        chosen: list[Piece] = []
        wanted = sum(map(missing, left))
        if not wanted:
            return chosen
        with Progress(wanted, f"choose scores from {collection}", "splits full") as progress:
            for score in scores.scores(collection, self.seed, self.jobs):
                split, place = scores.split_of(score.incipit, groups)
                places = held_out if place is None else [place]  # whoever lacks one may have a held-out score
                key = next((key for n in places if missing(key := (split, n))), None)
                if key is None or (piece := self._piece(score, key, left[key])) is None:
                    continue
                chosen.append(piece)
                left[key] -= piece.duration_s if key[0] == "train" else 1
                full = wanted - sum(map(missing, left))
                progress.update(full - progress.done, f"{len(chosen)} scores")
                if full == wanted:
                    return chosen
        raise RetimbreError(self._shortage(collection, asked, left))

    def _piece(self, score: Score, key: Key, left_s: float) -> Piece | None:
        """The score with transposition, tempo and stretch drawn; None when it does not fit."""
        split, place = key
        everyone = place is None or self.dataset.paired_training
        players = list(range(len(self.domains))) if everyone else [place]
        within = self.instruments if self.dataset.shared_range else [self.instruments[n] for n in players]
        whole = score.collection == CHORALES and all(instrument.polyphonic for instrument in within)
        line = score.notes if whole else tuple(scores.top_line(score.notes))
        shifts = scores.transpositions(line, *common_range(within))
        if not shifts:
            return None
        shift = shifts[0]
        if not self.dataset.shared_range:  # no other instrument is to play the same: the whole range is heard
            shift = int(random(self.seed, score.name, "transposition").choice(shifts))
        rng = random(self.seed, score.name, "tempo and start")
        tempo = performance.draw_tempo(line, score.collection, rng)
        whole_s = performance.duration_s(line, tempo)
        if split == "train":
            start_s, length_s = 0.0, min(whole_s, LONGEST_TRAINING_S, left_s)
        else:
            length_s = self.dataset.excerpt_s
            onsets = sorted({note.onset * 60 / tempo for note in line})
            latest_s = whole_s - performance.TAIL_S - length_s
            starts = [max(0.0, onset - LEAD_S) for onset in onsets if onset - LEAD_S <= latest_s]
            if not starts:
                return None
            start_s = starts[rng.integers(len(starts))]
        domains = tuple(self.domains[n] for n in players)
        return Piece(score.name, score.collection, line, split, domains, shift, tempo, start_s, length_s)

    def _shortage(self, collection: str, asked: dict[Key, float], left: dict[Key, float]) -> str:
        split, domain = key = next(key for key in left if left[key] >= least(key))
        have, want = asked[key] - left[key], asked[key]
        kind = "four-part chorales" if collection == CHORALES else "tunes"
        shared = self.dataset.shared_range
        place = f"in the common range of {', '.join(self.domains)}" if shared else "in their own ranges"
        if split == "train":
            trained = "all domains" if self.dataset.paired_training else self.domains[domain]
            return (
                f"music21 has {have / 60:.1f} minutes of {kind} for training {trained} {place}, but "
                f"{want / 60:.1f} are asked for: lower dataset.train_minutes or change "
                "dataset.polyphonic_share."
            )
        return (
            f"music21 has {have:.0f} {split} pieces among the {kind} that last {self.dataset.excerpt_s:g} s "
            f"{place}, but {want:.0f} are asked for: lower dataset.{split}_pieces or dataset.excerpt_s, or "
            "change dataset.polyphonic_share."
        )


def play(piece: Piece, number: int, seed: int) -> list[performance.PlayedNote]:
    """Performance ``number`` of the whole piece; numbers differ in jitter and velocities only."""
    rng = random(seed, piece.name, "performance", number)
    return performance.perform(piece.notes, piece.shift, piece.tempo_bpm, rng)


def render_take(take: tuple[Piece, int], seed: int, font: soundfont.Font, out: Path) -> list[Recording]:
    """Render one performance of a piece on each of its domains below ``out``; the MIDI goes beside them."""
    piece, number = take
    played = play(piece, number, seed)
    midi = f"midi/{piece.split}/{piece.name}{f'.{number}' if piece.paired else ''}.mid"
    performance.write_midi(out / midi, performance.excerpt(played, piece.start_s, piece.duration_s))
    # Rendering starts a little before the excerpt: what still rings at its beginning is heard.
    begin_s = max(0.0, piece.start_s - PREROLL_S)
    lead_s = piece.start_s - begin_s
    heard = performance.excerpt(played, begin_s, lead_s + piece.duration_s)
    return [
        _record(domain, piece, str(number) if piece.paired else "", heard, lead_s, font, out, midi)
        for domain in piece.domains
    ]


def _record(
    domain: str,
    piece: Piece,
    number: str,
    heard: list[performance.PlayedNote],
    lead_s: float,
    font: soundfont.Font,
    out: Path,
    midi: str,
) -> Recording:
    """Render ``heard`` without its first ``lead_s`` seconds on one domain's instrument."""
    rate, program = soundfont.RENDER_RATE, soundfont.instrument(domain).program
    first, length = round(lead_s * rate), round(piece.duration_s * rate)
    audio = soundfont.render(heard, program, font.path, (first + length) / rate)[first:]
    if not np.abs(audio).max() > 0:
        raise RetimbreError(
            f"dataset.soundfont: {font.name} has no sound for {domain} (General MIDI program {program}): "
            "use another .sf2 or domain."
        )
    path = out / piece.split / domain / f"{piece.name}{'.' + number if number else ''}.flac"
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, audio, rate, subtype="PCM_16")
    return Recording(
        path=path.relative_to(out).as_posix(),
        domain=domain,
        piece=piece.name,
        split=piece.split,
        performance=number,
        start_s=0.0,
        duration_s=length / rate,
        sample_rate=rate,
        source=f"{font.name}, program {program}",
        licence=f"{MUSIC_LICENCE}; instruments: {font.licence}",
        midi=midi,
    )
