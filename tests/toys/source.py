"""A made-up published set: an index, a zip and a tar of recordings by artist, and a single file.

``make_site(folder)`` writes what its publisher would serve; ``Toy`` is its adapter. ``python -m
tests.toys.source download`` runs a stage that knows it.
"""

import csv
import hashlib
import io
import runpy
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import soundfile

from retimbre.datasets.download.mirrors import RemoteFile
from retimbre.datasets.sources import catalogue
from retimbre.datasets.sources.base import Adapter, Track
from retimbre.errors import RetimbreError

RATE, SECONDS, ARTISTS = 8000, 4.0, 10
PUBLISHED = "http://publisher.invalid"  # never asked: the tests give dataset.archives or set `base`
PLACE = "tests.toys.source:Toy"  # in the catalogue
KINDS = {"bell": "toy-bell.zip", "reed": "toy-reed.tar.gz"}


def sound(kind: str, seed: int) -> np.ndarray:
    rng = np.random.default_rng([len(kind), ord(kind[0]), seed])
    t = np.arange(int(RATE * SECONDS)) / RATE
    f = 220 * 2 ** (rng.integers(0, 24) / 12)
    partials = ((1, 2.76, 5.4) if kind == "bell" else (1, 3, 5))[: 1 + int(RATE / 2 / f / 6)]
    tone = 0.3 * sum(np.sin(2 * np.pi * f * r * t) / r for r in partials) / len(partials)
    return tone + rng.normal(0, 1e-3, len(t))


def recording(kind: str, artist: int, take: int) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, sound(kind, artist * 10 + take), RATE, format="WAV", subtype="PCM_16")
    return file.getvalue()


def members(kind: str) -> dict[str, bytes]:
    """Two takes by each artist."""
    takes = [(artist, take) for artist in range(ARTISTS) for take in range(2)]
    return {
        f"{kind}/artist{artist:02}/take {take}.wav": recording(kind, artist, take) for artist, take in takes
    }


def make_site(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / KINDS["bell"], "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members("bell").items():
            file.writestr(name, data)
        file.writestr("bell/unwanted.bin", b"0" * 1000)
    with tarfile.open(folder / KINDS["reed"], "w:gz") as file:
        for name, data in members("reed").items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    rows = [(name, kind, name.split("/")[1]) for kind in KINDS for name in members(kind)]
    text = io.StringIO()
    csv.writer(text).writerows([("path", "kind", "artist"), *rows])
    (folder / "index.csv").write_text(text.getvalue(), encoding="utf-8")
    return folder


class Toy(Adapter):
    name, title, homepage = "toy", "Toys", "https://toys.example"
    licence, non_commercial, citation = "CC BY-NC 4.0", True, "Toy et al. (2020), Toys."
    domains = tuple(KINDS)
    base = PUBLISHED
    site: Path | None = None  # when set, its files' sizes and checksums are the published ones

    def _file(self, name, **more):
        if self.site is None:
            return RemoteFile(name, f"{self.base}/{name}", 12345, "md5:" + "0" * 32, **more)
        data = (self.site / name).read_bytes()
        return RemoteFile(
            name, f"{self.base}/{name}", len(data), f"md5:{hashlib.md5(data).hexdigest()}", **more
        )

    def index_files(self, domains):
        return [self._file("index.csv", folder="meta")]

    def files(self, domains, limit_hours, seed, root):
        if not (root / "meta/index.csv").is_file():
            raise RetimbreError("the index is missing")
        return [
            self._file(KINDS[domain], unpack=True, members=("*.wav",), folder="audio") for domain in domains
        ]

    def tracks(self, root, domains):
        with open(root / "meta/index.csv", encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        rows = [row for row in rows if row["kind"] in domains]
        return [Track(f"audio/{row['path']}", row["kind"], row["artist"]) for row in rows]


if __name__ == "__main__":
    catalogue.SOURCES["toy"] = PLACE
    runpy.run_module(f"stages.{sys.argv[1]}", run_name="__main__")
