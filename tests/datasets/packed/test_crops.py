"""Crops of a tiny rendered set's features and audio."""

import librosa
import numpy as np
import pytest
import torch

from retimbre.datasets.packed.crops import AudioFeatureCrops, FeatureCrops
from retimbre.datasets.packed.format import PackedAudio
from retimbre.datasets.preparation import resampling
from retimbre.errors import RetimbreError
from tests.toys.prepared import ONE, audio_params


def crops(data, **changes):
    values = dict(
        representation="cqt", domain="piano", split="train", frames=64, batch_size=4, seed=7, stream=0
    )
    return FeatureCrops(data.features, **(values | changes))


def test_crops_are_places_of_the_data(data):
    source = crops(data)
    batch = source.batch(3)
    assert batch.shape == (4, 84, 64)
    assert batch.dtype.is_floating_point and batch.is_contiguous()
    places = source.positions.draw(np.random.default_rng([7, 0, 3]), 4)
    for crop, (e, start) in zip(batch.numpy(), places, strict=True):
        assert (e.domain, e.split) == ("piano", "train")
        assert np.array_equal(
            crop, data.features.read(e, start, start + 64, representation="cqt").astype(np.float32).T
        )


def test_batch_n_is_the_same_whenever_it_is_drawn(data):
    one, two = crops(data), crops(data)
    later = [one.batch(step) for step in range(5)][4]
    assert later.equal(two.batch(4))
    assert not later.equal(two.batch(3))
    assert not later.equal(crops(data, stream=1).batch(4))
    assert not later.equal(crops(data, seed=8).batch(4))


def test_two_representations_draw_the_same_places(data):
    mel, stft = crops(data, representation="mel").batch(0), crops(data, representation="stft").batch(0)
    level = np.corrcoef(mel.mean(dim=1).ravel(), stft.mean(dim=1).ravel())[0, 1]
    assert level > 0.7


def test_shares_of_several_processes_are_the_batch_of_one(data):
    def drawn(part):
        return crops(data, part=part).batch(3)

    whole, first, second = drawn((0, 1)), drawn((0, 2)), drawn((1, 2))
    assert whole.shape[0] == 4 and not first.equal(second)
    assert whole.equal(torch.cat([first, second]))
    with pytest.raises(RetimbreError, match="a batch of 4 crops does not divide among 3 processes"):
        drawn((0, 3))


def test_positions_reach_every_place_and_no_other(data):
    positions = crops(data, frames=200).positions
    drawn = positions.draw(np.random.default_rng(0), 20_000)
    for e in positions.excerpts:
        starts = {start for other, start in drawn if other == e}
        assert min(starts) == 0
        assert max(starts) == e.length - 200


def test_crops_longer_than_every_excerpt_are_refused(data):
    with pytest.raises(
        RetimbreError,
        match=r"no train piano excerpt is 5000 frames long \(the longest has \d+\): give longer recordings",
    ):
        crops(data, frames=5000)


def test_audio_and_features_of_a_crop_belong_together(data):
    source = AudioFeatureCrops(
        data.audio, data.features, ["stft", "cqt"], ["piano", "guitar"], "train", 16, 6, 3, 40
    )
    batch = source.batch(11)
    assert batch["audio"].shape == (6, 16 * 256)
    assert batch["stft"].shape == (6, 513, 17)
    assert batch["cqt"].shape == (6, 84, 17)
    assert set(batch["domain"].tolist()) == {0, 1}
    # Frames far enough from the crop's ends see audio of the crop only: recomputed, they must be the same.
    for x, db in zip(batch["audio"].numpy(), batch["stft"].numpy(), strict=True):
        own = 20 * np.log10(np.maximum(np.abs(librosa.stft(x, n_fft=1024, hop_length=256)), 1e-5))[:, 3:-3]
        db = db[:, 3:-3]
        loud = own > own.max() - 50
        assert np.std((own - db)[loud]) < 0.1
    assert all(a.equal(b) for a, b in zip(batch.values(), source.batch(11).values(), strict=True))


def test_features_of_other_audio_are_refused(data, tiny_raw, tmp_path):
    resampling.pack(tiny_raw.folder, tmp_path / "other", audio_params(max_excerpt_s=3.0), ONE)
    with pytest.raises(RetimbreError, match="run `dvc repro features`"):
        AudioFeatureCrops(
            PackedAudio(tmp_path / "other"), data.features, ["cqt"], ["piano"], "train", 16, 2, 0, 0
        )
