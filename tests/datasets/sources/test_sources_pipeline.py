"""Every published set from URLs to packed audio through real stages, from small archives in its layout."""

import hashlib
import os
import resource
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from retimbre.datasets.packed.format import PackedAudio, PackedFeatures
from retimbre.datasets.recordings.manifest import SPLITS, read_manifest
from retimbre.datasets.sources import nsynth
from retimbre.datasets.sources.catalogue import find
from retimbre.errors import RetimbreError
from stages import download, features, resample
from tests.toys import ROOT, layouts
from tests.toys.project import write_params
from tests.toys.served import serve, write_sums

# One variant of each set; what the others change is tested in test_sources_adapters.py.
NAMES = (
    "fma", "good_sounds", "guitarset", "irmas", "irmas_testing", "maestro", "magnatagatune",
    "medley_solos_db", "musicnet", "nsynth",
    "nsynth_gansynth", "speech_commands", "tinysol", "urmp", "vctk",
)  # fmt: skip


@pytest.fixture
def project(tmp_path, monkeypatch):
    """An empty project folder that the stages run in."""
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.delenv("RETIMBRE_DOWNLOADS", raising=False)
    return folder


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """The archives of a set, made once: ``published(name)`` has their folder and what is in them."""
    made: dict[str, SimpleNamespace] = {}

    def get(name: str) -> SimpleNamespace:
        if name not in made:
            folder = tmp_path_factory.mktemp(name)
            made[name] = SimpleNamespace(folder=folder, layout=layouts.build(name, folder))
            write_sums(folder)
        return made[name]

    return get


@pytest.mark.parametrize("name", NAMES)
def test_from_urls_to_packed_audio_and_features(name, project, published, monkeypatch, capsys):
    archives, layout = published(name).folder, published(name).layout
    if layout.histogram:
        monkeypatch.setattr(nsynth, "HISTOGRAM", layout.histogram)
    # MAESTRO is a piano alone: its other domain comes from another set.
    domains, source = list(layout.domains), name
    if name == "maestro":
        guitar = published("guitarset")
        domains, source = ["piano", "guitar"], {"piano": "maestro", "guitar": "guitarset"}
    with serve(archives) as url:
        if name == "maestro":
            for file in guitar.folder.iterdir():
                (archives / file.name).exists() or os.link(file, archives / file.name)
            write_sums(archives)
        write_params(project, source=source, domains=domains, archives=str(url))
        download.main()
        asked = {path for method, path, _ in url.asked if method == "GET"}
    printed = capsys.readouterr().out
    adapter = find(name)
    assert adapter.licence in printed
    assert adapter.homepage in printed
    assert "non-commercial" in printed.lower() or not adapter.non_commercial
    rows = [row for row in read_manifest(project / "data/raw") if row.path.startswith(f"{name}/")]
    assert {(row.domain, row.split) for row in rows} == {
        (domain, split) for domain in layout.domains for split in SPLITS
    }
    assert {
        f"/{file.name}"
        for file in archives.iterdir()
        if not file.name.startswith(("SHA", "audio_mono", "guitarset"))
    } <= asked | {"/audio_mono-mic.zip"}
    split_of: dict[str, str] = {}
    for row in rows:
        path = row.path.removeprefix(f"{name}/")
        # a KeyError is a recording that should have been left out
        domain, piece, official = layout.rows[path]
        assert (row.domain, row.piece) == (domain, f"{name}/{piece}")
        assert row.split == official or official == "" or (row.split, official) == ("validation", "train")
        assert split_of.setdefault(row.piece, row.split) == row.split
        assert row.licence.startswith(adapter.licence)
        assert row.source.startswith(adapter.title)
        assert row.midi == (f"{name}/{layout.midi[path]}" if layout.midi else "")
        assert (project / "data/raw" / row.path).stat().st_size > 1000
        assert not row.midi or (project / "data/raw" / row.midi).is_file()
    resample.main()
    audio = PackedAudio(project / "data/resampled")
    assert all(audio.excerpts(domain, split) for domain in layout.domains for split in SPLITS)
    heard = [e for e in audio.index if e.domain in layout.domains and e.split == "train"]
    assert sum(e.length for e in heard) / 16000 > 10 * len(layout.domains)
    if name != "maestro":
        return  # what follows does not know where packed audio came from: two sets beside each other suffice
    (project / "metrics").mkdir()
    features.main()
    frames = PackedFeatures(project / "data/features")
    assert [e.id for e in frames.index] == [e.id for e in audio.index]
    for e in frames.index:
        assert frames.read(e, representation="cqt").shape == (e.length, 84)


def test_the_stage_itself_and_again_from_what_is_kept(project, published):
    """As DVC runs it; a second run asks the server for nothing and ends with the same bytes."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    results = []
    with serve(published("irmas").folder) as url:
        write_params(project, source="irmas", domains=["cello", "clarinet"], archives=str(url))
        for _ in range(2):
            url.asked.clear()
            run = subprocess.run(
                [sys.executable, "-m", "stages.download"], env=environment, capture_output=True, text=True
            )
            assert run.returncode == 0, run.stderr
            assert "CC BY-NC-SA 3.0" in run.stdout
            files = (path for path in sorted(Path("data/raw").rglob("*")) if path.is_file())
            results.append({str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files})
            big = [path for _, path, _ in url.asked if path.endswith(".zip")]
    assert results[0] == results[1]
    assert "data/raw/irmas/IRMAS-TrainingData/cel/[cel][cla]0001__1.wav" in results[0]
    assert big == []


def test_limit_hours_unpacks_and_takes_less(project, published):
    sizes = []
    with serve(published("musicnet").folder) as url:
        for hours in (0, 15 / 3600):
            domains = ["bach_solo_cello", "cambini_wind_quintet"]
            write_params(project, source="musicnet", domains=domains, archives=str(url), limit_hours=hours)
            download.main()
            unpacked = list(
                (project / ".scratch/downloads/musicnet/unpacked").glob("musicnet.tar.gz-*/**/*.wav")
            )
            sizes.append((len(unpacked), sum(row.duration_s for row in read_manifest(project / "data/raw"))))
    assert sizes[0][0] == 36
    assert sizes[1][0] < 36
    assert 2 * 10 < sizes[1][1] <= 2 * 15


def test_a_disk_that_is_full_is_named_and_nothing_is_lost(project, published):
    """A limit on the size of files ends a write as a full disk does, and the error names no file."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    limit = 100_000

    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    with serve(published("irmas").folder) as url:
        write_params(project, source="irmas", domains=["cello", "clarinet"], archives=str(url))
        command = [sys.executable, "-m", "stages.download"]
        run = subprocess.run(command, env=environment, capture_output=True, text=True, preexec_fn=small_files)
        assert run.returncode == 1
        last = run.stderr.splitlines()[-1]
        assert last.startswith(
            f"error: {project}/.scratch/downloads/irmas cannot take more (File too large): make room"
        )
        part = project / ".scratch/downloads/irmas/files/IRMAS-TrainingData.zip.part"
        assert part.stat().st_size == limit
        run = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert run.returncode == 0, run.stderr
        assert f"bytes={limit}-" in {range_asked for _, _, range_asked in url.asked}


def test_a_choice_that_is_too_small_says_what_to_raise(project, published):
    with serve(published("musicnet").folder) as url:
        domains = ["bach_solo_cello", "cambini_wind_quintet"]
        write_params(project, source="musicnet", domains=domains, archives=str(url), limit_hours=1 / 3600)
        with pytest.raises(
            RetimbreError, match="to train on .* but 10 s is the least: raise dataset.limit_hours"
        ):
            download.main()
