"""An instrument of one's own on the weights that ship: what 1, 5 and 20 minutes of recordings give.

``python studies/own_instrument/run.py`` plays held-in scores on instruments that the weights do not know,
trains on these recordings with ``profiles/own_instrument.yaml``, and measures held-out scores that other
instruments play: a file in ``results/`` per instrument and amount. Then it writes the table of
docs/own_instrument.md. Finished ones are kept when it is interrupted.
"""

import argparse
import itertools
import json
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

ROOT, HERE = Path(__file__).resolve().parents[2], Path(__file__).resolve().parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT)]

from retimbre import errors, params  # noqa: E402
from retimbre.datasets.scores import corpus, performance, soundfont  # noqa: E402
from retimbre.systems import catalogue  # noqa: E402
from retimbre.systems.base import Spectral  # noqa: E402
from studies.checkout import checked_out, profile  # noqa: E402
from studies.orchestra.held_out import KEYS, UNSEEN, HeldOut, Judge, Played  # noqa: E402
from studies.orchestra.run import SHIPPED, SYSTEM  # noqa: E402
from tools import figures  # noqa: E402

RESULTS, SCRATCH = HERE / "results", ROOT / ".scratch" / "own_instrument"
INSTRUMENTS, MINUTES = ("harp", "organ"), (1, 5, 20)
SOURCES = ("piano", "guitar", "violin", "trumpet")
PAGE = "docs/own_instrument.md"
FILES, LONGEST_S = 6, 45.0  # at least so many recordings, each at most so long
SEED = 11
Pieces = tuple[Played, Played, Played]


def performances(seed: int) -> Iterator[list[performance.PlayedNote]]:
    """Chorales and tunes of the training split, played, taking turns."""
    rng = np.random.default_rng(SEED)
    collections = (corpus.CHORALES, corpus.TUNES)
    for pair in zip(*(corpus.scores(collection, seed, 1) for collection in collections), strict=False):
        for collection, score in zip(collections, pair, strict=True):
            trained = corpus.split_of(score.incipit, 1)[0] == "train"
            if trained and (shifts := corpus.transpositions(score.notes, *KEYS)):
                tempo = performance.draw_tempo(score.notes, collection, rng)
                yield performance.perform(score.notes, shifts[0], tempo, rng)


def record(folder: Path, instrument: str, minutes: float, p: Any) -> None:
    """Recordings of an instrument, so many minutes altogether."""
    font, rate, left_s = soundfont.find_font(p.dataset.soundfont), p.audio.sample_rate, 60.0 * minutes
    longest_s = min(LONGEST_S, left_s / FILES)
    part = folder.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    for number, notes in enumerate(performances(p.seed)):
        length_s = min(longest_s, left_s, max(note.end_s for note in notes))
        heard = performance.excerpt(notes, 0.0, length_s)
        audio = soundfont.recorded(heard, UNSEEN[instrument], font.path, round(length_s * rate), rate)
        soundfile.write(part / f"{number:03}.flac", audio, rate)
        left_s -= length_s
        if left_s <= 0:
            break
    part.rename(folder)


def train(place: Path, instrument: str, minutes: float) -> float:
    """Record and train in a checkout of its own; minutes of one processor, interrupted runs included."""
    named = {"dataset": {"domains": [instrument], "folders": {instrument: "recordings"}}}
    checked_out(place, profile("own_instrument"), named)
    if not (place / "recordings").is_dir():
        record(place / "recordings", instrument, minutes, params.read(place / "params.yaml"))
    spent = place.with_suffix(".minutes")
    before = float(spent.read_text()) if spent.is_file() else 0.0
    began = processor_s()
    try:
        words = [sys.executable, "-m", "dvc", "repro", SYSTEM]
        if subprocess.run(words, cwd=place, check=False).returncode:
            raise errors.RetimbreError(f"the training in {place} has stopped: run this again to go on.")
    finally:
        spent.write_text(str(before + (processor_s() - began) / 60))
    return float(spent.read_text())


def processor_s() -> float:
    """Processor time of the processes that this one has started and that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def held_out(instrument: str, music: HeldOut) -> list[Pieces]:
    """Scores played by another instrument, by the true one, and by that again."""
    return [
        (music.played(first, source), music.played(first, instrument), music.played(second, instrument))
        for source in SOURCES
        for first, second in music.takes(source, instrument)
    ]


class Measuring(Judge):
    """Outputs for held-out scores, judged by the true instrument."""

    def __init__(self, system: Spectral, pieces: list[Pieces]):
        super().__init__(system)
        self.pieces = pieces

    def skill(self, target: str) -> float:
        """Skill: the share of the way to a second performance, by spectra after the best shift."""
        sums = np.zeros(3)
        for heard, true, again in self.pieces:
            made_db = self.system.spectrum(heard.audio, target)
            compared = self.spectrum(heard.audio), made_db, self.spectrum(again.audio)
            true_db = self.spectrum(true.audio)
            sums += [self.distance(spectrum_db, true_db) for spectrum_db in compared]
        copy, made, second = sums
        return round(float((copy - made) / (copy - second)), 3)

    def notes_kept(self, target: str) -> float:
        """F1 against the score, as a share of the true instrument's."""
        outputs, trues = [], []
        for heard, true, _ in self.pieces:
            outputs.append(heard._replace(audio=self.system.transfer(heard.audio, target)))
            trues.append(true)
        return round(self.notes(outputs) / self.notes(trues), 3)


def measure(instrument: str, minutes: int) -> None:
    """Train with so many minutes and write what it gives, beside the nearest instrument that ships."""
    place = SCRATCH / f"{instrument}-{minutes}"
    found = {"cpu_minutes": round(train(place, instrument, minutes), 1)}
    p, shipped = params.read(place / "params.yaml"), catalogue.load(SYSTEM, SHIPPED)
    pieces = held_out(instrument, HeldOut(p, shipped.sample_rate))
    own, theirs = (Measuring(x, pieces) for x in (catalogue.load(SYSTEM, place / catalogue.MODELS), shipped))
    found |= {"skill": own.skill(instrument), "f1_of_true": own.notes_kept(instrument)}
    known = {target: theirs.skill(target) for target in shipped.targets}
    nearest = max(known, key=known.__getitem__)
    found |= {"nearest": nearest, "nearest_skill": known[nearest]}
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps(found, indent=1) + "\n"
    (RESULTS / f"{instrument}-{minutes}.json").write_text(text, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=INSTRUMENTS, help="this instrument alone")
    given = parser.parse_args()
    for instrument, minutes in itertools.product(INSTRUMENTS, MINUTES):
        if given.only in (None, instrument) and not (RESULTS / f"{instrument}-{minutes}.json").is_file():
            measure(instrument, minutes)
    (ROOT / PAGE).write_text(figures.written(PAGE), encoding="utf-8")


if __name__ == "__main__":
    errors.run(main)
