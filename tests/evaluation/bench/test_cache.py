"""What is kept: without loss, by content, damaged entries seen, the oldest dropped."""

import os
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from retimbre.evaluation.bench import cache as c
from retimbre.evaluation.bench.scoring import Output, Scored
from retimbre.metrics.notes import Transcription

FLOATS = hnp.arrays(np.float32, hnp.array_shapes(max_dims=2, max_side=6), elements=st.floats(width=32))
PLAIN = st.none() | st.booleans() | st.integers() | st.text() | st.floats()
NESTED = st.recursive(
    PLAIN | FLOATS,
    lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text(), x, max_size=3),
    max_leaves=8,
)


def equal(x, y):
    if isinstance(x, np.ndarray):
        return x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes()
    if isinstance(x, list | tuple):
        return type(x) is type(y) and len(x) == len(y) and all(map(equal, x, y))
    if isinstance(x, dict):
        return x.keys() == y.keys() and all(equal(x[k], y[k]) for k in x)
    return type(x) is type(y) and repr(x) == repr(y)


@given(NESTED)
@settings(max_examples=80, deadline=None)
def test_what_is_kept_comes_back_bit_for_bit(value):
    assert equal(c.unpack(c.pack(value)), value)


def scored():
    notes = Transcription(np.array([[0.0, 0.5]]), np.array([60.0]), np.full((4, 88), 0.25, np.float32))
    return Scored({"content_note_f1": float("nan"), "style_target_rate": 0.1}, np.arange(3.0), notes)


def test_outputs_and_scores_are_dataclasses_again_and_small():
    audio = (np.random.default_rng(0).integers(-9000, 9000, 16000) / np.float32(32768)).astype(np.float32)
    output = Output(audio, None, 1.5)
    data = c.pack(output)
    again = c.unpack(data)
    assert isinstance(again, Output) and equal(again.audio, audio)
    assert again.level_db is None and again.seconds == 1.5
    assert len(data) < 2.1 * 16000, "16-bit audio takes 16 bits"
    back = c.unpack(c.pack(scored()))
    assert isinstance(back.notes, Transcription) and np.isnan(back.values["content_note_f1"])
    assert equal(back.embedding, np.arange(3.0))


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_any_damage_is_seen(data):
    whole = c.pack(scored())
    kind = data.draw(st.sampled_from(["flip", "cut", "noise"]))
    at = data.draw(st.integers(0, len(whole) - 1))
    broken = {
        "flip": whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :],
        "cut": whole[:at],
        "noise": b"x" * at,
    }[kind]
    with pytest.raises(ValueError):
        c.unpack(broken)


@dataclass(frozen=True)
class Stranger:
    x: int = 1


def test_only_dataclasses_of_this_project_are_built():
    with pytest.raises(TypeError, match="cannot be kept"):
        c.pack(Stranger())
    with pytest.raises(ValueError, match="not a dataclass of retimbre"):
        c._decode({"class": "os:system", "fields": {}}, {})
    with pytest.raises(TypeError):
        c.pack(np.array([Stranger()], dtype=object))


def test_missing_damaged_and_trimmed_entries_count_as_none(tmp_path):
    cache = c.Cache(tmp_path, 1.0)
    assert cache.get("x", "aa1") is None
    assert cache.put("x", "aa1", {"a": 1}) and cache.get("x", "aa1") == {"a": 1}
    (tmp_path / "x" / "aa" / "aa1").write_bytes(b"rubbish")
    assert cache.get("x", "aa1") is None
    noise = np.random.default_rng(0).integers(0, 255, 400_000).astype(np.uint8)
    for number in range(4):
        cache.put("x", f"bb{number}", noise)
        os.utime(tmp_path / "x" / "bb" / f"bb{number}", ns=(number, number))
    assert cache.get("x", "bb0") is not None, "and is now the one that was used last"
    assert cache.trim() == 2
    assert [cache.get("x", f"bb{n}") is not None for n in range(4)] == [True, False, False, True]
    assert not [p for p in tmp_path.rglob("*.part")]


def test_no_cache_keeps_nothing_and_a_full_disk_is_no_error(tmp_path):
    for cache in (c.Cache(None), c.Cache(tmp_path / "off", 0)):
        assert not cache.put("x", "aa1", 1) and cache.get("x", "aa1") is None and cache.trim() == 0
    assert not (tmp_path / "off").exists()
    (tmp_path / "file").write_text("")
    cache = c.Cache(tmp_path / "file")
    assert not cache.put("x", "aa1", 1)
    assert cache.once("x", "aa1", lambda: 7) == 7


def test_stored_values_are_read_when_asked(tmp_path):
    cache = c.Cache(tmp_path)
    cache.put("scores", "aa", scored())
    stored = c.Stored(cache, "scores", "aa", values={"skill": 2.0})
    assert stored.values == {"skill": 2.0} and len(stored.notes.pitches_midi) == 1
    cache.put("scores", "aa", replace(scored(), embedding=np.zeros(9)))
    assert len(stored.embedding) == 9
    with pytest.raises(AttributeError):
        _ = stored.nothing
    cache._path("scores", "aa").unlink()
    with pytest.raises(OSError, match="run the stage again"):
        _ = stored.embedding


def test_the_projects_cache_lies_outside_the_outputs(tmp_path, monkeypatch):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    assert c.Cache.of_project(10).folder == tmp_path / ".scratch" / "evaluation"
