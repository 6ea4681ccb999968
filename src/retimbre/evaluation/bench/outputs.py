"""Every output as a file, for ears and other tools: ``data/evaluation/audio`` and ``outputs.csv``.

Files are mono 16-bit FLAC of the pipeline's sample rate, exactly the samples that were measured, named
``<direction>.<piece>.<system>.flac``; systems ``source`` and ``target`` are the recordings themselves.
``outputs.csv`` has one row per file; ``path`` is relative to its own folder, ``sha256`` is of the file.
"""

import csv
import hashlib
import io
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

from retimbre.evaluation.bench.rows import to_16_bit
from retimbre.evaluation.bench.scoring import Result
from retimbre.evaluation.bench.testset import Item
from retimbre.paths import write_atomically

THREADS = 2  # encoding holds no lock


class OutputFile(NamedTuple):
    """A row of ``outputs.csv``."""

    direction: str
    source_domain: str
    target_domain: str
    item: str
    stratum: str
    range: str
    system: str
    path: str
    sha256: str
    seconds: str


def file_name(item: Item, system: str) -> str:
    """``<direction>.<piece>.<system>.flac``; a piece whose name no file can have is told apart by a hash."""
    piece = re.sub(r"[^A-Za-z0-9._-]", "_", item.piece)
    if piece != item.piece:
        piece += "-" + hashlib.sha256(item.piece.encode()).hexdigest()[:8]
    return f"{item.direction}.{piece}.{system}.flac"


def flac(audio: np.ndarray, sample_rate: int) -> bytes:
    """Mono audio (N,), full scale 1, as FLAC of 16 bits; equal audio gives equal bytes."""
    buffer = io.BytesIO()
    codes = np.rint(to_16_bit(audio) * 32768).astype(np.int16)
    soundfile.write(buffer, codes, sample_rate, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()


def write_outputs(out: Path, results: list[Result], sample_rate: int) -> list[OutputFile]:
    """Write ``out/audio/*.flac`` and ``out/outputs.csv``: source, true target and rows of every item."""
    (out / "audio").mkdir(parents=True, exist_ok=True)
    tasks: list[tuple[Item, str, object]] = []
    seen: set[str] = set()
    for result in results:
        if result.item.name not in seen:
            seen.add(result.item.name)
            clips = (("source", result.item.source), ("target", result.item.target))
            tasks += [(result.item, name, clip) for name, clip in clips if clip is not None]
        tasks.append((result.item, result.system, result.output))

    def write(task: tuple[Item, str, object]) -> OutputFile:
        item, system, holder = task
        audio = holder.audio
        data, path = flac(audio, sample_rate), f"audio/{file_name(item, system)}"
        (out / path).write_bytes(data)
        what = (item.direction, item.source_domain, item.target_domain, item.piece, item.stratum, item.range)
        return OutputFile(
            *what, system, path, hashlib.sha256(data).hexdigest(), f"{len(audio) / sample_rate:.6f}"
        )

    with ThreadPoolExecutor(THREADS) as pool:
        rows = list(pool.map(write, tasks))
    with write_atomically(out / "outputs.csv") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(OutputFile._fields)
        writer.writerows(rows)
    return rows
