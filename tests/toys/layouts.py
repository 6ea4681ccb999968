"""Small copies of published data sets in their true layout: archives, folders, tables, formats, rates.

``build(name, folder)`` writes a set's archives into ``folder`` and says what their recordings are. Where
mirdata knows a set, its index is written in mirdata's form; names of tracks are real ones.
"""

import csv
import functools
import importlib
import io
import itertools
import tarfile
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile

SECONDS = 1.1  # of a clip
TRAIN, VALIDATION, TEST = 12, 3, 3  # recordings per domain of the sets with an official split


@dataclass
class Layout:
    """The findings that an adapter must have: path -> (domain, piece, official split or "")."""

    domains: tuple[str, ...]
    rows: dict[str, tuple[str, str, str]] = field(default_factory=dict)
    midi: dict[str, str] = field(default_factory=dict)  # path -> path
    histogram: dict[str, int] = field(default_factory=dict)  # of NSynth's families
    left_out: set[str] = field(default_factory=set)  # paths in the archives that must not become recordings


_pitch = itertools.count()


@functools.cache
def _file(rate: int, channels: int, file_format: str, subtype: str, seconds: float, midi: int) -> bytes:
    t = np.arange(round(seconds * rate)) / rate
    f0 = 440 * 2 ** ((midi - 69) / 12)
    x = sum(np.sin(2 * np.pi * h * f0 * t) / h for h in range(1, 7) if h * f0 < rate / 2)
    x = 0.2 * x * np.minimum(1, 20 * t) * np.exp(-t)
    out = io.BytesIO()
    soundfile.write(out, np.repeat(x[:, None], channels, axis=1), rate, format=file_format, subtype=subtype)
    return out.getvalue()


def clip(
    rate: int, channels: int = 1, file_format: str = "WAV", subtype: str = "PCM_16", seconds: float = SECONDS
) -> bytes:
    """An audio file: a tone with six harmonics, of six pitches in turn (encoding is what takes time)."""
    return _file(rate, channels, file_format, subtype, seconds, 48 + 5 * (next(_pitch) % 6))


def write_zip(path: Path, members: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def write_tar(path: Path, members: dict[str, bytes]) -> None:
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))


def table(rows: Iterable[dict[str, object]], delimiter: str = ",", quoting: int = csv.QUOTE_MINIMAL) -> bytes:
    rows = list(rows)
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), delimiter=delimiter, quoting=quoting)
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()


MIRDATA = "good_sounds guitarset guitarset_mix irmas irmas_testing medley_solos_db tinysol".split()


def build(name: str, folder: Path) -> Layout:
    """Write the archives of the source ``name`` into ``folder``, which exists."""
    kind = "mirdata" if name in MIRDATA else "own"
    module = importlib.import_module(f"tests.toys.layouts_{kind}")
    return getattr(module, name)(folder)
