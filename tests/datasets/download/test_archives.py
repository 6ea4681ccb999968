"""Unpacking: what a good archive gives, and that none writes outside its target or leaves half a folder."""

import io
import os
import shutil
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from retimbre.datasets.download import archives
from retimbre.datasets.download.archives import safe_name, unpack
from retimbre.errors import RetimbreError

GOOD = {"set/a.wav": b"a" * 5000, "set/deep/er/b.txt": b"b", "c.bin": bytes(range(256)) * 300, "empty": b""}
TARS = {"tar": "w", "tar.gz": "w:gz", "tgz": "w:gz", "tar.bz2": "w:bz2", "tar.xz": "w:xz"}
FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def make_zip(path, files, **options):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in files.items() if isinstance(files, dict) else files:
            info = zipfile.ZipInfo(name) if isinstance(name, str) else name
            info.compress_type = options.get("method", zipfile.ZIP_DEFLATED)
            file.writestr(info, data)
    return path


def make_tar(path, entries, mode="w", format=tarfile.PAX_FORMAT):
    """``entries``: (name, data) for files, or TarInfo."""
    with tarfile.open(path, mode, format=format) as file:
        for entry in entries:
            if isinstance(entry, tarfile.TarInfo):
                file.addfile(entry)
            else:
                info = tarfile.TarInfo(entry[0])
                info.size = len(entry[1])
                file.addfile(info, io.BytesIO(entry[1]))
    return path


def tar_info(name, kind, linkname="", **more):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, linkname
    for key, value in more.items():
        setattr(info, key, value)
    return info


def tree(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def everything(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def refused(archive, tmp_path, match):
    """The archive is refused in one sentence and nothing is left."""
    before = everything(tmp_path)
    with pytest.raises(RetimbreError, match=match) as refusal:
        unpack(archive, tmp_path / "out")
    assert (
        str(archive) in str(refusal.value)
        and str(refusal.value).endswith(".")
        and "\n" not in str(refusal.value)
    )
    assert everything(tmp_path) == before


@pytest.mark.parametrize("kind", ["zip", *TARS])
def test_good_archives_of_every_kind(tmp_path, kind):
    path = tmp_path / f"x.{kind}"
    make_zip(path, GOOD) if kind == "zip" else make_tar(path, GOOD.items(), TARS[kind])
    assert unpack(path, tmp_path / "out") == sorted(GOOD)
    assert tree(tmp_path / "out") == GOOD
    assert unpack(path, tmp_path / "some", ["*.wav", "set/*b.txt"]) == ["set/a.wav", "set/deep/er/b.txt"]
    with pytest.raises(RetimbreError, match="holds none of "):
        unpack(path, tmp_path / "none", ["*.mp3"])
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("kind", ["zip", *TARS])
def test_the_name_does_not_matter_and_damage_does(tmp_path, kind):
    path = tmp_path / "archive"
    make_zip(path, GOOD) if kind == "zip" else make_tar(path, GOOD.items(), TARS[kind])
    assert unpack(path, tmp_path / "first") == sorted(GOOD)
    whole = path.read_bytes()
    almost = len(whole) - (30 if kind != "tar" else 10_000)
    for length in (0, 3, len(whole) // 3, len(whole) // 2, almost):
        path.write_bytes(whole[: max(length, 0)])
        refused(path, tmp_path, "cannot be unpacked")
    path.write_bytes(b"<html>Too many requests</html>" * 50)
    refused(path, tmp_path, "it is not a zip or tar archive")


def test_a_damaged_header_in_the_middle_of_a_tar_is_not_its_end(tmp_path):
    path = make_tar(tmp_path / "x.tar", [("a", b"a" * 600), ("b", b"b" * 600)], format=tarfile.USTAR_FORMAT)
    data = bytearray(path.read_bytes())
    data[512 + 1024 + 10] ^= 0xFF
    path.write_bytes(data)
    refused(path, tmp_path, "a header is damaged")


@pytest.mark.parametrize(
    "name",
    [
        "/etc/x",
        "../x",
        "a/../../x",
        "..",
        "a\\..\\..\\x",
        "C:\\x",
        "c:/x",
        "\\\\server\\x",
        "a\nb",
        "\x1b[2J",
    ],
)
def test_names_that_lead_elsewhere_are_refused(tmp_path, name):
    refused(
        make_zip(tmp_path / "x.zip", [("good.txt", b""), (name, b"evil")]),
        tmp_path,
        "would be written outside|has no usable name",
    )
    refused(
        make_tar(tmp_path / "x.tar", [("good.txt", b""), (name, b"evil")]),
        tmp_path,
        "would be written outside|has no usable name",
    )


def test_names_are_read_in_every_encoding(tmp_path):
    assert safe_name("./a//b\\c.") == "a/b/c."
    assert safe_name("u\u0308ber.wav") == "über.wav", "as one character, whatever the archive's system wrote"
    old = make_zip(tmp_path / "old.zip", {"x.wav": b"1"})
    data = old.read_bytes()
    old.write_bytes(data.replace(b"x.wav", "ü.wa".encode()))  # UTF-8 without its flag; same number of bytes
    assert unpack(old, tmp_path / "zip") == ["ü.wa"]
    latin = make_tar(tmp_path / "latin.tar", [("x.wav", b"1")], format=tarfile.USTAR_FORMAT)
    info = tarfile.TarInfo("\udcfc.wav")
    info.size = 1
    latin.write_bytes(info.tobuf(tarfile.USTAR_FORMAT, "utf-8", "surrogateescape") + b"1" + bytes(511 + 1024))
    assert unpack(latin, tmp_path / "tar") == ["ü.wav"]


def test_links_are_never_made(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    entries = [
        ("real.txt", b"real"),
        tar_info("folder", tarfile.SYMTYPE, "../outside"),
        ("folder/planted.txt", b"through a link"),
        tar_info("inside", tarfile.SYMTYPE, "real.txt"),
        tar_info("copy.txt", tarfile.LNKTYPE, "real.txt"),
        tar_info("stolen.txt", tarfile.LNKTYPE, "nowhere.txt"),
    ]
    unpack(make_tar(tmp_path / "x.tar", entries), tmp_path / "out")
    assert tree(tmp_path / "out") == {
        "real.txt": b"real",
        "folder/planted.txt": b"through a link",
        "copy.txt": b"real",
    }
    assert not any(path.is_symlink() for path in (tmp_path / "out").rglob("*"))
    assert os.listdir(outside) == ["secret"]
    refused(
        make_tar(tmp_path / "y.tar", [tar_info("x", tarfile.LNKTYPE, "../outside/secret")]),
        tmp_path,
        "would be written outside",
    )
    link = zipfile.ZipInfo("folder")
    link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    unpack(
        make_zip(tmp_path / "x.zip", [(link, "../outside"), ("folder/planted.txt", b"x")]), tmp_path / "out2"
    )
    assert tree(tmp_path / "out2") == {"folder/planted.txt": b"x"}
    assert os.listdir(outside) == ["secret"]


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_devices_and_pipes_are_refused(tmp_path, kind):
    refused(
        make_tar(tmp_path / "x.tar", [("a", b""), tar_info("dev", kind)]),
        tmp_path,
        "'dev' is a device or pipe",
    )
    fifo = zipfile.ZipInfo("pipe")
    fifo.create_system, fifo.external_attr = 3, (stat.S_IFIFO | 0o777) << 16
    refused(make_zip(tmp_path / "x.zip", [(fifo, b"")]), tmp_path, "'pipe' is a device or pipe")


def test_permissions_of_members_are_not_taken_over(tmp_path):
    info = tar_info("run.sh", tarfile.REGTYPE, mode=0o6777)
    unpack(make_tar(tmp_path / "x.tar", [info]), tmp_path / "out")
    assert stat.S_IMODE((tmp_path / "out/run.sh").stat().st_mode) & 0o7111 == 0


def test_junk_of_operating_systems_is_left_out(tmp_path):
    files = {"a.wav": b"1", "__MACOSX/._a.wav": b"2", "x/.DS_Store": b"3", "x/._b.wav": b"4"}
    assert unpack(make_zip(tmp_path / "x.zip", files), tmp_path / "out") == ["a.wav"]


def test_names_that_differ_in_case_only_are_refused_and_doubles_are_not(tmp_path):
    refused(
        make_zip(tmp_path / "x.zip", {"A.wav": b"1", "a.wav": b"2"}),
        tmp_path,
        "'A.wav' and 'a.wav' differ in case only",
    )
    unpack(make_tar(tmp_path / "x.tar", [("a", b"old"), ("a", b"new")]), tmp_path / "out")
    assert tree(tmp_path / "out") == {"a": b"new"}


def test_a_file_that_is_also_a_folder_and_names_too_long_are_refused(tmp_path):
    refused(
        make_tar(tmp_path / "x.tar", [("a", b"1"), ("a/b", b"2")]),
        tmp_path,
        "a member is a file and a folder",
    )
    refused(
        make_tar(tmp_path / "y.tar", [("a/b", b"1"), ("a", b"2")]),
        tmp_path,
        "a member is a file and a folder",
    )
    refused(make_tar(tmp_path / "z.tar", [("n" * 300, b"1")]), tmp_path, "name of a member is too long")


@pytest.mark.parametrize("kind", ["zip", "tar.gz", "tar.xz", "tar.bz2"])
def test_bombs_are_stopped(tmp_path, kind, monkeypatch):
    monkeypatch.setattr(archives, "LEAST_LIMIT", 1 << 20)
    path, bomb = tmp_path / f"x.{kind}", bytes(20 << 20)
    make_zip(path, {"bomb": bomb}) if kind == "zip" else make_tar(path, [("bomb", bomb)], TARS[kind])
    assert path.stat().st_size < 100_000
    refused(path, tmp_path, "unpacks to more than 100 times its size")


def test_many_members_and_huge_headers_are_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MOST_MEMBERS", 10)
    files = {f"{i}": b"" for i in range(11)}
    refused(make_zip(tmp_path / "x.zip", files), tmp_path, "more than 10 members")
    refused(make_tar(tmp_path / "x.tar", files.items()), tmp_path, "more than 10 members")
    long = tar_info("x", tarfile.REGTYPE, pax_headers={"comment": "c" * (2 << 20)})
    refused(make_tar(tmp_path / "y.tar.gz", [long], "w:gz"), tmp_path, "a header is damaged")


def test_sizes_that_lie_are_found_out(tmp_path):
    path = make_zip(tmp_path / "x.zip", {"a": b"a" * 1000}, method=zipfile.ZIP_STORED)
    path.write_bytes(path.read_bytes().replace((1000).to_bytes(4, "little"), (900).to_bytes(4, "little")))
    refused(path, tmp_path, "cannot be unpacked")
    info = tar_info("a", tarfile.REGTYPE, size=1 << 40)
    tar = tmp_path / "x.tar"
    tar.write_bytes(info.tobuf() + b"short" + bytes(507))
    refused(tar, tmp_path, "cannot be unpacked")


def test_encrypted_archives_are_refused(tmp_path):
    path = make_zip(tmp_path / "x.zip", {"a": b"abc"})
    data = bytearray(path.read_bytes())
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    refused(path, tmp_path, "unpack and repack it by hand")


def test_what_an_interrupted_unpacking_left_is_removed(tmp_path):
    path = make_zip(tmp_path / "x.zip", GOOD)
    (tmp_path / ".out.unpacking/set").mkdir(parents=True)
    (tmp_path / ".out.unpacking/set/half").write_bytes(b"half")
    unpack(path, tmp_path / "out")
    assert tree(tmp_path / "out") == GOOD
    assert everything(tmp_path)[0] == "out", "no hidden folder is left"


# --- archives that nobody thought of ---

PARTS = st.sampled_from(
    [
        "a",
        "b",
        "A",
        "..",
        ".",
        "",
        "ü",
        "con",
        "x" * 200,
        "\\",
        "C:",
        "~",
        "\x00",
        "\udcff",
        "*",
        "a b",
        "-rf",
    ]
)
NAMES = st.lists(PARTS, min_size=1, max_size=5).map("/".join) | st.text(max_size=12)
KINDS = st.sampled_from(
    [
        tarfile.REGTYPE,
        tarfile.SYMTYPE,
        tarfile.LNKTYPE,
        tarfile.DIRTYPE,
        tarfile.FIFOTYPE,
        tarfile.GNUTYPE_SPARSE,
        b"Z",
    ]
)


@pytest.fixture
def cell(tmp_path):
    """A folder with a canary beside and above the target."""
    folder = tmp_path / "above" / "cell"
    folder.mkdir(parents=True)
    (tmp_path / "canary").write_text("alive")
    (tmp_path / "above/canary").write_text("alive")
    return tmp_path, folder


def try_to_unpack(cell, data: bytes):
    """Whatever happens is a RetimbreError or a result that lies within the target and is plain files."""
    top, folder = cell
    (folder / "archive").write_bytes(data)
    before = everything(top)
    try:
        names = unpack(folder / "archive", folder / "out")
    except RetimbreError as error:
        assert "\n" not in str(error)
        assert everything(top) == before
        return
    inside = [path for path in (folder / "out").rglob("*")]
    assert not any(path.is_symlink() or not (path.is_file() or path.is_dir()) for path in inside)
    assert names == sorted(path.relative_to(folder / "out").as_posix() for path in inside if path.is_file())
    shutil.rmtree(folder / "out")
    assert everything(top) == before
    assert (top / "canary").read_text() == (top / "above/canary").read_text() == "alive"


@FUZZ
@given(
    entries=st.lists(st.tuples(NAMES, KINDS, NAMES, st.binary(max_size=40)), max_size=6),
    mode=st.sampled_from(["w", "w:gz"]),
)
def test_hostile_tars(cell, entries, mode):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode, format=tarfile.GNU_FORMAT, errors="surrogatepass") as tar:
        for name, kind, linkname, data in entries:
            info = tar_info(name, kind, linkname)
            info.size = len(data) if kind in (tarfile.REGTYPE, b"Z") else 0
            tar.addfile(info, io.BytesIO(data))
    try_to_unpack(cell, file.getvalue())


@pytest.mark.filterwarnings("ignore:Duplicate name")
@FUZZ
@given(
    entries=st.lists(
        st.tuples(
            NAMES, st.sampled_from([0, 0o100644, 0o120777, 0o040755, 0o010644]), st.binary(max_size=40)
        ),
        max_size=6,
    )
)
def test_hostile_zips(cell, entries):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, mode, data in entries:
            info = zipfile.ZipInfo(name.replace("\udcff", "?"))
            info.create_system, info.external_attr = 3, mode << 16
            archive.writestr(info, data)
    try_to_unpack(cell, file.getvalue())


def packed(kind: str) -> bytes:
    file = io.BytesIO()
    make_zip(file, GOOD) if kind == "zip" else None
    if kind != "zip":
        with tarfile.open(fileobj=file, mode=TARS[kind]) as tar:
            for name, data in GOOD.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    return file.getvalue()


PACKED = {kind: packed(kind) for kind in ("zip", *TARS)}


@FUZZ
@given(
    kind=st.sampled_from(sorted(PACKED)),
    changes=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=8),
    cut=st.floats(0, 1) | st.none(),
    more=st.binary(max_size=30),
)
# a directory that begins before the file does
@example(kind="zip", changes=[(0.998046875, 1)], cut=None, more=b"")
def test_corrupted_archives(cell, kind, changes, cut, more):
    data = bytearray(PACKED[kind])
    for place, value in changes:
        data[min(int(place * len(data)), len(data) - 1)] = value
    if cut is not None:
        del data[int(cut * len(data)) :]
    try_to_unpack(cell, bytes(data + more))


@FUZZ
@given(
    head=st.sampled_from([b"PK\x03\x04", b"PK\x05\x06", b"\x1f\x8b\x08", b"BZh9", b"\xfd7zXZ\x00", b""]),
    rest=st.binary(max_size=1500),
)
def test_noise(cell, head, rest):
    try_to_unpack(cell, head + rest)


def test_the_working_folder_is_not_touched(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    unpack(make_zip(tmp_path / "x.zip", GOOD), tmp_path / "out")
    assert list(Path().iterdir()) == []
