"""One transfer for the page: what ``retimbre transfer`` does, then both recordings beside each other."""

from base64 import b64encode
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from retimbre.app.desk import Job
from retimbre.audio.files import StreamReader, probe, survey
from retimbre.audio.levels import SoundingLevel, loudness_lufs
from retimbre.audio.matching import equally_loud
from retimbre.errors import RetimbreError
from retimbre.evaluation.report.media import COLUMNS
from retimbre.evaluation.report.pianoroll import box, counts, overlap, pitch_range, pitch_ticks, svg_paths
from retimbre.evaluation.report.rainbowgram import rainbow_picture, rainbowgram, shared_top_db, ticks
from retimbre.metrics.notes import Notes
from retimbre.nn.transcriber.midi import heard_notes
from retimbre.nn.transcriber.network import SAMPLE_RATE
from retimbre.systems import catalogue, streaming
from retimbre.systems.library import Choice, Retimbre, places
from retimbre.vocoders.params import Rendering

LONGEST_S = 600
HEARD_RATE = 48000  # Hz at most, of what the page plays
PEAK = 0.99  # of what the page plays
COLUMNS_PER_S = 20  # of a rainbowgram, for those that are wider than the page


def choices(models: str | None) -> dict[str, Choice]:
    """Trained systems by the names that the page shows, in the order in which one is chosen.

    ``models``: as :func:`.library.places` takes them. Raises RetimbreError where there is none.
    """
    return {str(found): found for found in Retimbre(tuple(places(models))).systems}


def about(choice: Choice) -> dict[str, Any]:
    """A system for the page: name, a sentence on it, instruments."""
    return {"name": str(choice), "about": catalogue.about(choice.system), "targets": choice.targets}


class Transfer:
    """The work of a job; the system that was used last stays in memory.

    ``rendering``: of the project, for what it trained.
    """

    def __init__(self, models: str | None, rendering: Rendering):
        def load(name: str) -> Retimbre:
            found = choices(models)[name]
            return Retimbre((found.place,), found.system, rendering=rendering)

        self.load = lru_cache(maxsize=1)(load)

    def __call__(self, job: Job) -> dict[str, Any]:
        """Write ``transferred.wav``, as the command would, and ``original.wav`` and ``result.wav``, equally
        loud, into the job's folder; return what the page shows. Raises RetimbreError as the command does.
        """
        refuse_long(job.source)
        system = self.load(job.system).system_for(job.to)
        target = job.folder / "transferred.wav"
        found, outcome = streaming.transfer_file(system, job.source, target, job.to)
        notes = [f"Recording: {note}." for note in [*found.notes, *outcome.notes]]
        if outcome.quieter_db > 0.5:
            notes.append(
                f"The result is {outcome.quieter_db:.1f} dB quieter than the recording, not to clip."
            )
        rate = min(found.info.sample_rate, HEARD_RATE)
        both = {"original": (job.source, found), "result": (target, survey(target))}
        sounds = {name: played(StreamReader(path, rate, known)) for name, (path, known) in both.items()}
        loudness = loudness_lufs(sounds["original"], rate)
        for name, x in equally_loud(sounds, rate, loudness, PEAK).items():
            soundfile.write(job.folder / f"{name}.wav", x, rate, subtype="PCM_16")
        readers = {name: StreamReader(path, SAMPLE_RATE, known) for name, (path, known) in both.items()}
        seen = compare({name: np.concatenate(list(reader)) for name, reader in readers.items()})
        return {"seconds": found.duration_s, "notes": notes, **seen}


def compare(sounds: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Rainbowgrams of the original and the result, (N,) at 22,050 Hz, on one scale, as the report draws them,
    and their notes on one piano roll: kept, lost, added.
    """
    seconds = len(sounds["original"]) / SAMPLE_RATE
    rainbows = {name: rainbowgram(x, SAMPLE_RATE) for name, x in sounds.items()}
    top_db, most = shared_top_db(rainbows.values()), max(COLUMNS, round(COLUMNS_PER_S * seconds))
    pictures = {name: rainbow_picture(x, top_db, most) for name, x in rainbows.items()}
    original, result = (heard(sounds[name]) for name in ("original", "result"))
    notes, (low, high) = overlap(result, original), pitch_range(original, result)
    return {
        "pictures": {
            name: f"data:{kind};base64,{b64encode(data).decode()}" for name, (kind, data) in pictures.items()
        },
        "octaves": ticks(SAMPLE_RATE),
        "roll": svg_paths(notes, low, high),
        "box": box(seconds, low, high),
        "pitches": pitch_ticks(low, high),
        "counts": counts(notes),
    }


def heard(audio: np.ndarray) -> Notes:
    """Notes that the transcriber of the default system hears in audio (N,) at 22,050 Hz."""
    level = SoundingLevel(SAMPLE_RATE)
    level.update(audio)
    notes = list(heard_notes([audio], level.rms))
    spans = np.array([(note.start_s, note.end_s) for note in notes]).reshape(-1, 2)
    return Notes(spans, np.array([float(note.pitch) for note in notes]))


def played(reader: StreamReader) -> np.ndarray:
    """Audio as a browser plays it, (N, C): of more than two channels their mixdown."""
    if reader.survey.info.channels > 2:
        return np.concatenate(list(reader))[:, None]
    return np.concatenate(list(reader.channels()))


def refuse_long(source: Path) -> None:
    """Raise RetimbreError for a recording that lasts too long, whatever its header says."""
    most = LONGEST_S * probe(source).sample_rate
    if survey(source, 0, most + 1).frames > most:
        raise RetimbreError(
            f"{source} is longer than {LONGEST_S // 60} minutes: cut it, or use `retimbre transfer`."
        )
