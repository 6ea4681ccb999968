"""Adapters and their preparation: official splits, mistakes, sources that fetch for themselves."""

import subprocess
import sys

import numpy as np
import pytest
import soundfile

from retimbre.datasets.download.mirrors import RemoteFile
from retimbre.datasets.recordings.manifest import write_manifest
from retimbre.datasets.sources.base import Adapter, Track
from retimbre.datasets.sources.published import Published
from retimbre.errors import RetimbreError
from retimbre.section import Machine
from tests.toys import ROOT


class Recorder(Adapter):
    """Fetches for itself: one recording more at each call, as a playlist grows."""

    name, title, homepage, licence = "recorder", "Recorder", "https://x.example", "CC0"
    citation = "Nobody, 2020."
    count = 8

    def __init__(self):
        self.fetches = 0

    def fetch(self, folder, domains, dataset, seed):
        self.fetches += 1
        (folder / ".archive").write_text("what was fetched")
        for domain in domains:
            (folder / domain).mkdir(exist_ok=True)
            for n in range(self.count):
                path = folder / domain / f"{n}.flac"
                if not path.exists():
                    soundfile.write(path, np.random.default_rng(n).normal(0, 0.1, (40000, 2)), 8000)

    def tracks(self, root, domains):
        assert not (root / ".archive").exists(), "hidden files are the fetcher's own business"
        return [
            Track(path.relative_to(root).as_posix(), path.parent.name, path.stem)
            for path in root.rglob("*.flac")
        ]


@pytest.fixture
def prepare(tmp_path, monkeypatch, dataset_params):
    monkeypatch.setenv("RETIMBRE_DOWNLOADS", str(tmp_path / "downloads"))

    def run(source, name="raw", domains=("jazz", "waltz"), **changes):
        out = tmp_path / name
        out.mkdir()
        values = {
            "source": "folder",
            "folders": dict.fromkeys(domains, "x"),
            "domains": list(domains),
            "train_minutes": 0,
        } | changes
        recordings = Published(source, dataset_params(**values), 1, Machine(jobs=1)).prepare(out)
        write_manifest(out, recordings)
        return out, recordings

    return run


def test_what_a_source_fetches_for_itself_is_kept_and_shown(prepare, tmp_path):
    source = Recorder()
    out, recordings = prepare(source)
    kept = {
        path: path.stat().st_mtime_ns for path in (tmp_path / "downloads/recorder/fetched").rglob("*.flac")
    }
    again, _ = prepare(source, "again")
    assert source.fetches == 2
    assert len(kept) == 16 and all(path.stat().st_mtime_ns == time for path, time in kept.items())
    assert (out / "manifest.csv").read_bytes() == (again / "manifest.csv").read_bytes()
    assert {r.domain for r in recordings} == {"jazz", "waltz"}
    assert all((out / r.path).is_file() for r in recordings)


def test_official_splits_and_stretches_are_respected(prepare):
    class Official(Recorder):
        def tracks(self, root, domains):
            splits = ["train", "train", "train", "test", "test", "validation", "validation", "train"]
            return [
                Track(f"{domain}/{n}.flac", domain, f"p{n}", split, start_s=1.0, duration_s=3.5)
                for domain in domains
                for n, split in enumerate(splits)
            ]

    _, recordings = prepare(Official())
    assert {r.piece for r in recordings if r.split == "test"} == {"p3", "p4"}
    assert {r.piece for r in recordings if r.split == "validation"} <= {"p5", "p6"}
    training = [r for r in recordings if r.split == "train"]
    assert {r.piece for r in training} == {"p0", "p1", "p2", "p7"}
    assert {(r.start_s, r.duration_s) for r in training} == {(1.0, 3.5)}
    assert all(1.0 <= r.start_s and r.start_s + r.duration_s <= 4.5 for r in recordings)


def test_mistakes_of_adapters_and_publishers_are_named(prepare):
    def of(*tracks):
        class Wrong(Recorder):
            def tracks(self, root, domains):
                return list(tracks)

        return Wrong()

    with pytest.raises(
        RetimbreError,
        match="source recorder: 'p' is in the splits test and train|'p' is in the splits train and test",
    ):
        prepare(
            of(
                *(
                    Track(f"{d}/{n}.flac", d, "p", s)
                    for d in ("jazz", "waltz")
                    for n, s in enumerate(["test", "train"])
                )
            ),
            "a",
        )
    with pytest.raises(RetimbreError, match="source recorder has no recordings of waltz"):
        prepare(of(Track("jazz/1.flac", "jazz", "p")), "b")
    for name, track in (
        ("c", Track("../x.wav", "jazz", "p")),
        ("d", Track("x.wav", "jazz", "")),
        ("e", Track("x.wav", "jazz", "p", "dev")),
    ):
        with pytest.raises(ValueError, match="invalid track"):
            prepare(of(track), name)

    class Twice(Recorder):
        def files(self, domains, limit_hours, seed, root):
            return [RemoteFile("a.zip", "http://127.0.0.1:9/1"), RemoteFile("a.zip", "http://127.0.0.1:9/2")]

    with pytest.raises(ValueError, match="lists a.zip twice"):
        prepare(Twice(), "f")


def test_files_that_end_early_are_skipped(prepare, capsys):
    class Long(Recorder):
        def tracks(self, root, domains):
            tracks = super().tracks(root, domains)
            return [*tracks, Track("jazz/0.flac", "jazz", "0", start_s=5.5, duration_s=1.0)]

    _, recordings = prepare(Long(), max_unreadable_share=0.2)
    assert "skipped" in (said := capsys.readouterr().err) and "it ends before 5.5 s" in said
    assert not [r for r in recordings if r.start_s >= 5]


def test_nothing_is_imported_or_asked_before_a_source_is_used():
    code = (
        "import socket, sys\n"
        "def never(*a, **k): raise SystemExit('asked the network')\n"
        "socket.getaddrinfo = socket.create_connection = never\n"
        "from retimbre.datasets.sources import base, catalogue\n"
        "print([n for n in ('requests', 'torch', 'mirdata', 'yt_dlp', 'soundfile') if n in sys.modules])\n"
        "for name in catalogue.SOURCES: catalogue.find(name)\n"
        "print([n for n in ('torch', 'mlflow', 'librosa') if n in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, env={"PYTHONPATH": "src"}
    )
    assert (done.returncode, done.stdout.split("\n")[:2]) == (0, ["[]", "[]"]), done.stderr
