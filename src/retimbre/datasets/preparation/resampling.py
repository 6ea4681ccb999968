"""From recordings as they came to levelled mono excerpts at one rate, packed."""

import functools
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from retimbre.audio.files import read_mono
from retimbre.audio.levels import scale_to_rms, trim_bounds
from retimbre.datasets.packed.format import AudioWriter
from retimbre.datasets.parallel import parallel_map
from retimbre.datasets.preparation.params import Audio
from retimbre.datasets.recordings.manifest import Recording, read_manifest
from retimbre.errors import RetimbreError
from retimbre.progress import Progress
from retimbre.section import Machine

SHORTEST_EXCERPT_S = 0.1  # what is shorter after trimming is left out


@dataclass(frozen=True)
class Stretch:
    """A part of a recording that becomes one excerpt; samples of the file's audio at the target rate."""

    recording: Recording
    start: int
    stop: int


def stretches(recording: Recording, rate: int, longest_s: float) -> list[Stretch]:
    """Cut a recording into equal parts of at most ``longest_s`` seconds, counted at ``rate``.

    Paired recordings are equally long, so they are cut at the same places and stay aligned.
    """
    first, length = round(recording.start_s * rate), round(recording.duration_s * rate)
    parts = max(1, math.ceil(length / round(longest_s * rate)))
    edges = [first + length * part // parts for part in range(parts + 1)]
    return [Stretch(recording, start, stop) for start, stop in zip(edges, edges[1:], strict=False)]


def level(stretch: Stretch, folder: Path, audio: Audio) -> tuple[np.ndarray, float] | None:
    """Read a stretch as mono, trim it unless it is paired, and scale it to ``audio.rms``.

    Returns ((N,) int16 at ``audio.sample_rate``, gain in dB), or None: silent, or shorter than 0.1 s.
    """
    recording, rate = stretch.recording, audio.sample_rate
    x = read_mono(folder / recording.path, rate, start=stretch.start, stop=stretch.stop)
    if recording.performance:
        # A resampler may round the last sample away: equal lengths keep pairs aligned to their ends.
        x = np.pad(x, (0, stretch.stop - stretch.start - len(x)))
    else:
        start, stop = trim_bounds(x, rate, audio.trim_db)
        x = x[start:stop]
    if len(x) < SHORTEST_EXCERPT_S * rate or not np.abs(x).max() > 0:
        return None
    scaled, gain_db = scale_to_rms(x, audio.rms, rate)
    return np.clip(np.round(scaled * 32768), -32768, 32767).astype(np.int16), gain_db


def pack(raw: Path, out: Path, audio: Audio, machine: Machine) -> dict[str, float]:
    """Resample and level every recording of ``raw/manifest.csv`` into ``out``; memory stays flat.

    Returns hours of audio by split, and how many ``skipped`` stretches were silent or too short.
    Raises RetimbreError when an unreadable file turns up or a domain has nothing to train on.
    """
    recordings = read_manifest(raw)
    tasks = [
        stretch
        for recording in recordings
        for stretch in stretches(recording, audio.sample_rate, audio.max_excerpt_s)
    ]
    work = functools.partial(level, folder=raw, audio=audio)
    hours: dict[str, float] = {}
    skipped = 0
    progress = Progress(len(tasks), "resample", "excerpts")
    with AudioWriter(out, audio.sample_rate, audio.rms, audio.shard_mb) as writer, progress:
        for stretch, result in zip(
            tasks, parallel_map(work, tasks, machine.jobs, machine.joblib_backend), strict=True
        ):
            progress.update()
            r = stretch.recording
            if result is None:
                if r.performance:
                    raise RetimbreError(
                        f"{raw / r.path} is a silent half of a pair: run `dvc repro --force download`."
                    )
                skipped += 1
                continue
            samples, gain_db = result
            writer.add(samples, r.domain, r.split, r.piece, r.performance, gain_db, r.path)
            hours[r.split] = hours.get(r.split, 0.0) + len(samples) / audio.sample_rate / 3600
        present = {(row.split, row.domain) for row in writer.rows}
        if absent := sorted({(r.split, r.domain) for r in recordings} - present):
            split, domain = absent[0]
            raise RetimbreError(
                f"all {split} recordings of {domain} in {raw} are silent or under {SHORTEST_EXCERPT_S} s: "
                "give other recordings."
            )
    return hours | {"skipped": skipped}
