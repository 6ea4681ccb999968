"""Members of archives on servers of every kind, alone; hostile directories; a run that is killed."""

import hashlib
import io
import os
import random
import signal
import struct
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from retimbre.datasets.download import partial, ranges, store
from retimbre.datasets.download.mirrors import Location, RemoteFile
from retimbre.datasets.download.web import Patience
from retimbre.datasets.sources import fma, maestro
from retimbre.datasets.sources.catalogue import find
from retimbre.errors import RetimbreError
from stages import download
from tests.toys import ROOT, layouts, layouts_own
from tests.toys.project import write_params
from tests.toys.served import serve

HASTE = Patience(attempts=4, first_wait_s=0.01, longest_wait_s=0.02, connect_s=2, read_s=0.3)
SIZE = 100_000
NAMES = [f"set/{n:02d}.bin" for n in range(40)]
WANTED = (NAMES[3], NAMES[4], NAMES[20])


def noise(seed: int, size: int = SIZE) -> bytes:
    return random.Random(seed).randbytes(size)


CONTENT = {name: noise(n) for n, name in enumerate(NAMES)}


def write(path: Path, content: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return path


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Archives of tests are small; a gap is smaller than a member, as it is in true archives."""
    monkeypatch.setattr(partial, "LEAST_BYTES", 0)
    monkeypatch.setattr(ranges, "GAP", 1 << 12)


@pytest.fixture
def site(tmp_path):
    folder = tmp_path / "site"
    folder.mkdir()
    write(folder / "a.zip", CONTENT)
    return folder


@pytest.fixture
def get(tmp_path):
    """Fetch members of a.zip below a URL; returns their bytes by name, or None."""

    def run(url, members=WANTED, more=(), checksum="", size=None, make_room=lambda size: None):
        file = RemoteFile("a.zip", "", unpack=True, members=tuple(members))
        locations = [Location(f"{url}/a.zip", checksum, size), *more]
        found = partial.fetch_members(file, locations, tmp_path / "files", HASTE, make_room)
        return found and {name: path.read_bytes() for name, path in found.paths.items()}

    return run


def spans(url):
    return [asked for _, _, asked in url.asked]


EXPECTED = {name: CONTENT[name] for name in WANTED}


def test_only_what_is_wanted_is_transferred(site, get, capsys):
    with serve(site) as url:
        assert get(url, checksum="md5:" + "0" * 32) == EXPECTED
        assert len(spans(url)) == 4  # the head, the end with the directory, two neighbours at once, one more
        assert sum(url.sent.values()) < 4 * SIZE < (site / "a.zip").stat().st_size / 9
        assert "published checksum of the whole archive cannot be checked" in capsys.readouterr().out
        before = sum(url.sent.values())
        assert get(url, members=[*WANTED, NAMES[30]]) == EXPECTED | {NAMES[30]: CONTENT[NAMES[30]]}
        assert sum(url.sent.values()) - before < 2 * SIZE, "what is there is not transferred again"


@pytest.mark.parametrize(
    "manners",
    [
        dict(redirect=True),
        dict(length=False),
        dict(etag=False),
        dict(etag=False, modified=True),
        dict(break_after=30_000),
        dict(break_after=30_000, length=False),
        dict(errors=[(500, {}), (503, {"Retry-After": "0"})]),
        dict(silent=2),
        dict(rate=4e6, long_ranges=True),
    ],
    ids=str,
)
def test_bad_manners_are_survived(site, get, manners):
    with serve(site, **manners) as url:
        assert get(url) == EXPECTED
        assert sum(url.sent.values()) < (site / "a.zip").stat().st_size / 4


@pytest.mark.parametrize(
    "manners",
    [dict(ranges=False), dict(ranges=False, length=False, etag=False), dict(shift_range=7)],
    ids=str,
)
def test_a_server_without_ranges_leads_to_the_whole_archive(site, get, manners, tmp_path, capsys):
    with serve(site, **manners) as url:
        assert get(url) is None
    assert "the whole archive is downloaded" in capsys.readouterr().out
    assert not (tmp_path / "files").exists()


def test_many_members_or_no_zip_lead_to_the_whole_archive(site, get, tmp_path):
    with serve(site) as url:
        assert get(url, members=NAMES[:25]) is None
        assert get(url, members=["set/*"]) is None
        (tmp_path / "files").mkdir()
        with open(tmp_path / "files/a.zip.part", "wb") as part:
            part.truncate(39 * SIZE)
        assert get(url) is None, "most of the archive is there already"
        (tmp_path / "files/a.zip.part").unlink()
        (site / "a.zip").write_bytes(noise(1))
        assert get(url) is None


def test_other_places_are_tried_and_an_unreachable_one_is_named(site, get):
    with serve(site) as url:
        assert get(f"{url}/nowhere", more=[Location(f"{url}/a.zip")]) == EXPECTED
        assert get(url, size=123, more=[Location(f"{url}/a.zip")]) == EXPECTED
        with pytest.raises(
            RetimbreError, match="a.zip: 127.0.0.1 answers 404.*: try later or give dataset.archives"
        ):
            get(f"{url}/nowhere")
        with pytest.raises(RetimbreError, match="offers .* bytes, but the file has 123"):
            get(url, size=123)
        with pytest.raises(
            RetimbreError, match="holds none of set/x: it is not the archive that was expected"
        ):
            get(url, members=["set/x"])
    with pytest.raises(
        RetimbreError, match="cannot reach 127.0.0.1.*: check the network or give dataset.archives"
    ):
        get(url, members=[NAMES[7]])


@pytest.mark.parametrize("etag", [True, False])
def test_an_archive_that_changes_in_between_is_read_again(site, get, etag, capsys):
    newer = CONTENT | {NAMES[4]: b"new", "set/more.bin": noise(99)}

    def change(number, path):
        if number == 3:  # after one request for members
            write(site / "a.zip", newer)

    with serve(site, etag=etag, before=change) as url:
        assert get(url) == EXPECTED | {NAMES[4]: b"new"}
    assert "has another version of the file now; its directory is read again" in capsys.readouterr().out


def test_an_archive_that_never_stays_the_same_is_given_up(site, get):
    def change(number, path):
        url.manners.version += "x"

    with (
        serve(site, before=change) as url,
        pytest.raises(RetimbreError, match="has ever other versions of the file"),
    ):
        get(url)


def test_a_damaged_member_is_asked_for_again_and_then_named(site, get, tmp_path):
    whole = (site / "a.zip").read_bytes()
    with zipfile.ZipFile(site / "a.zip") as archive:
        at = archive.getinfo(NAMES[20]).header_offset + 5000
    damaged = whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]
    (site / "a.zip").write_bytes(damaged)
    with serve(site, etag=False) as url:
        with pytest.raises(RetimbreError, match="its member 'set/20.bin' is damaged"):
            get(url)
        assert sorted(map(Path.read_bytes, finished(tmp_path / "files/a.zip.members"))) == sorted(
            CONTENT[name] for name in NAMES[3:5]
        )
        url.sent.clear()
        # The last of the two answers is right: the first was damaged on its way.
        url.manners.before = lambda number, path: (site / "a.zip").write_bytes(
            whole if number >= first + 3 else damaged
        )
        first = len(url.asked)
        assert get(url) == EXPECTED
    assert sum(url.sent.values()) < 4 * SIZE


@pytest.mark.parametrize("more", [1, -1])
def test_the_length_must_be_that_of_the_directory(site, get, tmp_path, more):
    whole = (site / "a.zip").read_bytes()
    at = whole.index(NAMES[3].encode(), whole.index(b"PK\x01\x02")) - 46 + 24
    (site / "a.zip").write_bytes(whole[:at] + struct.pack("<L", SIZE + more) + whole[at + 4 :])
    with serve(site) as url, pytest.raises(RetimbreError, match="its member 'set/03.bin' is damaged: "):
        get(url)
    assert finished(tmp_path / "files/a.zip.members") == []


def test_a_kept_member_that_lost_its_content_is_fetched_again(site, get, tmp_path):
    with serve(site) as url:
        get(url)
        for path in (tmp_path / "files/a.zip.members").iterdir():
            path.write_bytes(bytes(SIZE))
        assert get(url) == EXPECTED


def test_zip64_stored_members_comments_and_streamed_archives(site, get):
    class Unseekable(io.RawIOBase):
        def __init__(self, file):
            self.file = file

        def writable(self):
            return True

        def write(self, data):
            return self.file.write(data)

    # sizes follow the members
    with open(site / "a.zip", "wb") as file, zipfile.ZipFile(Unseekable(file), "w") as archive:
        archive.comment = b"c" * 60_000
        for name, data in CONTENT.items():
            with archive.open(name, "w", force_zip64=True) as stream:
                stream.write(data)
    with serve(site) as url:
        assert get(url) == EXPECTED
    # A directory with 64-bit records: every archive of more than 4 GB has one.
    whole = write(site / "a.zip", CONTENT).read_bytes()
    end = len(whole) - 22
    count, length, start = struct.unpack("<HLL", whole[end + 10 : end + 20])
    record = struct.pack("<4sQHHLLQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, length, start)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, end, 1)
    last = struct.pack("<4sHHHHLLH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    (site / "a.zip").write_bytes(whole[:end] + record + locator + last)
    with serve(site) as url:
        assert get(url) == EXPECTED


def hostile(**changes):
    info = zipfile.ZipInfo("set/00.bin")
    for name, value in changes.items():
        setattr(info, name, value)
    return info


@pytest.mark.parametrize(
    "make, reason",
    [
        (lambda a: a.writestr("../outside.bin", b"x"), "would be written outside"),
        (lambda a: a.writestr("/tmp/outside.bin", b"x"), "would be written outside"),
        (lambda a: a.writestr("C:\\outside.bin", b"x"), "would be written outside"),
        (lambda a: a.writestr(hostile(filename="pipe", external_attr=0o010644 << 16), b""), "device or pipe"),
        (lambda a: (a.writestr("w/a", b"1"), a.writestr("w/A", b"2")), "differ in case only"),
        (lambda a: (a.writestr("w/a", b"1"), a.writestr("w/a/b", b"2")), "is a file and a folder"),
        (
            lambda a: a.writestr("w/zeros", bytes(80_000_000), zipfile.ZIP_DEFLATED),
            "unpacks to more than 100 times its size",
        ),
    ],
)
def test_hostile_archives_are_refused_before_members_are_asked_for(site, get, tmp_path, make, reason):
    with zipfile.ZipFile(site / "a.zip", "w") as archive:
        for name in NAMES:
            archive.writestr(name, CONTENT[name])
        make(archive)
    with (
        serve(site) as url,
        pytest.raises(RetimbreError, match=f"a.zip on 127.0.0.1 cannot be unpacked .*{reason}"),
    ):
        get(url, members=[*WANTED, "w/*", "W/*"])
    assert len(spans(url)) <= 3
    assert not (tmp_path / "files").exists()


def test_links_are_passed_over_and_the_last_of_a_name_counts(site, get, capsys):
    with zipfile.ZipFile(site / "a.zip", "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr(hostile(filename="set/link", external_attr=0o120777 << 16), b"/etc/passwd")
        archive.writestr(NAMES[3], b"later")
    with serve(site) as url:
        assert get(url, members=[*WANTED, "set/link"]) == EXPECTED | {NAMES[3]: b"later"}
    assert "1 links were passed over (set/link ...)" in capsys.readouterr().out


def test_a_directory_too_large_for_memory_is_not_read(site, get, monkeypatch):
    whole = (site / "a.zip").read_bytes()
    end = len(whole) - 22
    lie = whole[: end + 12] + struct.pack("<LL", end, 0) + whole[end + 20 :]  # everything is the directory
    (site / "a.zip").write_bytes(lie)
    monkeypatch.setattr(ranges, "LARGEST_READ", 1 << 20)
    with serve(site) as url, pytest.raises(RetimbreError, match="its directory is larger than 1 MB"):
        get(url)
    assert sum(url.sent.values()) < 100_000


SMALL = {f"m/{n}": noise(n, 3000) for n in range(12)}


def small_archive() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in SMALL.items():
            archive.writestr(name, data)
    return out.getvalue()


PLAIN = small_archive()
START = PLAIN.index(b"PK\x01\x02")


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    changes=st.lists(
        st.tuples(st.integers(START, len(PLAIN) - 1), st.integers(0, 255)), min_size=1, max_size=8
    ),
    cut=st.integers(0, 60) | st.just(0),
)
def test_fuzzed_directories_write_nothing_wrong(tmp_path, hostile_site, changes, cut):
    folder, url = hostile_site
    data = bytearray(PLAIN)
    for at, value in changes:
        data[at] = value
    (folder / "a.zip").write_bytes(bytes(data[: len(data) - cut]))
    files = folder / "files"
    file = RemoteFile("a.zip", "", unpack=True, members=("m/[13]",))
    url.sent.clear()
    try:
        found = partial.fetch_members(file, [Location(f"{url}/a.zip")], files, HASTE, lambda size: None)
    except RetimbreError as error:
        assert "\n" not in str(error)
    else:
        for name, path in found.paths.items() if found else ():
            assert path.parent == files / "a.zip.members"
            assert path.read_bytes() in SMALL.values(), name
    assert sum(url.sent.values()) < 6 * len(PLAIN)
    assert {path.name for path in folder.iterdir()} <= {"a.zip", "files"}
    assert {path.name for path in files.glob("*")} <= {"a.zip.members"}


@pytest.fixture
def hostile_site(tmp_path):
    folder = tmp_path / "hostile"
    folder.mkdir()
    with serve(folder) as url:
        yield folder, url


# The whole way: the stage with the adapters.


def finished(kept: Path) -> list[Path]:
    return [path for path in kept.glob("*") if path.name != "unfinished"]


def hashes(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files
    }


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """MAESTRO in its layout, with more recordings, which a zip cannot make much smaller; and a folder to be
    the other domain."""
    publisher = tmp_path_factory.mktemp("publisher")
    folder = publisher / "v3.0.0"
    folder.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        for split, count in (("TRAIN", 60), ("VALIDATION", 6), ("TEST", 6)):
            patch.setattr(layouts_own, split, count)
        layouts.build("maestro", folder)
    with zipfile.ZipFile(folder / "maestro-v3.0.0.zip") as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    for number, name in enumerate(content):
        if name.endswith(".wav"):
            out = io.BytesIO()
            soundfile.write(
                out,
                np.random.default_rng(number).normal(0, 0.1, round(2.2 * 44100)),
                44100,
                format="WAV",
                subtype="PCM_16",
            )
            content[name] = out.getvalue()
    write(folder / "maestro-v3.0.0.zip", content)
    other = tmp_path_factory.mktemp("mine")
    for n in range(8):
        soundfile.write(other / f"{n}.wav", np.random.default_rng(n).normal(0, 0.1, 44100 * 3), 44100)
    return publisher, other


@pytest.fixture
def piano(published, monkeypatch):
    checksum = hashlib.sha256((published[0] / "v3.0.0/maestro-v3.0.0.zip").read_bytes()).hexdigest()
    monkeypatch.setattr(maestro.Maestro, "archive_sha256", checksum)
    return published


def project(tmp_path, monkeypatch, name: str, other: Path, **dataset: object) -> Path:
    folder = tmp_path / name
    folder.mkdir(exist_ok=True)
    monkeypatch.chdir(folder)
    monkeypatch.delenv("RETIMBRE_DOWNLOADS", raising=False)
    values = {
        "source": {"piano": "maestro", "guitar": "folder"},
        "domains": ["piano", "guitar"],
        "folders": {"guitar": str(other)},
    }
    write_params(folder, **values, **dataset)
    return folder


def test_maestro_with_few_hours_is_the_same_from_few_bytes(piano, tmp_path, monkeypatch, capsys):
    publisher, other = piano
    size = (publisher / "v3.0.0/maestro-v3.0.0.zip").stat().st_size
    path, hours = "/v3.0.0/maestro-v3.0.0.zip", 32 / 3600
    with serve(publisher) as url:
        monkeypatch.setattr(maestro, "PLACE", str(url))
        few = project(tmp_path, monkeypatch, "few", other, limit_hours=hours)
        download.main()
        transferred = url.sent[path]
        assert transferred < 0.3 * size
        assert "the published checksum of the whole archive cannot be checked" in capsys.readouterr().out
        assert not (few / ".scratch/downloads/maestro/files/maestro-v3.0.0.zip").exists()
        download.main()
        assert url.sent[path] == transferred, "another run transfers nothing"
        url.manners.ranges = False
        whole = project(tmp_path, monkeypatch, "whole", other, limit_hours=hours)
        download.main()
        assert url.sent[path] >= transferred + size
        assert (whole / ".scratch/downloads/maestro/files/maestro-v3.0.0.zip").exists()
    assert hashes(few / "data/raw") == hashes(whole / "data/raw")
    assert any(name.endswith(".midi") for name in hashes(few / "data/raw"))
    # From a local archive nothing is asked of anybody.
    local = project(
        tmp_path, monkeypatch, "local", other, limit_hours=hours, archives=str(publisher / "v3.0.0")
    )
    download.main()
    assert hashes(local / "data/raw") == hashes(few / "data/raw")


def test_more_hours_and_keep_archives(piano, tmp_path, monkeypatch):
    publisher, other = piano
    path = "/v3.0.0/maestro-v3.0.0.zip"
    with serve(publisher) as url:
        monkeypatch.setattr(maestro, "PLACE", str(url))
        folder = project(tmp_path, monkeypatch, "p", other, limit_hours=32 / 3600)
        kept = folder / ".scratch/downloads/maestro/files/maestro-v3.0.0.zip.members"
        download.main()
        first, count = url.sent[path], len(list(kept.iterdir()))
        project(tmp_path, monkeypatch, "p", other, limit_hours=52 / 3600, keep_archives=False)
        download.main()
        assert count > 0 and not kept.exists()
        fresh = project(tmp_path, monkeypatch, "fresh", other, limit_hours=52 / 3600)
        second = url.sent[path] - first
        download.main()
        assert second < url.sent[path] - first - second, "members of the smaller choice were there"
    assert hashes(fresh / "data/raw") == hashes(folder / "data/raw")


def test_a_full_disk_is_named_before_members_are_asked_for(piano, tmp_path, monkeypatch):
    publisher, other = piano
    with serve(publisher) as url:
        monkeypatch.setattr(maestro, "PLACE", str(url))
        project(tmp_path, monkeypatch, "p", other, limit_hours=32 / 3600)
        usage = store.shutil.disk_usage("/")
        monkeypatch.setattr(store.shutil, "disk_usage", lambda path: usage._replace(free=200_000))
        with pytest.raises(
            RetimbreError,
            match="the chosen files of maestro need 0.0 GB: make room, lower dataset.limit_hours",
        ):
            download.main()
        assert url.sent["/v3.0.0/maestro-v3.0.0.zip"] < 100_000


def test_a_killed_run_goes_on(piano, tmp_path, monkeypatch):
    """SIGKILL while members come: those that were finished are not transferred again."""
    publisher, other = piano
    path = "/v3.0.0/maestro-v3.0.0.zip"
    code = (
        "import sys\n"
        "from retimbre.datasets.download import partial, ranges\n"
        "from retimbre.datasets.sources import maestro\nfrom stages import download\n"
        "partial.LEAST_BYTES, ranges.GAP = 0, 4096\n"
        "maestro.PLACE, maestro.Maestro.archive_sha256 = sys.argv[1:]\n"
        "download.main()\n"
    )
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'src'}"}
    with serve(publisher) as url:
        monkeypatch.setattr(maestro, "PLACE", str(url))
        straight = project(tmp_path, monkeypatch, "straight", other, limit_hours=32 / 3600)
        download.main()
        needed = url.sent.pop(path)
        folder = project(tmp_path, monkeypatch, "killed", other, limit_hours=32 / 3600)
        url.manners.rate = 400_000
        command = [sys.executable, "-c", code, str(url), maestro.Maestro.archive_sha256]
        run = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        kept = folder / ".scratch/downloads/maestro/files/maestro-v3.0.0.zip.members"
        while run.poll() is None and len(finished(kept)) < 4:
            time.sleep(0.01)
        assert run.poll() is None, run.communicate()[0].decode()
        run.send_signal(signal.SIGKILL)
        run.communicate()
        there = sum(path.stat().st_size for path in finished(kept))
        url.manners.rate = None
        time.sleep(0.1)  # for the answer to the killed program to end
        url.sent.clear()
        again = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert again.returncode == 0, again.stderr
        assert needed - url.sent[path] > 0.8 * there > 0
    assert hashes(folder / "data/raw") == hashes(straight / "data/raw")


def test_fma_takes_clips_out_of_its_archive(tmp_path, monkeypatch):
    """Many small members, and a metadata archive before it."""
    folder = tmp_path / "publisher"
    folder.mkdir()
    layout = layouts.build("fma", folder)
    monkeypatch.setattr(
        fma.FmaSmall, "archive_sha1", hashlib.sha1((folder / "fma_small.zip").read_bytes()).hexdigest()
    )
    root = tmp_path / "root"
    with zipfile.ZipFile(folder / "fma_metadata.zip") as archive:
        archive.extractall(root)
    adapter = find("fma")
    (file,) = adapter.files(layout.domains, 100 / 3600, 1, root)
    with serve(folder) as url:
        found = partial.fetch_members(
            file,
            [Location(f"{url}/fma_small.zip", file.checksum)],
            tmp_path / "files",
            HASTE,
            lambda size: None,
        )
        assert found is not None and len(found.paths) == len(file.members)
    with zipfile.ZipFile(folder / "fma_small.zip") as archive:
        assert all(path.read_bytes() == archive.read(name) for name, path in found.paths.items())
