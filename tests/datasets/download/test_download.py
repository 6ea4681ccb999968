"""Downloads from a server that behaves in every way that servers do."""

import hashlib
import json
import os
import socket
import threading
import time

import pytest

from retimbre.datasets.download import web
from retimbre.datasets.download.fetch import Downloads, Wanted, sizes
from retimbre.datasets.download.mirrors import Archives, Location, RemoteFile, parse_sums
from retimbre.datasets.download.web import Patience, read_text
from retimbre.errors import RetimbreError
from tests.toys.served import serve, write_sums

DATA = bytes(i * i % 251 for i in range(300_000))
MD5 = f"md5:{hashlib.md5(DATA).hexdigest()}"
HASTE = Patience(attempts=4, first_wait_s=0.01, longest_wait_s=0.02, connect_s=2, read_s=0.3)


@pytest.fixture
def site(tmp_path):
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "a.zip").write_bytes(DATA)
    return folder


@pytest.fixture
def get(tmp_path):
    """Download a.zip from a URL into ``tmp_path/got``; other locations and patience may be given."""

    def run(url, checksum=MD5, size=None, more=(), patience=HASTE, name="a.zip"):
        locations = (Location(f"{url}/{name}", checksum, size), *more)
        return Downloads(tmp_path / "got", 2, patience).fetch([Wanted(name, locations)])[name]

    return run


def ranges(url):
    return [asked for method, _, asked in url.asked if method == "GET"]


def test_a_good_server_is_asked_once(site, get, tmp_path):
    with serve(site) as url:
        got = get(url)
        assert got.path.read_bytes() == DATA
        again = get(url)
        assert again.path == got.path
        assert ranges(url) == [""]
    assert {path.name for path in (tmp_path / "got").iterdir()} == {"a.zip", "a.zip.ok.json"}


@pytest.mark.parametrize(
    "manners",
    [
        dict(ranges=False, etag=False),
        dict(length=False),
        dict(length=False, ranges=False, etag=False),
        dict(redirect=True),
        dict(break_after=100_000),
        dict(break_after=100_000, length=False),
        dict(break_after=100_000, breaks=2, ranges=False),
        dict(break_after=100_000, breaks=2, etag=False),
        dict(break_after=100_000, etag=False, modified=True),
        dict(
            errors=[
                (500, {}),
                (503, {"Retry-After": "0"}),
                (429, {"Retry-After": "Mon, 02 Jan 2023 03:04:05 GMT"}),
            ]
        ),
        dict(silent=1),
        dict(break_after=100_000, breaks=1, shift_range=7),
    ],
    ids=str,
)
@pytest.mark.parametrize("checksum", [MD5, ""])
def test_bad_manners_are_survived(site, get, manners, checksum):
    with serve(site, **manners) as url:
        assert get(url, checksum, size=len(DATA)).path.read_bytes() == DATA


def test_a_broken_connection_costs_only_what_is_missing(site, get):
    with serve(site, break_after=100_000) as url:
        get(url)
        assert ranges(url) == ["", "bytes=100000-", "bytes=200000-"]


def test_without_a_tag_and_a_checksum_nothing_is_continued(site, get):
    with serve(site, break_after=100_000, breaks=1, etag=False) as url:
        assert get(url, checksum="").path.read_bytes() == DATA
        assert ranges(url) == ["", ""]


@pytest.mark.parametrize("after", [0, 1, 150_000, 299_999, 300_000])
def test_an_interrupted_run_is_continued(site, get, tmp_path, after):
    """What a killed run leaves: some bytes and the note about them."""
    with serve(site, break_after=max(after, 1)) as url:
        with pytest.raises(RetimbreError):
            get(url, patience=Patience(attempts=1, first_wait_s=0.01)) if 0 < after < 300_000 else get(
                f"{url}/nowhere", patience=HASTE
            )
        part = tmp_path / "got" / "a.zip.part"
        if after in (0, 300_000):
            part.parent.mkdir(exist_ok=True)
            part.write_bytes(DATA[:after])
            part.with_name("a.zip.part.json").write_text(
                json.dumps({"place": f"{url}/a.zip", "checksum": MD5, "if_range": ""})
            )
        assert part.stat().st_size == after
        url.manners.break_after = None
        url.asked.clear()
        assert get(url).path.read_bytes() == DATA
        assert ranges(url) == [f"bytes={after}-" if after else ""]


def test_another_version_on_the_server_is_started_over(site, get, tmp_path):
    with serve(site, break_after=100_000) as url:
        with pytest.raises(RetimbreError, match="broke off at 100,000 of 300,000"):
            get(url, checksum="", patience=Patience(attempts=1))
        assert (tmp_path / "got/a.zip.part").stat().st_size == 100_000
        new = bytes(reversed(DATA))
        (site / "a.zip").write_bytes(new)
        url.manners.break_after = None
        assert get(url, checksum="").path.read_bytes() == new
        assert ranges(url)[-1] == "bytes=100000-", "asked with If-Range, answered whole"


def test_bytes_of_before_that_do_not_fit_are_found_by_the_checksum(site, get, tmp_path, capsys):
    with serve(site) as url:
        (tmp_path / "got").mkdir()
        (tmp_path / "got/a.zip.part").write_bytes(b"x" * 1000)
        (tmp_path / "got/a.zip.part.json").write_text(json.dumps({"place": "elsewhere", "checksum": MD5}))
        assert get(url).path.read_bytes() == DATA
        assert ranges(url) == ["bytes=1000-", ""]
    assert "started over" in capsys.readouterr().out


def test_a_wrong_checksum_is_named_and_the_file_kept_aside(site, get, tmp_path):
    with serve(site, wrong={"a.zip"}) as url:
        with pytest.raises(
            RetimbreError,
            match=r"a.zip: what 127.0.0.1 sent has the md5 \w+, not \w+ \(kept as .*a.zip.bad\)",
        ):
            get(url)
        assert len(ranges(url)) == 1
    assert {path.name for path in (tmp_path / "got").iterdir()} == {"a.zip.bad"}


def test_a_damaged_file_of_before_is_replaced(site, get, tmp_path):
    with serve(site) as url:
        path = get(url).path
        path.write_bytes(b"x" + DATA[1:])
        os.utime(path, ns=(1, 1))
        assert get(url).path.read_bytes() == DATA
        assert (tmp_path / "got/a.zip.bad").read_bytes() == b"x" + DATA[1:]


def test_the_next_location_is_tried(site, get, capsys):
    with serve(site, wrong={"a.zip"}) as bad, serve(site) as good:
        more = (Location(f"{bad}/a.zip", MD5, published=False), Location(f"{good}/a.zip", MD5))
        assert get(f"{good}/nowhere", more=more).path.read_bytes() == DATA
    assert "the next place is tried" in capsys.readouterr().out


def test_other_sizes_than_published_are_refused_before_the_download(site, get):
    with (
        serve(site) as url,
        pytest.raises(RetimbreError, match="offers 300,000 bytes, but the file has 300,001"),
    ):
        get(url, size=300_001)


def test_404_and_machines_without_network_are_one_sentence(site, get, monkeypatch):
    with (
        serve(site) as url,
        pytest.raises(
            RetimbreError,
            match="^a.zip: 127.0.0.1 answers 404 Not Found: try later or give dataset.archives.$",
        ),
    ):
        get(f"{url}/nowhere")
    with pytest.raises(
        RetimbreError,
        match="cannot reach 127.0.0.1 .connection refused.: check the network or give dataset.archives.$",
    ):
        get(url)

    def unknown(*_, **__):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(
        RetimbreError, match=r"cannot reach music.example \(its name does not resolve\): check the network"
    ):
        get("http://music.example")


def test_proxies_of_the_environment_are_used(site, get, monkeypatch):
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with serve(site) as proxy:
        monkeypatch.setenv("http_proxy", proxy)
        assert get("http://music.example").path.read_bytes() == DATA
        assert proxy.asked[0][1] == "/a.zip"
    with pytest.raises(RetimbreError, match="cannot reach the proxy for other.example"):
        get("http://other.example", name="b.zip")


def test_waiting_honours_the_server_and_grows():
    assert web.wait_s_of(0, Patience(), 7.0) == 7.0
    assert web.wait_s_of(0, Patience(), 1e9) == 600
    for failures in range(12):
        low, high = 0.5 * min(2**failures, 120), 1.5 * min(2**failures, 120)
        assert all(low <= web.wait_s_of(failures, Patience(), None) <= high for _ in range(20))


def test_between_attempts_it_waits_as_long_as_the_server_says_else_longer_each_time(site, tmp_path):
    waits = []

    class Clock(threading.Event):
        def wait(self, seconds=None):
            waits.append(seconds)
            return False

    with serve(
        site, errors=[(429, {"Retry-After": "77"}), (500, {}), (503, {}), (503, {"Retry-After": "soon"})]
    ) as url:
        downloads = Downloads(tmp_path / "got", 1, Patience())
        downloads.stop = Clock()
        downloads.fetch([Wanted("a.zip", (Location(f"{url}/a.zip", MD5),))])
    assert waits[0] == 77
    assert [low <= wait <= 3 * low for low, wait in zip((1, 2, 4), waits[1:], strict=True)] == [True] * 3


def test_files_are_downloaded_at_the_same_time_up_to_the_limit(site, tmp_path):
    running, most, lock = [0], [0], threading.Lock()
    for i in range(8):
        (site / f"{i}.bin").write_bytes(DATA[: 20_000 + i])

    class Counting(Downloads):
        def _transfer(self, *arguments):
            with lock:
                running[0] += 1
                most[0] = max(most[0], running[0])
            try:
                return super()._transfer(*arguments)
            finally:
                with lock:
                    running[0] -= 1

    with serve(site, rate=200_000) as url:
        files = [Wanted(f"{i}.bin", (Location(f"{url}/{i}.bin"),)) for i in range(8)]
        assert sizes(files, 4, HASTE) == {f"{i}.bin": 20_000 + i for i in range(8)}
        got = Counting(tmp_path / "got", 3, HASTE).fetch(files)
    assert most[0] == 3
    assert all(got[f"{i}.bin"].path.read_bytes() == DATA[: 20_000 + i] for i in range(8))


def test_one_failure_stops_the_others_and_they_can_be_continued(site, tmp_path):
    (site / "slow.bin").write_bytes(DATA)
    with serve(site, rate=400_000) as url:
        slow, missing = (
            Wanted("slow.bin", (Location(f"{url}/slow.bin"),)),
            Wanted("no.bin", (Location(f"{url}/no.bin"),)),
        )
        with pytest.raises(RetimbreError, match="no.bin: .*404"):
            Downloads(tmp_path / "got", 2, HASTE).fetch([slow, missing])
        size = (
            (tmp_path / "got/slow.bin.part").stat().st_size
            if (tmp_path / "got/slow.bin.part").exists()
            else 0
        )
        assert size < len(DATA)
        time.sleep(0.1)
        url.manners.rate = None
        assert Downloads(tmp_path / "got", 2, HASTE).fetch([slow])["slow.bin"].path.read_bytes() == DATA


def archives(place, name="toy"):
    return Archives(place, name, lambda url: read_text(url, HASTE))


def test_a_folder_or_mirror_is_looked_into_first(site, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    file = RemoteFile("a.zip", "http://music.example/a.zip", 12345, "md5:" + "0" * 32)
    assert [location.place for location in archives(None).locations(file)] == [file.url]
    own = archives("site").locations(file)
    assert [(x.place, x.local, x.checksum) for x in own] == [
        (str(site / "a.zip"), True, file.checksum),
        (file.url, False, file.checksum),
    ]
    write_sums(site)
    sha = f"sha256:{hashlib.sha256(DATA).hexdigest()}"
    own = archives(site.as_uri()).locations(file)
    assert (own[0].checksum, own[0].size, own[1].checksum) == (sha, None, file.checksum)
    assert "SHA256SUMS replaces the published checksums" in capsys.readouterr().out
    got = Downloads(tmp_path / "got", 2, HASTE).fetch([Wanted("a.zip", tuple(own))])["a.zip"]
    assert got.path == site / "a.zip", "used where it is"
    (site / "toy").mkdir()
    (site / "a.zip").rename(site / "toy" / "a.zip")
    write_sums(site)
    with serve(site) as url:
        first = archives(f"{url}/").locations(file)[0]
        assert (first.place, first.checksum) == (f"{url}/toy/a.zip", sha)
        got = Downloads(tmp_path / "got", 2, HASTE).fetch(
            [Wanted("a.zip", tuple(archives(url).locations(file)))]
        )["a.zip"]
        assert got.path.read_bytes() == DATA


def test_a_wrong_file_of_the_users_is_named_and_stays(site, tmp_path):
    file = RemoteFile("a.zip", "http://music.example/a.zip", checksum="md5:" + "0" * 32)
    wanted = Wanted("a.zip", tuple(archives(str(site)).locations(file)))
    with pytest.raises(
        RetimbreError,
        match="site/a.zip has the md5 .*, not 0+: replace or remove it, or list it in a SHA256SUMS",
    ):
        Downloads(tmp_path / "got").fetch([wanted])
    assert (site / "a.zip").read_bytes() == DATA


def test_passwords_of_mirrors_are_not_printed(site, capsys):
    write_sums(site)
    with serve(site) as url:
        archives(url.replace("//", "//user:secret@"))
    said = capsys.readouterr().out
    assert "SHA256SUMS replaces" in said and "secret" not in said


def test_archives_that_are_not_there_and_damaged_sums_are_named(site, tmp_path, monkeypatch):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    with pytest.raises(RetimbreError, match="dataset.archives: .*nowhere is not a folder"):
        archives("nowhere")
    with pytest.raises(
        RetimbreError, match="dataset.archives: ~nobody-of-this-name/x leads nowhere .* give another path"
    ):
        archives("~nobody-of-this-name/x")
    with pytest.raises(
        RetimbreError, match="dataset.archives: ftp://host/x is no http, https or file address"
    ):
        archives("ftp://me:secret@host/x")
    with pytest.raises(
        RetimbreError, match="cannot reach 127.0.0.1 .* check the network and dataset.archives"
    ):
        archives("http://127.0.0.1:9")
    with pytest.raises(RetimbreError, match="x/SHA256SUMS line 2 is not a SHA-256 and a name"):
        parse_sums("# comment\nabc  file\n", "x/SHA256SUMS")
    digits = "A" * 64
    assert parse_sums(f"{digits} *./my file.zip\n\n", "x") == {"my file.zip": f"sha256:{digits.lower()}"}


def test_a_long_wait_is_announced(site, tmp_path, capsys, monkeypatch):
    """Else a server that is down looks like a program that hangs."""
    monkeypatch.setattr(web, "PATIENT_S", 0.0)
    write_sums(site)
    with serve(site, errors=[(503, {}), (200, {})]) as url:
        archives(str(url))
    assert "127.0.0.1 answers 503 Service Unavailable; another attempt in 0 s" in capsys.readouterr().out
    name = sorted(path.name for path in site.iterdir() if path.name != "SHA256SUMS")[0]
    with serve(site, errors=[(503, {})]) as url:
        Downloads(tmp_path / "kept", patience=HASTE).fetch([Wanted(name, (Location(f"{url}/{name}"),))])
    assert (
        f"{name}: 127.0.0.1 answers 503 Service Unavailable; another attempt in 0 s"
        in capsys.readouterr().out
    )
