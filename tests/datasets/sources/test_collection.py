"""From URL to manifest: published sets, one source per domain, and killed runs, through the real stage."""

import hashlib
import os
import re
import signal
import subprocess
import sys
import time
import zipfile

import numpy as np
import pytest
import soundfile
import yaml

from retimbre.datasets.download.web import Patience
from retimbre.datasets.recordings.manifest import read_manifest, write_manifest
from retimbre.datasets.sources.catalogue import SOURCES
from retimbre.datasets.sources.collection import make_source
from retimbre.errors import RetimbreError
from retimbre.section import Machine
from tests.toys import ROOT
from tests.toys.project import smoke
from tests.toys.served import serve, write_sums
from tests.toys.source import KINDS, PLACE, Toy, make_site

VALUES = dict(
    source="toy",
    domains=["bell", "reed"],
    train_minutes=0,
    validation_pieces=1,
    test_pieces=2,
    excerpt_s=2,
    folders={},
)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    return make_site(tmp_path_factory.mktemp("site"))


@pytest.fixture
def toy(site, tmp_path, monkeypatch, dataset_params):
    """Prepare the toy set into a new folder, downloads below tmp_path; returns folder and recordings."""
    monkeypatch.setitem(SOURCES, "toy", PLACE)
    monkeypatch.setattr(Toy, "site", site)
    monkeypatch.setenv("RETIMBRE_DOWNLOADS", str(tmp_path / "downloads"))

    def run(name="raw", seed=1, **changes):
        out = tmp_path / name
        out.mkdir()
        recordings = make_source(
            dataset_params(**(VALUES | changes)), seed, Machine(jobs=1, downloads=2)
        ).prepare(out)
        write_manifest(out, recordings)
        return out, recordings

    return run


def tree(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def pieces(recordings, **properties):
    return {
        r.piece for r in recordings if all(getattr(r, name) == value for name, value in properties.items())
    }


def test_a_published_set_from_url_to_manifest(toy, site, tmp_path, capsys, monkeypatch):
    with serve(site) as url:
        monkeypatch.setattr(Toy, "base", url)
        out, recordings = toy()
        assert sorted(path for method, path, _ in url.asked if method == "GET") == [
            "/index.csv",
            "/toy-bell.zip",
            "/toy-reed.tar.gz",
        ]
        again, _ = toy("again")
        assert len(url.asked) == 3, "nothing is asked twice"
    assert tree(out) == tree(again)
    said = capsys.readouterr().out
    assert said.index("CC BY-NC 4.0 (non-commercial use only)") < said.index("Toy et al. (2020)")
    assert "Toy et al. (2020)" in (out / "toy/ABOUT.txt").read_text()
    assert read_manifest(out)[0].licence == "CC BY-NC 4.0 (non-commercial use only)"
    assert {r.source for r in recordings} == {"Toys, https://toys.example"}
    splits = [pieces(recordings, split=split) for split in ("train", "validation", "test")]
    assert all(splits) and sum(map(len, splits)) == len(set.union(*splits)), "no artist is in two splits"
    for domain in KINDS:
        assert len(pieces(recordings, domain=domain, split="test")) == 2, (
            "excerpts of different artists first"
        )
        assert all(r.duration_s == 2 for r in recordings if r.split != "train")
    assert all(r.path.startswith("toy/audio/") and (out / r.path).is_file() for r in recordings)
    assert not list((tmp_path / "downloads").rglob("unwanted.bin"))


def test_a_mirror_with_its_own_sums_and_archives_that_are_not_kept(toy, site, tmp_path, monkeypatch):
    monkeypatch.setattr(Toy, "site", None)  # the published checksums are of other files
    write_sums(site)
    try:
        with serve(site) as url:
            out, _ = toy(archives=url, keep_archives=False)
            files = {path.name for path in (tmp_path / "downloads/toy/files").iterdir()}
            assert not [name for name in files if name.endswith((".zip", ".gz", ".csv"))]
            asked = len(url.asked)
            again, _ = toy("again", archives=url, keep_archives=False)
            assert not [path for _, path, _ in url.asked[asked:] if not path.endswith("SHA256SUMS")], (
                "unpacked archives are not needed again"
            )
        local, _ = toy("local", archives=str(site))
    finally:
        (site / "SHA256SUMS").unlink()
    assert tree(out) == tree(again) == tree(local)
    monkeypatch.setattr("retimbre.datasets.sources.published.Patience", lambda: Patience(first_wait_s=0.01))
    with pytest.raises(
        RetimbreError,
        match="^index.csv: cannot reach publisher.invalid .*: check the network or give dataset.archives.$",
    ):
        monkeypatch.setenv("RETIMBRE_DOWNLOADS", str(tmp_path / "elsewhere"))
        toy("offline")


def test_a_users_archive_is_never_linked_and_leftovers_go(toy, site, tmp_path):
    left = tmp_path / "downloads/toy/unpacked/.toy-bell.zip-0123456789ab.unpacking"
    left.mkdir(parents=True)
    (left / "half.wav").write_bytes(b"half")
    toy(archives=str(site))
    assert all(path.stat().st_nlink == 1 for path in site.iterdir())
    assert not left.exists()


def test_limit_hours_takes_whole_artists_of_every_split(toy, site):
    _, everything = toy("all", archives=str(site))
    out, some = toy("some", archives=str(site), limit_hours=48 / 3600, validation_pieces=1, test_pieces=1)
    for domain in KINDS:
        train = [r for r in some if (r.domain, r.split) == (domain, "train")]
        assert 10 <= sum(r.duration_s for r in train) <= 48
        assert len(train) == 2 * len({r.piece for r in train}), "both takes of an artist"
        assert pieces(some, domain=domain, split="train") < pieces(everything, domain=domain, split="train")
        assert pieces(some, domain=domain, split="test")
    assert tree(out) == tree(
        toy("more", archives=str(site), limit_hours=48 / 3600, validation_pieces=1, test_pieces=1)[0]
    )
    assert pieces(toy("seed", seed=2, archives=str(site), limit_hours=48 / 3600, test_pieces=1)[1]) != pieces(
        some
    )


def test_what_was_unpacked_for_other_parameters_does_not_show(toy, site, tmp_path):
    """First reed alone, then both, then reed again: the adapter sees only what it asked for."""
    folder = tmp_path / "own"
    for i in range(4):
        (folder / "x").mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / f"x/{i}.wav", np.random.default_rng(i).normal(0, 0.1, 8000 * 8), 8000)
    mixed = dict(
        source={"harp": "folder", "reed": "toy"},
        domains=["harp", "reed"],
        folders={"harp": str(folder)},
        archives=str(site),
    )
    first, recordings = toy("first", **mixed)
    toy("both", archives=str(site))
    assert (tmp_path / "downloads/toy/root/audio/bell").is_dir()
    again, _ = toy("again", **mixed)
    assert tree(first) == tree(again)
    assert not (tmp_path / "downloads/toy/root/audio/bell").exists()
    assert {r.piece.split("/")[0] for r in recordings} == {"folder", "toy"}
    assert all((first / r.path).is_file() for r in recordings)


def test_the_embedded_source_beside_another_is_unpaired(toy, site):
    out, recordings = toy(
        source={"piano": "soundfont", "reed": "toy"},
        domains=["piano", "reed"],
        archives=str(site),
        train_minutes=0.3,
        polyphonic_share=0,
    )
    piano = [r for r in recordings if r.domain == "piano"]
    assert {r.split for r in piano} == {"train", "validation", "test"}
    assert all(r.performance == "" and (out / r.path).is_file() and (out / r.midi).is_file() for r in piano)
    assert len([r for r in piano if r.split == "test"]) == 2
    assert len(list((out / "soundfont").rglob("*.flac"))) == len({r.path for r in piano}), (
        "no file that no row names"
    )


def test_unknown_domains_and_missing_ones_are_named(toy, site):
    with pytest.raises(RetimbreError, match="source toy does not know 'harp'; it knows bell, reed"):
        toy(domains=["bell", "harp"])


def test_broken_and_silent_files_are_skipped_up_to_the_share(toy, site, tmp_path, monkeypatch, capsys):
    broken = make_site(tmp_path / "broken")
    with zipfile.ZipFile(broken / KINDS["bell"]) as file:
        files = {name: file.read(name) for name in file.namelist()}
    names = [name for name in files if name.endswith(".wav")]
    files[names[0]] = b"RIFF nothing"
    files[names[1]] = files[names[1]][:2000]
    silent = files[names[2]]
    files[names[2]] = silent[:44] + bytes(len(silent) - 44)
    with zipfile.ZipFile(broken / KINDS["bell"], "w") as file:
        for name, data in files.items():
            file.writestr(name, data)
    monkeypatch.setattr(Toy, "site", broken)
    with pytest.raises(
        RetimbreError, match=r"toy, bell: \d of 20 files .* raise dataset.max_unreadable_share"
    ):
        toy(archives=str(broken))
    out, recordings = toy("lenient", archives=str(broken), max_unreadable_share=0.2)
    assert not {f"toy/audio/{name}" for name in names[:3]} & {r.path for r in recordings}
    assert "it is silent" in capsys.readouterr().err


def test_a_full_disk_is_said_before_the_download(toy, site, monkeypatch):
    with serve(site) as url:
        monkeypatch.setattr(Toy, "base", url)
        monkeypatch.setattr(
            "retimbre.datasets.download.store.shutil.disk_usage",
            lambda _: type("Usage", (), {"free": 100_000})(),
        )
        with pytest.raises(
            RetimbreError, match="GB free, but the files of toy need .* set RETIMBRE_DOWNLOADS"
        ):
            toy()
        assert {path for _, path, _ in url.asked} == {"/index.csv"}


# --- through the stage, as a user runs it ---


@pytest.fixture
def project(tmp_path):
    """A project folder whose params take the toy set."""
    folder = tmp_path / "project"
    folder.mkdir()
    p = smoke(dataset=VALUES | {"train_minutes": 0.3}, machine={"downloads": 2})
    (folder / "params.yaml").write_text(yaml.safe_dump(p))
    return folder


def set_archives(folder, place):
    p = yaml.safe_load((folder / "params.yaml").read_text())
    p["dataset"]["archives"] = place
    (folder / "params.yaml").write_text(yaml.safe_dump(p))


def stage(name, folder, **more):
    return subprocess.Popen(
        [sys.executable, "-m", "tests.toys.source", name],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'src'}", "PYTHONDONTWRITEBYTECODE": "1"} | more,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # a shell's background jobs are started deaf to it
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def finish(process):
    said, _ = process.communicate(timeout=120)
    return process.returncode, said


@pytest.fixture
def mirror(site, tmp_path):
    folder = make_site(tmp_path / "mirror")
    write_sums(folder)
    return folder


def test_a_run_that_is_killed_anywhere_ends_with_the_same_bytes(project, mirror, tmp_path):
    size = sum(path.stat().st_size for path in mirror.iterdir())
    with serve(mirror) as url:
        set_archives(project, url)
        code, said = finish(stage("download", project))
        assert code == 0, said
        assert "Licence: CC BY-NC 4.0 (non-commercial use only)" in said and "bell: train" in said
        kept = project / ".scratch/downloads/toy/files/toy-bell.zip"
        assert kept.is_file(), "outside the stage's output"
        expected = tree(project / "data/raw")
        downloads = tmp_path / "slow"
        more = {"RETIMBRE_DOWNLOADS": str(downloads)}
        # bytes per second of each of two connections: no machine is too busy to be in time
        url.manners.rate = size // 12
        continued = set()
        for moment, signal_ in enumerate((signal.SIGKILL, signal.SIGTERM, signal.SIGINT)):
            wanted = (moment + 1) * size // 6
            process = stage("download", project, **more)
            while process.poll() is None and bytes_there(downloads) < wanted:
                time.sleep(0.01)
            process.send_signal(signal_)
            said, _ = process.communicate(timeout=60)
            assert process.returncode != 0, said
            assert not (project / "data/raw/manifest.csv").exists()
            continued |= {asked for _, _, asked in url.asked if asked}
        url.manners.rate = None
        asked = len(url.asked)
        # Once more while it unpacks and copies, at whatever moment that is.
        process = stage("download", project, **more)
        while (
            process.poll() is None
            and not list((downloads / "toy/unpacked").glob(".*.unpacking"))
            and not (downloads / "toy/root/audio").exists()
        ):
            time.sleep(0.002)
        process.kill()
        process.communicate()
        continued |= {range_ for _, _, range_ in url.asked[asked:] if range_}
        code, said = finish(stage("download", project, **more))
    assert code == 0, said
    assert tree(project / "data/raw") == expected
    assert [int(re.search(r"\d+", asked)[0]) for asked in continued], (
        "downloads were continued, not begun again"
    )
    names = [
        hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted((downloads / "toy/files").glob("toy-*[pz]"))
    ]
    assert names == [hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(mirror.glob("toy-*"))]


def bytes_there(downloads):
    total = 0
    for path in (downloads / "toy/files").glob("*[!n]"):  # without the notes, which are .json
        try:
            total += path.stat().st_size
        except OSError:
            pass  # renamed just now
    return total


def test_two_runs_at_once_do_not_disturb_each_other(project, mirror, tmp_path):
    with serve(mirror, rate=600_000) as url:
        set_archives(project, url)
        other = tmp_path / "other"
        other.mkdir()
        (other / "params.yaml").symlink_to(project / "params.yaml")
        more = {"RETIMBRE_DOWNLOADS": str(tmp_path / "shared")}
        both = [stage("download", project, **more), stage("download", other, **more)]
        results = [finish(process) for process in both]
        gets = [path for method, path, _ in url.asked if method == "GET" and "SUMS" not in path]
    assert [code for code, _ in results] == [0, 0], results
    assert any("waiting for another run" in said for _, said in results)
    assert len(gets) == len(set(gets)) == 3, "each file was downloaded once"
    assert tree(project / "data/raw") == tree(other / "data/raw")
