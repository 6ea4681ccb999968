"""The forest and distances between sets, on made-up instruments in a training split."""

import pickle
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from retimbre.audio.features import FeatureConfig
from retimbre.classifiers.forest import CLIP_FRAMES, ForestClassifier, training_clips
from retimbre.datasets.packed.format import Excerpt, FeatureWriter, PackedFeatures
from retimbre.errors import RetimbreError
from retimbre.evaluation.bench import sets
from retimbre.evaluation.bench.scoring import Output, Result, Scored
from retimbre.metrics import distribution as dist
from retimbre.provenance import digest

BINS, FRAMES = 40, 32
CONFIG = FeatureConfig(16000, 256, "retimbre", 32.7, 84, 12, 1024, BINS, 60.0)
TILT = {"harp": -1.0, "half": 0.25, "organ": 0.5}  # dB per band
DOMAINS = ["harp", "organ"]


def levels(domain, seed, frames=700):
    """Log-mel levels (T, F): noise round the instrument's slope, whose colour varies and drifts."""
    rng = np.random.default_rng([seed, list(TILT).index(domain)])
    shapes = np.cos(np.pi * np.arange(1, 4)[:, None] * np.arange(BINS) / BINS)
    drift = rng.normal(0, 2, 3) + rng.normal(0, 2, (-(-frames // FRAMES), 3)).repeat(FRAMES, axis=0)[:frames]
    noise = drift @ shapes + rng.normal(0, 3, (frames, BINS))
    return (-20 + TILT[domain] * np.arange(BINS) + noise).astype(np.float16)


class Ear:
    """The style classifier's embedding, made of the spectrum itself."""

    window_frames = FRAMES

    def embed_windows(self, mel_db):
        starts = range(0, mel_db.shape[1] - FRAMES + 1, FRAMES // 2)
        return np.stack([mel_db[::2, s : s + FRAMES].mean(axis=1) for s in starts]).astype(np.float32)


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    folder = tmp_path_factory.mktemp("features")
    with FeatureWriter(folder, CONFIG.to_dict(), shard_mb=10) as writer:
        for domain in DOMAINS:
            for i in range(6):
                excerpt = Excerpt(f"{domain}{i}", domain, "train", f"tune{i}", "", 0, 0, 0)
                writer.add(excerpt, {"mel": levels(domain, i)})
        writer.set_statistics({"mel": {"top_db": 0.0}})
    return PackedFeatures(folder)


@pytest.fixture(scope="module")
def forest(features):
    return ForestClassifier.fit(features, DOMAINS, FRAMES, 1)


@pytest.fixture(scope="module")
def real(features):
    return sets.fit_real(features, Ear(), DOMAINS)


def scored(mel_db):
    windows = Ear().embed_windows(mel_db)
    mfcc, frames = dist.mfcc_windows(mel_db, FRAMES), dist.thinned_frames(mel_db)
    return Scored({}, windows.mean(axis=0), None, windows, mfcc, frames)


def results(pieces=6):
    """Outputs from harp to organ: the controls, a system half way and a collapsed one."""
    made = []
    for i in range(pieces):
        where = {"direction": "harp_to_organ", "target_domain": "organ"}
        item = SimpleNamespace(**where, piece=f"p{i}", stratum="mono")
        played = {"copy": "harp", "oracle": "organ", "half": "half", "collapsed": "organ"}
        for name, domain in played.items():
            mel_db = levels(domain, 100 + i * (name != "collapsed")).T.astype(np.float32)
            made.append(Result(name, item, Output(np.zeros(1), None, 0.0), scored(mel_db)))
    return made


@pytest.fixture(scope="module")
def records(real):
    return sets.set_records(results(), real)


def test_training_clips_are_spread_and_bounded(features):
    clips = list(training_clips(features, "harp", 100, FRAMES))
    assert [number for number, _ in clips] == [i for i in range(6) for _ in range(2)]
    assert {x.shape for _, x in clips} == {(BINS, CLIP_FRAMES), (BINS, 700 - CLIP_FRAMES)}
    assert [number for number, _ in training_clips(features, "harp", 3, FRAMES)] == [0, 3, 5]
    with pytest.raises(RetimbreError, match="900 frames long"):
        list(training_clips(features, "harp", 3, 900))


def test_the_forest_knows_the_instruments(forest):
    for domain, other in (("harp", "organ"), ("organ", "harp")):
        x = dist.mfcc_windows(levels(domain, 50).T.astype(np.float32), FRAMES)
        assert forest.style_target_rate(x, domain) > 0.9 and forest.style_target_rate(x, other) < 0.1
        assert forest.style_target_rate(x, domain, silent=True) == 0
    with pytest.raises(RetimbreError, match="harp, organ"):
        forest.style_target_rate(x, "banjo")


def test_a_forest_travels_ungrown_and_answers_the_same(forest):
    x = dist.mfcc_windows(levels("half", 60).T.astype(np.float32), FRAMES)
    before = forest.forest.predict_proba(x)
    packed = pickle.dumps(forest)
    assert len(packed) < forest.examples.nbytes + forest.labels.nbytes + 5000
    again = pickle.loads(packed)
    np.testing.assert_array_equal(again.forest.predict_proba(x), before)
    assert digest(again) == digest(forest)


def test_reference_and_held_out_are_different_recordings(real):
    for one in real.values():
        assert not set(one.reference.recordings) & set(one.held_out.recordings)
        assert len(one.reference.clf) == len(one.reference.mfcc) == len(one.reference.recordings)
        assert len(one.held_out.first(7).clf) == 7


def value(records, system, metric):
    key = (system, metric, "all")
    (found,) = (r["value"] for r in records if (r["system"], r["metric"], r["item"]) == key)
    return found


def test_sets_are_one_row_per_system_and_direction(records):
    keys = [(r["system"], r["direction"], r["item"], r["metric"]) for r in records]
    assert len(keys) == len(set(keys))
    assert {r["stratum"] for r in records if r["item"] == "all"} == {"any"}
    assert value(records, "copy", "style_n_windows") == 6 * 42
    assert value(records, "copy", "style_fad_dim") == 16


@pytest.mark.parametrize(
    "metric", ["style_kad_clf", "style_kad_mfcc", "style_fad_clf", "style_fad_mfcc", "style_jsd"]
)
def test_the_nearer_to_the_target_the_smaller_the_distance(records, metric):
    values = [value(records, system, metric) for system in ("oracle", "half", "copy")]
    assert values == sorted(values) and values[-1] > 2 * values[0]


def test_real_recordings_stand_beside_at_the_same_number_of_windows(records):
    for name in ("kad_clf", "kad_mfcc", "fad_clf", "fad_mfcc"):
        band = {value(records, system, f"style_{name}_real") for system in ("copy", "oracle", "half")}
        assert len(band) == 1 and band.pop() < value(records, "copy", f"style_{name}") / 2
    assert value(records, "copy", "style_kad_clf_low") > value(records, "oracle", "style_kad_clf_high")


def test_collapse_shows_in_recall_and_coverage(records):
    assert value(records, "collapsed", "style_recall") < value(records, "oracle", "style_recall")
    assert value(records, "collapsed", "style_coverage") < value(records, "oracle", "style_coverage")


def test_shift_is_0_for_the_source_and_1_for_the_target_instrument(records):
    mean = {
        s: np.mean([r["value"] for r in records if (r["system"], r["metric"]) == (s, "style_shift")])
        for s in ("copy", "oracle", "half")
    }
    assert mean["copy"] == 0 and mean["oracle"] == pytest.approx(1) and 0.2 < mean["half"] < 1.0


def test_no_shift_without_controls_and_no_frechet_distance_of_few_windows(real):
    short = scored(levels("organ", 3, 200).T.astype(np.float32))
    few = [replace(r, scored=short) for r in results(1) if r.system == "half"]
    found = {r["metric"]: r["value"] for r in sets.set_records(few, real)}
    assert "style_shift" not in found and found["style_n_windows"] == 11
    assert np.isnan(found["style_fad_clf"]) and np.isfinite(found["style_kad_clf"])
