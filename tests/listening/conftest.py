"""Outputs of an evaluation in miniature: two directions, every control, the metrics."""

import csv
import hashlib
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile
import uvicorn
import yaml

from retimbre.evaluation.results.table import make_table, write_table
from retimbre.listening import bundle, server
from retimbre.listening.params import Listening
from retimbre.listening.responses import Plan, Store
from tests.toys import ROOT

RATE = 16000  # Hz
SECONDS = 4.4
HANGS_S = 300  # only what hangs takes so long
DOMAINS = ("piano", "guitar")
PIECES = ("bach-1", "bach-2", "bach-3", "ryansMammoth-A", "ryansMammoth-B", "ryansMammoth-C")


def tune(piece: str) -> list[int]:
    """MIDI notes of a piece, two a second."""
    rng = np.random.default_rng(sum(piece.encode()))
    return [int(60 + n) for n in rng.choice([0, 2, 4, 5, 7, 9, 11, 12], round(2 * SECONDS))]


def render(notes: list[int], domain: str, hiss: float = 0.0) -> np.ndarray:
    """A tune as a sum of decaying partials; the two domains differ in partials and decay."""
    odd, decay = (False, 4.0) if domain == "piano" else (True, 9.0)
    x = np.zeros(round(SECONDS * RATE))
    t = np.arange(RATE) / RATE
    for n, note in enumerate(notes):
        f = 440 * 2 ** ((note - 69) / 12)
        partials = [k for k in range(1, 9, 2 if odd else 1) if f * k < RATE / 2]
        tone = sum(np.sin(2 * np.pi * f * k * t) / k for k in partials)
        start = n * RATE // 2
        tone = (tone * np.exp(-decay * t))[: len(x) - start]
        x[start : start + len(tone)] += 0.2 * tone
    return x + hiss * np.random.default_rng(1).normal(size=len(x))


def sounds(piece: str, source: str, target: str) -> dict[str, np.ndarray]:
    notes, other = tune(piece), tune(piece + " other")
    here, there = render(notes, source), render(notes, target)
    return {
        "source": here,
        "target": there,
        "copy": here,
        "oracle": 0.9 * there,
        "unrelated": render(other, target),
        "eq_match": 0.7 * here + 0.3 * there,
        "cyclegan": 0.3 * here + 0.7 * there,
        "knn": render(notes, target, 0.02),
    }


@pytest.fixture(scope="session")
def evaluation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``outputs.csv``, ``audio/*.flac`` and ``per_item.parquet``. Read only."""
    folder = tmp_path_factory.mktemp("evaluation")
    (folder / "audio").mkdir()
    rows, measured = [], []
    quality = {"copy": 1.0, "eq_match": 0.8, "oracle": 0.9, "unrelated": 0.1, "cyclegan": 0.7, "knn": 0.5}
    rng = np.random.default_rng(5)
    for source, target in (DOMAINS, DOMAINS[::-1]):
        direction = f"{source}_to_{target}"
        for piece in PIECES:
            stratum = "poly" if piece.startswith("bach") else "mono"
            for system, x in sounds(piece, source, target).items():
                path = folder / "audio" / f"{direction}.{piece}.{system}.flac"
                soundfile.write(path, 0.5 * x / np.abs(x).max(), RATE, subtype="PCM_16")
                digest = hashlib.sha256(path.read_bytes()).hexdigest()
                name = str(path.relative_to(folder))
                heard = [stratum, "in", system, name, digest, f"{SECONDS:.3f}"]
                rows.append([direction, source, target, piece, *heard])
                if system in quality:
                    value = quality[system] + 0.02 * rng.normal()
                    about = {"system": system, "direction": direction, "item": piece, "stratum": stratum}
                    for metric in ("content_note_f1", "content_rpa"):
                        measured.append(about | {"metric": metric, "value": value})
    with (folder / "outputs.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        header = "direction source_domain target_domain item stratum range system path sha256 seconds"
        writer.writerow(header.split())
        writer.writerows(rows)
    write_table(folder / "per_item.parquet", make_table(measured))
    return folder


def make_settings(**changes: object) -> Listening:
    """The section ``listening`` of a small study."""
    values = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))["listening"]
    small = {
        "systems": ["cyclegan", "knn"], "baselines": ["eq_match"], "items": 4, "listeners": 10, "repeats": 1,
        "pages_per_condition": 1, "clip_s": 4, "instruments": ["piano", "guitar", "violin", "flute"],
    }  # fmt: skip
    return Listening.model_validate(values | small | changes)


@pytest.fixture
def settings() -> Callable[..., Listening]:
    return make_settings


@pytest.fixture(scope="session")
def built_once(tmp_path_factory: pytest.TempPathFactory, evaluation: Path) -> Path:
    """A small study, built. Read only."""
    return bundle.build(evaluation, make_settings(), RATE, tmp_path_factory.mktemp("reports"))


@pytest.fixture
def built(tmp_path: Path, built_once: Path) -> Path:
    """A copy of it that may be changed."""
    return Path(shutil.copytree(built_once, tmp_path / "reports" / built_once.name))


@contextmanager
def serving(folder: Path, port: int = 0) -> Iterator[int]:
    """The study served by a thread of this process; yields its port."""
    with Store(folder, Plan.load(folder)) as store:
        listener = socket.create_server(("127.0.0.1", port))
        config = uvicorn.Config(server.create_app(folder, store), log_level="error", access_log=False)
        running = uvicorn.Server(config)
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            running.should_exit = True
            thread.join(HANGS_S)
