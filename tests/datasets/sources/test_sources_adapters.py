"""The adapters by themselves: what they list of small copies of the sets, and what they refuse."""

import hashlib
import io
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from retimbre.datasets.download import archives
from retimbre.datasets.download.checksums import split_checksum
from retimbre.datasets.download.mirrors import RemoteFile
from retimbre.datasets.sources import common, mirdata, nsynth
from retimbre.datasets.sources.base import Track
from retimbre.datasets.sources.catalogue import SOURCES, find
from retimbre.datasets.sources.collection import make_source
from retimbre.errors import RetimbreError
from retimbre.section import Machine
from tests.toys import ROOT, layouts


def place(files: list[RemoteFile], source: Path, root: Path) -> None:
    """What preparation does with a source's files, from a local folder."""
    for file in files:
        archive = source / file.name
        if file.parts:
            archive.write_bytes(b"".join((source / part.name).read_bytes() for part in file.parts))
        (root / file.folder).mkdir(parents=True, exist_ok=True)
        if file.unpack:
            archives.unpack(archive, root / ".new", file.members)
            shutil.copytree(root / ".new", root / file.folder, dirs_exist_ok=True)
            shutil.rmtree(root / ".new")
        else:
            shutil.copy(archive, root / file.folder / file.name)


@pytest.fixture
def placed(tmp_path, monkeypatch):
    """``placed(name, domains, limit_hours)``: the adapter, its layout and the folder of unpacked files."""

    def get(name: str, domains: tuple[str, ...] | None = None, limit_hours: float = 0.0):
        source, root = tmp_path / "archives", tmp_path / "root"
        source.mkdir()
        root.mkdir()
        layout = layouts.build(name, source)
        if layout.histogram:
            monkeypatch.setattr(nsynth, "HISTOGRAM", layout.histogram)
        adapter = find(name)
        domains = domains or layout.domains
        place(adapter.index_files(domains), source, root)
        place(adapter.files(domains, limit_hours, 7, root), source, root)
        return adapter, layout, root

    return get


@pytest.mark.parametrize("name", ["fma_medium", "guitarset_mix", "maestro_v2", "vctk_mic2"])
def test_variants_list_their_own_files(name, placed):
    adapter, layout, root = placed(name)
    tracks = adapter.tracks(root, layout.domains)
    assert {track.path: (track.domain, track.piece, track.split) for track in tracks} == layout.rows
    assert {track.path: track.midi for track in tracks if track.midi} == layout.midi


def test_one_domain_unpacks_its_own_files_only(placed):
    adapter, layout, root = placed("irmas", ("cello",))
    assert {path.parent.name for path in root.rglob("*.wav")} == {"cel"}
    assert {track.domain for track in adapter.tracks(root, ("cello",))} == {"cello"}


def test_maestro_with_few_hours_unpacks_few_recordings_with_their_midi(placed):
    adapter, layout, root = placed("maestro", limit_hours=25 / 3600)
    tracks = adapter.tracks(root, ("piano",))
    assert {track.split for track in tracks} == {"train", "validation", "test"}
    assert 15 < sum(track.duration_s for track in tracks) <= 25
    assert {path.suffix for path in root.rglob("2018/*")} == {".wav", ".midi"}
    assert len(list(root.rglob("*.wav"))) == len(tracks) == len(list(root.rglob("*.midi")))
    again = adapter.files(("piano",), 25 / 3600, 7, root)
    assert again == adapter.files(("piano",), 25 / 3600, 7, root)
    assert again != adapter.files(("piano",), 25 / 3600, 8, root)


def test_a_missing_file_is_named(placed):
    adapter, layout, root = placed("irmas")
    (root / "IRMAS-TrainingData/cla/004__[cla][nod][cla]0242__2.wav").unlink()
    with pytest.raises(
        RetimbreError, match=r"irmas: 1 of 60 files .* the first is .*004__\[cla\]\[nod\]\[cla\]0242__2.wav"
    ):
        adapter.tracks(root, layout.domains)


def test_names_in_another_encoding_are_found(placed):
    adapter, layout, root = placed("irmas_testing")
    true = root / "IRMAS-TestingData-Part3/Part3/Été-2.wav"
    for path in (true, true.with_suffix(".txt")):
        path.rename(path.with_name(path.name.encode("utf-8").decode("cp437")))
    names = {track.path for track in adapter.tracks(root, layout.domains) if track.split == "test"}
    assert any(name.startswith("IRMAS-TestingData-Part3") for name in names)
    assert len(names) == 3


def test_an_index_that_is_a_zip_file_is_read_and_left_alone(placed):
    adapter, layout, root = placed("tinysol")
    path = root / "mirdata/tinysol_index_6.0.json"
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("__MACOSX/._tinysol_index_6.0.json", b"junk")
        archive.writestr("tinysol_index_6.0.json", path.read_bytes())
    path.write_bytes(packed.getvalue())
    assert {track.path for track in adapter.tracks(root, layout.domains)} == set(layout.rows)
    assert path.read_bytes() == packed.getvalue()
    for content in ("[]", '{"tracks": {}}', '{"tracks": {"x": {"audio": 3}}}'):
        path.write_text(content)
        with pytest.raises(
            RetimbreError,
            match="is not mirdata's index of tinysol .*: delete this source's folder of downloads",
        ):
            adapter.tracks(root, layout.domains)


def test_nsynth_refuses_other_counts_and_mixed_instruments(placed, monkeypatch):
    adapter, layout, root = placed("nsynth")
    monkeypatch.setattr(nsynth, "HISTOGRAM", layout.histogram | {"flute": 9_423})
    with pytest.raises(RetimbreError, match=r"the tables list 21 notes of flute, the publisher 9,423"):
        adapter.tracks(root, layout.domains)
    monkeypatch.setattr(nsynth, "HISTOGRAM", layout.histogram)
    path = root / "nsynth-test/examples.json"
    path.write_text(path.read_text().replace("guitar_acoustic_001", "guitar_acoustic_000"))
    with pytest.raises(RetimbreError, match="guitar_acoustic_000 is in the training part and in another"):
        adapter.tracks(root, layout.domains)


def test_nsynth_histogram_has_all_notes():
    assert sum(nsynth.HISTOGRAM.values()) == 305_979


def test_magnatagatune_merges_tags_and_names_the_top(placed):
    adapter, layout, root = placed("magnatagatune")
    with pytest.raises(RetimbreError, match="magnatagatune does not know 'guitars'; it knows piano, guitar"):
        adapter.files(("guitars", "piano"), 0, 0, root)
    assert {track.domain for track in adapter.tracks(root, ("guitar",))} == {"guitar"}
    parts = adapter.files(("guitar",), 0, 0, root)[0].parts
    assert [part.name for part in parts] == ["mp3.zip.001", "mp3.zip.002", "mp3.zip.003"]
    assert sum(part.size for part in parts) == 2_972_769_864


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_what_an_adapter_says_of_itself(name):
    adapter = find(name)
    assert adapter.name == name
    assert all((adapter.title, adapter.homepage.startswith("https://"), adapter.licence))
    assert adapter.citation or name == "youtube"
    assert type(adapter).__doc__
    page = ROOT / "docs/datasets" / f"{SOURCES[name][1:].split(':')[0]}.md"
    text = page.read_text(encoding="utf-8")
    assert f"`{name}`" in text
    assert all(f"`{domain}`" in text for domain in adapter.domains)
    assert name == "youtube" or name in ("vctk", "vctk_mic2", "magnatagatune") or adapter.domains


@pytest.mark.parametrize("name", sorted(set(SOURCES) - {"youtube"}))
def test_files_before_anything_is_there(name, tmp_path):
    """Names, checksums and URLs are well formed; mirdata's come with its checksums."""
    adapter = find(name)
    domains = adapter.domains[:1] or ("p225",)
    files = list(adapter.index_files(domains))
    try:
        files += adapter.files(domains, 0, 0, tmp_path)
    except RetimbreError:  # an index must be there before the files are known
        assert files
    for file in [*files, *(part for whole in files for part in whole.parts)]:
        assert "/" not in file.name
        assert file.url.startswith(("https://", "http://download.magenta.tensorflow.org/")) or name in (
            "urmp",
            "magnatagatune",
        )
        if file.checksum:
            algorithm, digits = split_checksum(file.checksum)
            assert len(bytes.fromhex(digits)) == hashlib.new(algorithm).digest_size
    if name in layouts.MIRDATA:
        assert all(file.checksum.startswith("md5:") for file in files)


@pytest.mark.parametrize("name", sorted(set(SOURCES) - {"youtube", "vctk", "vctk_mic2", "magnatagatune"}))
def test_unknown_domains_are_refused_with_the_known_ones(name, dataset_params):
    with pytest.raises(RetimbreError, match="source .* does not know 'theremin'; it knows"):
        make_source(dataset_params(source=name, domains=["theremin", "spinet"]), 0, Machine())


@pytest.mark.parametrize("name", ["p1", "guitar", "p280"])
def test_unknown_speakers_are_refused(name, tmp_path):
    with pytest.raises(RetimbreError, match="has no speaker"):
        find("vctk_mic2").files((name,), 0, 0, tmp_path)


def test_a_foreign_layout_is_refused_in_one_sentence(tmp_path):
    (tmp_path / "wav48" / "p225").mkdir(parents=True)
    with pytest.raises(RetimbreError, match="no recording of 'p225' .* docs/datasets/vctk"):
        find("vctk").tracks(tmp_path, ("p225",))


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("maestro", "maestro-v3.0.0.json"),
        ("fma", "fma_metadata/tracks.csv"),
        ("musicnet", "musicnet_metadata.csv"),
        ("magnatagatune", "annotations_final.csv"),
    ],
)
def test_damaged_tables_are_named(name, file, tmp_path):
    adapter, domain = find(name), (find(name).domains or ("guitar",))[0]
    with pytest.raises(RetimbreError, match=f"{Path(file).name} is not there"):
        adapter.tracks(tmp_path, (domain,))
    (tmp_path / file).parent.mkdir(exist_ok=True)
    for content in (b"", b"id,composer\n1,Bach\n", b"\xff\xfe\x00", b'{"split": {"0": "train"}}'):
        (tmp_path / file).write_bytes(content)
        with pytest.raises(RetimbreError, match=f"{Path(file).name} "):
            adapter.tracks(tmp_path, (domain,))


def test_mirdata_is_imported_without_a_trace(tmp_path):
    """Silent, without network or handlers on the root logger; not imported before it is needed."""
    code = (
        "import logging, socket, sys\n"
        "def refuse(*_): raise AssertionError('network')\n"
        "socket.socket.connect = refuse\n"
        "from retimbre.datasets.sources.catalogue import SOURCES, find\n"
        "adapters = [find(name) for name in SOURCES]\n"
        "assert not {'mirdata', 'yt_dlp', 'librosa', 'torch'} & set(sys.modules), sys.modules.keys()\n"
        "files = [f for a in adapters for f in a.index_files(a.domains[:1])]\n"
        "assert 'mirdata' in sys.modules and len(files) > 15\n"
        "assert logging.getLogger().handlers == [] and logging.getLogger().level == logging.WARNING\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(ROOT / "src"), "HOME": str(tmp_path)},
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []


def test_without_mirdata_a_sentence_says_how_to_install_it(monkeypatch, tmp_path):
    for name in [name for name in sys.modules if name.split(".")[0] == "mirdata"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "mirdata", None)
    with pytest.raises(
        RetimbreError,
        match="dataset.source irmas needs mirdata .*pip install --no-deps -r requirements-no-deps.txt",
    ):
        find("irmas").index_files(("cello",))
    assert find("maestro").index_files(("piano",))[0].name == "maestro-v3.0.0.json"


def test_the_index_is_the_one_that_mirdata_checks():
    file = mirdata.index("irmas")
    assert (file.name, file.checksum) == ("irmas_index_1.0.json", "md5:87327f90124d36750037df6c80b19749")
    assert mirdata.remote("guitarset", "audio_mic").folder == "audio_mono-mic"


def tracks_of(seconds: float, **pieces: tuple[str, int]) -> list[Track]:
    """So many tracks of each piece, in a split."""
    each = [(piece, split, i) for piece, (split, count) in pieces.items() for i in range(count)]
    return [Track(f"{piece}/{i}.wav", "piano", piece, split, duration_s=seconds) for piece, split, i in each]


def test_a_subset_keeps_pieces_whole_and_splits_in_proportion():
    # 10 hours
    tracks = tracks_of(
        60.0, **{f"p{i}": (("train", "train", "train", "validation", "test")[i % 5], 6) for i in range(100)}
    )
    chosen = common.choose(tracks, 2.0, 3, "x")
    assert sum(t.duration_s for t in chosen) == pytest.approx(2 * 3600, rel=0.1)
    by_split = {
        split: sum(t.duration_s for t in chosen if t.split == split)
        for split in ("train", "validation", "test")
    }
    assert by_split["train"] == pytest.approx(0.6 * 2 * 3600, rel=0.15)
    assert min(by_split.values()) > 0
    for piece in {t.piece for t in chosen}:
        assert sum(t.piece == piece for t in chosen) == 6
    assert common.choose(tracks[::-1], 2.0, 3, "x") == chosen[::-1]
    assert common.choose(chosen, 2.0, 3, "x") == chosen
    assert common.choose(tracks, 0, 3, "x") == tracks


def test_a_piece_in_two_official_splits_keeps_its_larger_part(capsys):
    tracks = tracks_of(1.0, a=("train", 3), b=("test", 2)) + tracks_of(1.0, a=("test", 1))
    assert [(t.piece, t.split) for t in common.one_split(tracks, "fma")] == [("a", "train")] * 3 + [
        ("b", "test")
    ] * 2
    assert capsys.readouterr().err == "fma: 1 tracks of 1 pieces left out, which are in two official splits\n"


def test_names_of_domains():
    assert common.domain_name("Old-Time / Historic") == "old_time_historic"
    assert common.domain_name("Clarinet in B-flat") == "clarinet_in_b_flat"


def test_exact_member_names_are_patterns_of_themselves_only():
    wanted = archives.matcher(frozenset(common.members(["a/[cel][cla]1.wav", "b?.wav"])))
    assert [wanted(name) for name in ("a/[cel][cla]1.wav", "b?.wav", "a/cc1.wav", "bx.wav")] == [
        True,
        True,
        False,
        False,
    ]
