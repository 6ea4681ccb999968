"""Resampling and features of a tiny rendered set."""

import hashlib

import librosa
import numpy as np
import pytest
import soundfile

from retimbre.datasets.packed.format import PackedAudio, PackedFeatures
from retimbre.datasets.preparation import caching, resampling
from retimbre.datasets.recordings.manifest import Recording, write_manifest
from retimbre.errors import RetimbreError
from retimbre.section import Machine
from tests.toys.prepared import ONE, audio_params, feature_params


def hashes(folder):
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())}


def test_excerpts_are_levelled_and_short_enough(data):
    for e in data.audio.index:
        x = data.audio.read(e)
        assert len(x) <= 5 * 16000
        assert np.abs(x).max() <= 0.9901
        rms = np.sqrt(np.mean(x**2))
        assert rms == pytest.approx(0.1, rel=0.01) or (rms < 0.1 and np.abs(x).max() > 0.98)


def test_audio_is_the_recording_times_the_gain(data, tiny_raw):
    e = data.audio.excerpts(domain="guitar", split="test", performance="1")[0]
    x, rate = soundfile.read(tiny_raw.folder / e.path)
    expected = librosa.resample(x, orig_sr=rate, target_sr=16000, res_type="soxr_hq") * 10 ** (e.gain_db / 20)
    assert np.abs(data.audio.read(e) - expected).max() < 2e-4


def test_pairs_stay_equally_long_and_are_never_trimmed(data):
    for split in ("validation", "test"):
        first = data.audio.excerpts("piano", split)
        second = data.audio.excerpts("guitar", split)
        assert [(e.piece, e.performance, e.length) for e in first] == [
            (e.piece, e.performance, e.length) for e in second
        ]
        assert all(e.length == 2 * 16000 for e in first)


def test_long_pairs_are_cut_at_the_same_places():
    row = Recording("p.flac", "piano", "p", "test", "1", 0.5, 12.34567, 44100, "", "")
    parts = resampling.stretches(row, 16000, 5.0)
    assert len(parts) == 3
    assert parts[0].start == 8000
    assert parts[-1].stop == 8000 + round(12.34567 * 16000)
    assert all(a.stop == b.start for a, b in zip(parts, parts[1:], strict=False))
    assert max(p.stop - p.start for p in parts) <= 5 * 16000


def test_unpaired_recordings_are_trimmed_and_silent_ones_left_out(tmp_path):
    rate = 22050
    tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(rate) / rate)
    soundfile.write(tmp_path / "tone.wav", np.concatenate([np.zeros(rate), tone, np.zeros(2 * rate)]), rate)
    soundfile.write(tmp_path / "quiet.wav", np.zeros(rate), rate)
    rows = [
        Recording("tone.wav", "piano", "a", "train", "", 0.0, 4.0, rate, "", ""),
        Recording("quiet.wav", "piano", "b", "train", "", 0.0, 1.0, rate, "", ""),
    ]
    write_manifest(tmp_path, rows)
    assert resampling.pack(tmp_path, tmp_path / "out", audio_params(), ONE)["skipped"] == 1
    audio = PackedAudio(tmp_path / "out")
    assert [e.piece for e in audio.index] == ["a"]
    assert audio.index[0].length == pytest.approx(16000, abs=700)
    write_manifest(tmp_path, rows[1:])
    with pytest.raises(RetimbreError, match="all train recordings of piano"):
        resampling.pack(tmp_path, tmp_path / "out", audio_params(), ONE)


def test_features_have_the_frames_of_their_audio(data):
    for e, source in zip(data.features.index, data.audio.index, strict=True):
        assert (e.id, e.domain, e.split, e.piece, e.performance) == (
            source.id,
            source.domain,
            source.split,
            source.piece,
            source.performance,
        )
        assert e.length == source.length // 256 + 1
        for name, bins in (("cqt", 84), ("mel", 80), ("stft", 513)):
            assert data.features.read(e, representation=name).shape == (e.length, bins)


def test_stft_agrees_with_librosa(data):
    e = data.features.excerpts(split="test")[0]
    x = data.audio.read(next(a for a in data.audio.index if a.id == e.id))
    expected = (
        20
        * np.log10(
            np.maximum(np.abs(librosa.stft(x, n_fft=1024, hop_length=256, pad_mode="constant")), 1e-5)
        ).T
    )
    measured = data.features.read(e, representation="stft").astype(float)
    scale = np.median((expected - measured)[expected > 0])  # the two may differ in the window's normalisation
    inner = expected > expected.max() - 60
    assert np.abs(measured + scale - expected)[inner][2:-2].max() < 0.3


def test_statistics_are_those_of_the_training_split(data):
    for name in ("cqt", "mel", "stft"):
        statistics = data.features.statistics[name]
        tops = []
        for domain in ("piano", "guitar"):
            db = np.concatenate(
                [data.features.read(e, representation=name) for e in data.features.excerpts(domain, "train")]
            ).astype(float)
            tops.append(np.quantile(db, 0.999))
            clipped = np.clip(db, statistics["top_db"] - 60, statistics["top_db"])
            np.testing.assert_allclose(statistics["mean_db"][domain], clipped.mean(axis=0), atol=1e-3)
            np.testing.assert_allclose(statistics["std_db"][domain], clipped.std(axis=0), atol=1e-3)
        assert statistics["top_db"] == pytest.approx(max(tops), abs=0.1)


def test_a_histogram_finds_the_quantile():
    values = np.random.default_rng(0).normal(-30, 12, 50_000).astype(np.float32)
    for share in (0.1, 0.5, 0.999):
        assert caching.histogram_point(caching.level_histogram(values), share) == pytest.approx(
            np.quantile(values, share), abs=0.1
        )


def test_metrics_count_what_was_done(data):
    seconds = sum(e.length for e in data.audio.index) / 16000
    assert data.metrics["hours"] == pytest.approx(seconds / 3600, abs=1e-4)
    assert data.metrics["megabytes"] == pytest.approx(seconds * 62.5 * (84 + 80 + 513) * 2 / 1e6, rel=0.1)
    assert set(data.metrics) == {"hours", "megabytes"}, "what is equal on every run"


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_workers_do_not_change_a_byte(data, tiny_raw, tmp_path, backend):
    two = Machine(jobs=2, joblib_backend=backend)
    resampling.pack(tiny_raw.folder, tmp_path / "resampled", audio_params(), two)
    assert hashes(tmp_path / "resampled") == hashes(data.folder / "resampled")
    caching.cache_features(tmp_path / "resampled", tmp_path / "features", feature_params(), 512, two)
    assert hashes(tmp_path / "features") == hashes(data.folder / "features")


def test_sharding_changes_the_files_but_not_the_statistics(data, tmp_path):
    caching.cache_features(data.folder / "resampled", tmp_path / "features", feature_params(), 1, ONE)
    features = PackedFeatures(tmp_path / "features")
    assert len(list((tmp_path / "features").glob("stft_train_piano_*.npy"))) > 1
    assert features.statistics == data.features.statistics
    for e, other in zip(features.index, data.features.index, strict=True):
        assert np.array_equal(
            features.read(e, representation="mel"), data.features.read(other, representation="mel")
        )
