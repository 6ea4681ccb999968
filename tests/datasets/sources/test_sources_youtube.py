"""Videos through yt-dlp's generic extractor, from a server here: addresses of sound files, a feed of them."""

import functools
import http.server
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from retimbre.datasets.packed.format import PackedFeatures
from retimbre.datasets.recordings.manifest import SPLITS, read_manifest
from retimbre.datasets.sources import youtube
from retimbre.datasets.sources.catalogue import find
from retimbre.datasets.sources.params import Dataset
from retimbre.errors import RetimbreError
from stages import download, features, resample
from tests.toys.project import smoke, write_params

RATE = 16000
FEED = """<?xml version="1.0" encoding="UTF-8"?><rss
version="2.0"><channel><title>Feed</title>{}</channel></rss>"""


def sound(path: Path, *parts: float) -> None:
    """Tones and silences in turn, of so many seconds each."""
    t = np.arange(round(sum(parts) * RATE)) / RATE
    edges = np.cumsum((0, *parts))
    x = 0.3 * np.sin(2 * np.pi * 330 * t) + 1e-5 * np.sin(2 * np.pi * 50 * t)
    for first, last in zip(edges[1::2], edges[2::2], strict=False):
        x[round(first * RATE) : round(last * RATE)] *= 1e-3
    soundfile.write(path, x, RATE)


@pytest.fixture
def site(tmp_path):
    """A folder served on 127.0.0.1; ``asked`` are the paths whose content was asked for."""
    folder, asked = tmp_path / "site", []
    folder.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            asked.append(self.path.lstrip("/"))
            super().do_GET()

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=folder))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield SimpleNamespace(folder=folder, asked=asked, url=f"http://127.0.0.1:{server.server_port}/")
    server.shutdown()
    thread.join()
    server.server_close()


def dataset(**addresses: list[str]) -> Dataset:
    values = smoke()["dataset"]
    return Dataset.model_validate(
        values | {"source": "youtube", "domains": list(addresses), "youtube": addresses}
    )


def names(adapter, folder: Path, *domains: str) -> set[str]:
    return {Path(track.path).name for track in adapter.tracks(folder, domains)}


def test_stretches_between_silences(tmp_path):
    # sound 0-3, 4.5-7, 7.6-8.6 (a short gap), and one second at the end
    sound(tmp_path / "a.wav", 3.0, 1.5, 2.5, 0.6, 1.0, 2.0, 1.0)
    found = youtube.stretches(tmp_path / "a.wav")
    assert found == [
        (0.0, pytest.approx(3.1, abs=0.06)),
        (pytest.approx(4.4, abs=0.06), pytest.approx(4.3, abs=0.11)),
    ]
    soundfile.write(tmp_path / "silent.wav", np.zeros(RATE), RATE)
    assert youtube.stretches(tmp_path / "silent.wav") == []
    sound(tmp_path / "mono.wav", 3.0)
    tone, _ = soundfile.read(tmp_path / "mono.wav")
    opposite = np.stack([tone, np.where(np.arange(len(tone)) < RATE, tone, -tone)], axis=1)
    soundfile.write(tmp_path / "opposite.wav", opposite, RATE)
    assert youtube.stretches(tmp_path / "opposite.wav") == [(0.0, 3.0)], "opposite phases sound"
    (tmp_path / "joined.wav").write_bytes((tmp_path / "mono.wav").read_bytes() * 2)
    assert youtube.stretches(tmp_path / "joined.wav") == [(0.0, 6.0)], "both files are read"


def test_a_rerun_adds_only_what_is_new(site, tmp_path, capsys):
    for name in ("one.wav", "two.flac", "three.mp3", "four.wav"):
        sound(site.folder / name, 3.0)
    item = '<item><title>{0}</title><enclosure url="{1}{0}" type="audio/x-wav"/></item>'
    items = "".join(item.format(name, site.url) for name in ("three.mp3", "two.flac"))
    (site.folder / "feed.xml").write_text(FEED.format(items))
    adapter, folder = find("youtube"), tmp_path / "kept"
    folder.mkdir()
    piano = [site.url + "one.wav", site.url + "feed.xml"]
    adapter.fetch(folder, ("piano", "guitar"), dataset(piano=piano, guitar=[site.url + "four.wav"]), 0)
    assert youtube.NOTICE in capsys.readouterr().out
    assert names(adapter, folder, "piano") == {"Generic-one.wav", "Generic-two.flac", "Generic-three.mp3"}
    assert names(adapter, folder, "guitar") == {"Generic-four.wav"}
    pieces = {track.piece for track in adapter.tracks(folder, ("piano",))}
    assert pieces == {"youtube-Generic-one", "youtube-Generic-two", "youtube-Generic-three"}
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.*") if path.suffix != ".txt"}
    sound(site.folder / "five.wav", 3.0)
    adapter.fetch(
        folder,
        ("piano", "guitar"),
        dataset(piano=[*piano, site.url + "five.wav"], guitar=[site.url + "four.wav"]),
        0,
    )
    assert names(adapter, folder, "piano") == {
        "Generic-one.wav",
        "Generic-two.flac",
        "Generic-three.mp3",
        "Generic-five.wav",
    }
    assert {path: path.stat().st_mtime_ns for path in before} == before
    # An address that is no longer listed goes, and comes back without a download.
    adapter.fetch(folder, ("piano", "guitar"), dataset(piano=piano[:1], guitar=[site.url + "four.wav"]), 0)
    assert names(adapter, folder, "piano") == {"Generic-one.wav"}
    (site.folder / "five.wav").unlink()
    adapter.fetch(
        folder,
        ("piano", "guitar"),
        dataset(piano=[*piano, site.url + "five.wav"], guitar=[site.url + "four.wav"]),
        0,
    )
    assert "Generic-five.wav" in names(adapter, folder, "piano")


def test_a_deleted_file_is_fetched_again_and_a_dead_address_only_counted(site, tmp_path, capsys):
    sound(site.folder / "one.wav", 3.0)
    adapter, folder, wanted = find("youtube"), tmp_path / "kept", None
    folder.mkdir()
    wanted = dataset(piano=[site.url + "one.wav", site.url + "gone.wav"], guitar=[site.url + "one.wav"])
    adapter.fetch(folder, ("piano",), wanted, 0)
    assert f"youtube: {site.url}gone.wav: " in capsys.readouterr().out
    for path in folder.rglob("*.wav"):
        path.unlink()
    adapter.fetch(folder, ("piano",), wanted, 0)
    assert names(adapter, folder, "piano") == {"Generic-one.wav"}


def test_nothing_downloaded_is_an_error(site, tmp_path, monkeypatch):
    with pytest.raises(
        RetimbreError,
        match=r"dataset.youtube.piano: nothing could be downloaded \(.*404.*: check the address\)",
    ):
        find("youtube").fetch(tmp_path, ("piano",), dataset(piano=[site.url + "gone.wav"], guitar=["x"]), 0)
    monkeypatch.setattr(youtube.shutil, "which", lambda _: None)
    (site.folder / "video.mp4").write_bytes(b"\0\0\0\x18ftypmp42" + bytes(1000))
    with pytest.raises(RetimbreError, match=r"it must be converted, which ffmpeg does: install ffmpeg"):
        find("youtube").fetch(tmp_path, ("piano",), dataset(piano=[site.url + "video.mp4"], guitar=["x"]), 0)


def test_without_yt_dlp_a_sentence_says_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "yt_dlp", None)
    with pytest.raises(RetimbreError, match="dataset.source youtube needs yt-dlp: `pip install yt-dlp`"):
        find("youtube").fetch(tmp_path, ("piano",), dataset(piano=["x"], guitar=["x"]), 0)


def test_the_stages_make_pieces_and_features_of_videos(site, tmp_path, monkeypatch):
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    monkeypatch.delenv("RETIMBRE_DOWNLOADS", raising=False)
    addresses = {}
    for domain in ("piano", "guitar"):
        for number in range(5):
            sound(site.folder / f"{domain}{number}.wav", 3.0, 1.5, 3.0)
        addresses[domain] = [f"{site.url}{domain}{number}.wav" for number in range(5)]
    write_params(Path(), source="youtube", domains=["piano", "guitar"], excerpt_s=2, youtube=addresses)
    download.main()
    rows = read_manifest(Path("data/raw"))
    train = [row for row in rows if row.split == "train" and row.domain == "piano"]
    assert {row.split for row in rows} == {"train", "validation", "test"}
    assert {round(row.start_s, 1) for row in train} == {0.0, 4.4}
    assert len({row.piece for row in rows if row.domain == "guitar"}) == 5
    assert all("rights are their owners'" in row.licence for row in rows)
    site.asked.clear()
    download.main()
    assert read_manifest(Path("data/raw")) == rows
    Path("metrics").mkdir()
    resample.main()
    features.main()
    frames = PackedFeatures(Path("data/features"))
    for domain in ("piano", "guitar"):
        for split in SPLITS:
            assert all(
                frames.read(e, representation="cqt").shape == (e.length, 84)
                for e in frames.excerpts(domain, split)
            )
            assert frames.excerpts(domain, split)
