"""The user's own folders: what is chosen, and every fault that people bring."""

import numpy as np
import pytest
import soundfile

from retimbre.audio.folders import recording_names
from retimbre.datasets.recordings.manifest import write_manifest
from retimbre.datasets.sources.collection import make_source
from retimbre.datasets.sources.folder import split_files
from retimbre.errors import RetimbreError
from retimbre.section import Machine


def write(path, seconds, rate=8000, channels=1):
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(len(path.name) + int(seconds * 10))
    soundfile.write(path, rng.normal(0, 0.1, (round(seconds * rate), channels)), rate)


@pytest.fixture
def music(tmp_path):
    """Two folders of eight recordings of 6 s in several formats and rates, and things that are none."""
    for domain in ("flute", "harp"):
        folder = tmp_path / "my music" / domain
        for number, name in enumerate(
            ["a.wav", "b.flac", "sub/c.ogg", "d.MP3", "e.aiff", "Ärger, laut.wav", "sub/deep/g.wav", "h.wav"]
        ):
            write(folder / name, 6, rate=[8000, 16000, 44100][number % 3], channels=1 + number % 2)
        (folder / "cover.jpg").write_bytes(b"picture")
        (folder / "._a.wav").write_bytes(b"a file that macOS leaves behind")
    return tmp_path / "my music"


@pytest.fixture
def folders(music, dataset_params):
    def make(jobs=1, **changes):
        values = dict(
            source="folder",
            domains=["flute", "harp"],
            folders={d: str(music / d) for d in ("flute", "harp")},
            train_minutes=0,
        )
        return make_source(dataset_params(**(values | changes)), 1, Machine(jobs=jobs))

    return make


def seconds(recordings, **properties):
    return sum(
        r.duration_s
        for r in recordings
        if all(getattr(r, name) == value for name, value in properties.items())
    )


def test_every_format_is_taken_and_every_file_is_in_one_split(folders, tmp_path):
    recordings = folders().prepare(tmp_path / "raw")
    write_manifest(tmp_path / "raw", recordings)
    for domain in ("flute", "harp"):
        own = [r for r in recordings if r.domain == domain]
        splits = {
            split: {r.path for r in own if r.split == split} for split in ("train", "validation", "test")
        }
        assert all(splits.values())
        assert sum(map(len, splits.values())) == len(set.union(*splits.values()))
        assert len([r for r in own if r.split == "test"]) == 2
        assert all(r.duration_s == 2 for r in own if r.split != "train")
    assert all(r.performance == "" and (tmp_path / "raw" / r.path).is_file() for r in recordings)
    assert any("Ärger, laut" in r.path for r in recordings)


def test_copies_are_independent_of_the_originals(folders, music, tmp_path):
    for recording in folders().prepare(tmp_path / "raw"):
        original = music / recording.path
        assert (tmp_path / "raw" / recording.path).read_bytes() == original.read_bytes()
        assert original.stat().st_nlink == 1


def test_train_minutes_is_a_limit(folders, tmp_path):
    everything = seconds(folders().prepare(tmp_path / "a"), split="train", domain="harp")
    limited = seconds(folders(train_minutes=0.25).prepare(tmp_path / "b"), split="train", domain="harp")
    assert everything > 20
    assert limited == pytest.approx(15)


def test_the_number_of_processes_changes_nothing(folders, tmp_path):
    assert folders().prepare(tmp_path / "a") == folders(jobs=2).prepare(tmp_path / "b")


def test_held_out_excerpts_do_not_overlap(folders, tmp_path):
    recordings = folders(test_pieces=3).prepare(tmp_path / "raw")
    for path in {r.path for r in recordings if r.split == "test"}:
        starts = sorted(r.start_s for r in recordings if r.path == path)
        assert all(b - a >= 2 for a, b in zip(starts, starts[1:], strict=False))
        assert starts[0] >= 0
        assert starts[-1] + 2 <= 6.1


def test_missing_empty_and_nested_folders_are_refused(folders, music, tmp_path):
    with pytest.raises(RetimbreError, match="dataset.folders.harp: .*nowhere is not a folder"):
        folders(folders={"flute": str(music / "flute"), "harp": str(tmp_path / "nowhere")})
    (tmp_path / "empty").mkdir()
    with pytest.raises(RetimbreError, match="empty holds no recordings"):
        folders(folders={"flute": str(tmp_path / "empty"), "harp": str(music / "harp")}).prepare(
            tmp_path / "raw"
        )
    with pytest.raises(RetimbreError, match="within flute's"):
        folders(folders={"flute": str(music), "harp": str(music / "harp")})


def test_unusable_files_are_named_and_counted(folders, music, tmp_path, capsys):
    (music / "harp" / "broken.wav").write_bytes(b"RIFF nothing")
    (music / "harp" / "nothing.flac").write_bytes(b"")
    soundfile.write(music / "harp" / "silent.wav", np.zeros(8000), 8000)
    soundfile.write(music / "harp" / "nan.wav", np.full(8000, np.nan), 8000, subtype="FLOAT")
    with pytest.raises(RetimbreError, match="4 of 12 files .*broken.wav.*max_unreadable_share"):
        folders().prepare(tmp_path / "a")
    capsys.readouterr()
    recordings = folders(max_unreadable_share=0.5).prepare(tmp_path / "b")
    errors = capsys.readouterr().err
    for name in ("broken.wav", "nothing.flac", "silent.wav: it is silent", "nan.wav: holds"):
        assert name in errors
    assert "harp: 4 of 12 files were skipped" in errors
    assert not any(name in r.path for r in recordings for name in ("broken", "nothing", "silent", "nan"))


def test_all_folders_are_looked_at_before_a_file_is_decoded(folders, music, monkeypatch):
    for path in (music / "harp").rglob("*.*"):
        path.unlink()
    monkeypatch.setattr(
        "retimbre.datasets.recordings.checking.check", lambda *_, **__: pytest.fail("decoded")
    )
    with pytest.raises(RetimbreError, match="dataset.folders.harp: .* holds no recordings"):
        folders().prepare(music / "raw")


def test_channels_that_cancel_each_other_are_used_and_named(folders, music, tmp_path, capsys):
    x = np.random.default_rng(0).normal(0, 0.1, 48000)
    soundfile.write(music / "harp" / "opposite.wav", np.stack([x, -x], 1), 8000, subtype="FLOAT")
    soundfile.write(music / "harp" / "left.wav", np.stack([x, 0 * x], 1), 8000)
    recordings = folders().prepare(tmp_path / "raw")
    errors = capsys.readouterr().err
    assert "opposite.wav: has channels that cancel in their mean" in errors
    assert "left.wav" not in errors and "skipped" not in errors
    assert "harp/opposite.wav" in {r.path for r in recordings}


def test_what_is_too_short_is_said_with_the_length_that_is_needed(folders, music, tmp_path, capsys):
    write(music / "harp" / "one shot.wav", 0.8)
    with pytest.raises(RetimbreError, match=r"one shot.wav: it lasts 0.8 s, and 1.5 s are needed: join"):
        folders(max_unreadable_share=0.0).prepare(tmp_path / "a")
    recordings = folders(max_unreadable_share=0.5).prepare(tmp_path / "b")
    assert "skipped" in capsys.readouterr().err and not any("one shot" in r.path for r in recordings)


def test_links_are_followed_once(music, tmp_path, capsys):
    """Folders and files elsewhere count; circles, and second ways to a file, are passed over by name."""
    harp, elsewhere = music / "harp", tmp_path / "elsewhere"
    write(elsewhere / "x.wav", 2)
    write(elsewhere / "sub" / "y.wav", 2)
    write(tmp_path / "z.wav", 2)
    before = set(recording_names(harp))
    assert "passed over" not in capsys.readouterr().err
    (harp / "linked").symlink_to(elsewhere)
    (harp / "z.wav").symlink_to(tmp_path / "z.wav")
    for link, to in {
        harp / "again": elsewhere,
        harp / "same.wav": harp / "a.wav",
        harp / "sub" / "up": harp,
        harp / "sub2": harp / "sub",
        harp / "root": tmp_path,
        elsewhere / "circle": elsewhere,
        elsewhere / "back": harp,
        harp / "z2.wav": tmp_path / "z.wav",
    }.items():
        link.symlink_to(to)
    found = recording_names(harp)
    real = [(harp / name).resolve() for name in found]
    assert before <= set(found) and len(set(real)) == len(real)
    assert {p.name for p in real} >= {"x.wav", "y.wav", "z.wav"}
    said = capsys.readouterr().err
    for name in ("same.wav", "up", "sub2", "z2.wav"):
        assert f"{name}: it leads to what is there already" in said


def test_relative_folders_are_below_the_projects_root(folders, music, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {d: f"my music/{d}" for d in ("flute", "harp")}
    expected = folders().prepare(tmp_path / "raw")
    assert folders(folders=names).prepare(tmp_path / "raw2") == expected
    (tmp_path / "a queued experiment").mkdir()
    monkeypatch.chdir(tmp_path / "a queued experiment")
    with pytest.raises(RetimbreError, match="flute.*from the project's root .*a queued experiment"):
        folders(folders=names)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    assert folders(folders=names).prepare(tmp_path / "raw3") == expected


def test_too_few_files_and_too_little_material_are_refused_with_the_numbers(dataset_params, tmp_path):
    for domain in ("x", "y"):
        for name in ("a.wav", "b.wav"):
            write(tmp_path / domain / name, 6)
    values = dict(source="folder", domains=["x", "y"], folders={d: str(tmp_path / d) for d in ("x", "y")})
    with pytest.raises(RetimbreError, match=r"2 usable file\(s\).*at least 3"):
        make_source(dataset_params(**values), 0, Machine()).prepare(tmp_path / "raw")
    for domain in ("x", "y"):
        write(tmp_path / domain / "c.wav", 6)
    with pytest.raises(RetimbreError, match=r"6.0 s to train on \(1 file\(s\)\).*10 s"):
        make_source(dataset_params(**values), 0, Machine()).prepare(tmp_path / "raw")
    with pytest.raises(
        RetimbreError, match=r"1 file\(s\) kept for test hold 3 excerpts of 2 s.*test_pieces asks for 9"
    ):
        make_source(dataset_params(**values, test_pieces=9), 0, Machine()).prepare(tmp_path / "raw")


def test_splits_are_never_empty_and_stay_when_files_are_added():
    for count in (3, 5, 40):
        assert all(split_files([f"{n}.wav" for n in range(count)]).values())
    many = split_files([f"{n}.wav" for n in range(300)])
    more = split_files([f"{n}.wav" for n in range(330)])
    assert all(set(many[split]) <= set(more[split]) for split in many)


def test_names_are_sorted_and_hidden_files_are_passed_over(music):
    names = recording_names(music / "harp")
    assert names == sorted(names)
    assert len(names) == 8
