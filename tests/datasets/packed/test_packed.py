"""Packed shards: what is written is read back, in any sharding; unfinished and damaged ones are refused."""

import gc
import threading
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from retimbre.datasets.packed.format import (
    AudioWriter,
    Excerpt,
    FeatureWriter,
    PackedAudio,
    PackedFeatures,
    ShardFile,
    mapped,
)
from retimbre.errors import RetimbreError

CONFIG = dict(
    sample_rate=16000, hop_length=256, cqt_backend="retimbre", cqt_fmin_hz=32.7, cqt_bins=6,
    cqt_bins_per_octave=12, stft_n_fft=16,
    mel_bins=4, range_db=60,
)  # fmt: skip
BINS = {"cqt": 6, "mel": 4, "stft": 9}
excerpts = st.lists(
    st.tuples(st.sampled_from(["piano", "guitar"]), st.sampled_from(["train", "test"]), st.integers(1, 400)),
    min_size=1,
    max_size=20,
)
anywhere = settings(
    deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@anywhere
@given(
    rows=excerpts,
    shard_mb=st.sampled_from([0.0005, 0.001, 1]),
    cut=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_audio_round_trip(tmp_path, rows, shard_mb, cut):
    rng = np.random.default_rng(0)
    written = [rng.integers(-32768, 32768, length).astype(np.int16) for *_, length in rows]
    with AudioWriter(tmp_path / "audio", 16000, 0.1, shard_mb) as writer:
        for number, ((domain, split, _), samples) in enumerate(zip(rows, written, strict=True)):
            writer.add(samples, domain, split, f"piece, {number}", "1", gain_db=1.5, path=f"{number}.wav")
    audio = PackedAudio(tmp_path / "audio")
    assert audio.config == {"sample_rate": 16000, "rms": 0.1}
    assert len({e.id for e in audio.index}) == len(rows)
    for number, (e, row, samples) in enumerate(zip(audio.index, rows, written, strict=True)):
        assert (e.domain, e.split, e.length, e.piece, e.performance, e.gain_db) == (
            *row,
            f"piece, {number}",
            "1",
            1.5,
        )
        start, stop = sorted(int(c * e.length) for c in cut)
        assert np.array_equal(audio.read(e), samples / np.float32(32768))
        assert np.array_equal(audio.read(e, start, stop), samples[start:stop] / np.float32(32768))
    for shard in (tmp_path / "audio").glob("*.npy"):
        lengths = [e.length for e in audio.index if f"{e.split}_{e.domain}_{e.shard:03d}.npy" == shard.name]
        assert sum(lengths) * 2 <= shard_mb * 1e6 or len(lengths) == 1
        assert np.load(shard, mmap_mode="r").shape == (sum(lengths),)


@anywhere
@given(rows=excerpts, shard_mb=st.sampled_from([0.003, 1]))
def test_features_round_trip(tmp_path, rows, shard_mb):
    rng = np.random.default_rng(0)
    written = [
        {name: rng.normal(-40, 9, (t, f)).astype(np.float16) for name, f in BINS.items()} for *_, t in rows
    ]
    with FeatureWriter(tmp_path / "features", CONFIG, shard_mb) as writer:
        for number, ((domain, split, length), blocks) in enumerate(zip(rows, written, strict=True)):
            writer.add(Excerpt(f"x{number}", domain, split, "p", "", 0, 0, length), blocks)
        writer.set_statistics(dict.fromkeys(BINS, {}))
    features = PackedFeatures(tmp_path / "features")
    assert features.config.to_dict() == CONFIG
    for e, blocks in zip(features.index, written, strict=True):
        for name, block in blocks.items():
            assert np.array_equal(features.read(e, representation=name), block)
            assert np.array_equal(
                features.read(e, e.length // 2, representation=name), block[e.length // 2 :]
            )


def write_two(folder):
    with AudioWriter(folder, 16000, 0.1, 1) as writer:
        writer.add(np.arange(5, dtype=np.int16), "piano", "train", "a")
        writer.add(np.arange(7, dtype=np.int16), "piano", "test", "b", "2")
    return PackedAudio(folder)


def test_excerpts_are_selected_by_their_properties(tmp_path):
    audio = write_two(tmp_path / "a")
    assert [e.piece for e in audio.excerpts()] == ["a", "b"]
    assert [e.piece for e in audio.excerpts(domain="piano", split="test")] == ["b"]
    assert [e.piece for e in audio.excerpts(performance="")] == ["a"]
    assert [e.piece for e in audio.excerpts(performance="2")] == ["b"]
    assert audio.excerpts(domain="guitar") == []
    assert audio.domains == ["piano"]


def test_reading_outside_an_excerpt_is_refused(tmp_path):
    audio = write_two(tmp_path / "a")
    with pytest.raises(ValueError, match="not within"):
        audio.read(audio.index[0], 2, 6)
    with pytest.raises(ValueError, match="not within"):
        audio.read(audio.index[0], -1)


def test_an_error_while_writing_leaves_a_folder_that_is_refused(tmp_path):
    with pytest.raises(KeyboardInterrupt), AudioWriter(tmp_path / "a", 16000, 0.1, 1) as writer:
        writer.add(np.arange(5, dtype=np.int16), "piano", "train", "a")
        raise KeyboardInterrupt
    assert list((tmp_path / "a").iterdir()) == []
    with pytest.raises(RetimbreError, match="run `dvc repro resample`"):
        PackedAudio(tmp_path / "a")


def test_damage_is_named(tmp_path):
    audio = write_two(tmp_path / "a")
    (tmp_path / "a" / "train_piano_000.npy").write_bytes(b"garbage")
    with pytest.raises(RetimbreError, match="train_piano_000.npy is damaged"):
        audio.read(audio.index[0])
    (tmp_path / "a" / "test_piano_000.npy").unlink()
    with pytest.raises(RetimbreError, match="test_piano_000.npy does not exist"):
        audio.read(audio.index[1])
    (tmp_path / "a" / "index.csv").write_text("excerpt,domain\nx,y\n")
    with pytest.raises(RetimbreError, match="other columns"):
        PackedAudio(tmp_path / "a")
    (tmp_path / "a" / "index.csv").write_bytes(b"\xff\xfe")
    with pytest.raises(RetimbreError, match="index.csv is damaged: run `dvc repro --force resample`"):
        PackedAudio(tmp_path / "a")


def test_shards_are_plain_npy_files_whatever_their_length(tmp_path):
    file = ShardFile(tmp_path / "x.npy", "float16", (3,))
    for _ in range(1000):
        file.append(np.ones((17, 3), np.float16))
    assert not (tmp_path / "x.npy").exists()
    file.close()
    assert np.load(tmp_path / "x.npy").shape == (17000, 3)
    with pytest.raises(ValueError, match="rows of shape"):
        ShardFile(tmp_path / "y.npy", "int16").append(np.ones((2, 2), np.int16))


def test_released_pages_are_read_again(tmp_path):
    samples = np.random.default_rng(0).integers(-32768, 32768, 100_000).astype(np.int16)
    with AudioWriter(tmp_path / "audio", 16000, 0.1, 1) as writer:
        writer.add(samples, "piano", "train", "a piece")
    audio = PackedAudio(tmp_path / "audio")
    before = audio.read(audio.index[0])
    audio.release()
    np.testing.assert_array_equal(audio.read(audio.index[0]), before)
    np.testing.assert_array_equal(before, samples.astype(np.float32) / 32768)


@pytest.fixture
def busy_collector():
    """Garbage is collected all the time, and other threads run meanwhile."""

    def yield_to_others(*_):
        time.sleep(0)

    before = gc.get_threshold()
    gc.callbacks.append(yield_to_others)
    gc.set_threshold(5)
    yield
    gc.set_threshold(*before)
    gc.callbacks.remove(yield_to_others)


def test_threads_map_shards_while_garbage_is_collected(tmp_path, busy_collector):
    """Python 3.11.7 raises SystemError in some of 1600 plain ``np.load``s."""
    np.save(tmp_path / "x.npy", np.arange(10))
    failures = []

    def work(depth):
        if depth:  # threads at other depths of recursion
            return work(depth - 1)
        for _ in range(400):
            try:
                np.testing.assert_array_equal(mapped(tmp_path / "x.npy")[2:4], [2, 3])
            except SystemError as e:
                failures.append(e)

    threads = [threading.Thread(target=work, args=(depth,)) for depth in (0, 3, 6, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
