"""The manifest: round trip, fixed order, refusals."""

import dataclasses

import pytest

from retimbre.datasets.recordings.manifest import Recording, read_manifest, write_manifest
from retimbre.errors import RetimbreError

ROW = Recording(
    "train/piano/a.flac", "piano", "a", "train", "", 0.0, 1.25, 48000, "font, program 0", "free", "midi/a.mid"
)


def changed(**values):
    return dataclasses.replace(ROW, **values)


def test_round_trip_in_a_fixed_order(tmp_path):
    rows = [
        ROW,
        changed(split="test", piece="b", performance="2"),
        changed(split="test", piece="b", performance="1"),
        changed(domain="guitar"),
    ]
    write_manifest(tmp_path, rows)
    first = (tmp_path / "manifest.csv").read_bytes()
    assert set(read_manifest(tmp_path)) == set(rows)
    write_manifest(tmp_path, [*rows[2::-1], rows[3]])
    assert (tmp_path / "manifest.csv").read_bytes() == first
    # A and B, as they came
    assert [r.domain for r in read_manifest(tmp_path) if r.split == "train"] == ["piano", "guitar"]
    assert (
        first.splitlines()[0]
        == b"path,domain,piece,split,performance,start_s,duration_s,sample_rate,source,licence,midi"
    )


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"split": "dev"}, "split 'dev'"),
        ({"performance": "x"}, "performance 'x'"),
        ({"path": "../secret.wav"}, "leads out"),
        ({"duration_s": 0.0}, "must be positive"),
        ({"piece": ""}, "must not be empty"),
        ({"duration_s": float("nan")}, "must be positive"),
        ({"start_s": float("inf")}, "must be positive"),
    ],
)
def test_invalid_rows_are_refused(tmp_path, values, message):
    with pytest.raises(RetimbreError, match=message):
        write_manifest(tmp_path, [changed(**values)])
    assert not (tmp_path / "manifest.csv").exists()


def test_a_piece_in_two_splits_is_refused(tmp_path):
    with pytest.raises(RetimbreError, match="'a' is in two splits"):
        write_manifest(tmp_path, [ROW, changed(split="test")])


def test_missing_and_broken_manifests_are_refused(tmp_path):
    with pytest.raises(RetimbreError, match="does not exist: run `dvc repro download`"):
        read_manifest(tmp_path)
    (tmp_path / "manifest.csv").write_text("path,domain\n")
    with pytest.raises(RetimbreError, match="must have the columns"):
        read_manifest(tmp_path)
    write_manifest(tmp_path, [ROW])
    text = (tmp_path / "manifest.csv").read_text()
    (tmp_path / "manifest.csv").write_text(text.replace("1.250000", "long"))
    with pytest.raises(RetimbreError, match="line 2: start_s, duration_s"):
        read_manifest(tmp_path)
    for content, words in (
        (text.encode("utf-16"), "is not a CSV file in UTF-8"),
        (text.rstrip("\n").encode() + b",more\n", "line 2: it has not 11 fields"),
        (text.rpartition(",")[0].encode() + b"\n", "line 2: it has not 11 fields"),
    ):
        (tmp_path / "manifest.csv").write_bytes(content)
        with pytest.raises(RetimbreError, match=words):
            read_manifest(tmp_path)
