"""Training and answers of the classifiers on made-up instruments that differ in spectrum *and* decay."""

import numpy as np
import pytest
import torch

from retimbre.audio.equaliser import Equaliser
from retimbre.audio.features import FeatureConfig
from retimbre.classifiers.batches import Augmentation, BeyondEqBatches, DomainBatches
from retimbre.classifiers.diagnostics import held_out_clips, questions
from retimbre.classifiers.network import save_networks
from retimbre.classifiers.panel import HARD_SURE, Classifiers, recording_scores, window_scores
from retimbre.classifiers.params import Classifier
from retimbre.classifiers.train import fit_classifier, fit_level_map
from retimbre.classifiers.windows import rate, split_windows, windows
from retimbre.datasets.packed.format import Excerpt, FeatureWriter, PackedFeatures
from retimbre.errors import RetimbreError
from tests.toys.features import run_of
from tests.toys.project import smoke

BINS, FRAMES, TOP, RANGE = 24, 32, 0.0, 60.0
PARAMS = Classifier.model_validate(smoke()["classifier"] | {"channels": 6, "learning_rate": 5e-3})
CONFIG = FeatureConfig(16000, 256, "retimbre", 32.7, BINS, 12, 1024, BINS, RANGE)


def play(domain, frames, seed):
    """Spectrum (T, F) in dB: a note every 16 frames; the harp decays and is dark, the organ neither."""
    rng = np.random.default_rng(seed)
    decay, tilt = {"harp": (2.5, -1.0), "organ": (0.1, 0.5)}[domain]
    db = np.full((frames, BINS), -60.0)
    for start in range(0, frames, 16):
        pitch, t = rng.integers(0, 6), np.arange(min(16, frames - start))
        for k in range(pitch, BINS, 5):
            db[start : start + len(t), k] = -12 + tilt * k - decay * t
    return (db + rng.normal(0, 1, db.shape)).astype(np.float16)


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    folder = tmp_path_factory.mktemp("features")
    with FeatureWriter(folder, CONFIG.to_dict(), shard_mb=1) as writer:
        for d, domain in enumerate(("harp", "organ")):
            for split, pieces in (("train", 6), ("test", 2)):
                for i in range(pieces):
                    for performance in ("1", "2") if split == "test" else ("",):
                        db = play(domain, 200, [d, i, split == "test", len(performance)])
                        name = f"{split}-{domain}-{i}{performance}"
                        excerpt = Excerpt(name, domain, split, f"{split}{i}", performance, 0, 0, 0)
                        writer.add(excerpt, {"cqt": db, "mel": db})
        clipped = {
            d: np.concatenate([play(d, 200, [k, i, 0, 0]) for i in range(6)])
            .clip(TOP - RANGE, TOP)
            .astype(float)
            for k, d in enumerate(("harp", "organ"))
        }
        moments = {
            f"{m}_db": {d: getattr(x, m)(axis=0).tolist() for d, x in clipped.items()}
            for m in ("mean", "std")
        }
        writer.set_statistics({r: {"top_db": TOP, **moments} for r in ("cqt", "mel")})
    return PackedFeatures(folder)


@pytest.fixture(scope="module")
def level_map(features):
    return fit_level_map(features, "mel", 100, run_of())


def train(features, level_map, name, steps=60, **options):
    domains = features.domains
    if name == "style":
        batches = DomainBatches(features, "mel", domains, FRAMES, 16, 1)
    else:
        batches = BeyondEqBatches(
            features, "mel", domains, name.removeprefix("hard_"), FRAMES, 16, 1, level_map
        )
    augmentation = Augmentation(1.0, 1.0, **options)
    return fit_classifier(name, batches, PARAMS, TOP, RANGE, steps, augmentation, run_of(log_every=20))


@pytest.fixture(scope="module")
def classifiers(features, level_map, tmp_path_factory):
    folder = tmp_path_factory.mktemp("classifier")
    networks = {
        name: train(features, level_map, name, 250)[0] for name in ("style", "hard_harp", "hard_organ")
    }
    networks["instrument"] = networks["style"]
    known = {"features": features.config.to_dict(), "domains": features.domains}
    description = {**known, "window_frames": FRAMES, "representation": "mel"}
    save_networks(folder, networks, description)
    return Classifiers.load(folder)


def test_batches_are_balanced_and_depend_on_the_step_alone(features, level_map):
    domains, size = features.domains, (FRAMES, 16, 1)
    hard = BeyondEqBatches(features, "mel", domains, "harp", *size, level_map)
    for batches in (DomainBatches(features, "mel", domains, *size), hard):
        x, y = batches.batch(5)
        assert x.shape == (16, BINS, FRAMES) and y.bincount().tolist() == [8, 8]
        again, _ = batches.batch(5)
        assert torch.equal(x, again)
        assert not torch.equal(x, batches.batch(6)[0])


def test_equaliser_gives_the_targets_statistics(features):
    source = torch.cat([w for w in split_windows(features, "mel", "harp", "train", 50)], dim=1)
    equaliser = Equaliser.between(features.statistics["mel"], "harp", "organ", RANGE)
    wanted_mean, wanted_std = (
        torch.tensor(features.statistics["mel"][k]["organ"]) for k in ("mean_db", "std_db")
    )
    assert (equaliser.shift(source).mean(1) - wanted_mean).abs().mean() < 3  # clipping moves it a little
    assert (equaliser.affine(source).std(1) - wanted_std).abs().mean() < 0.7 * (
        source.std(1) - wanted_std
    ).abs().mean()
    assert (source.mean(1) - wanted_mean).abs().mean() > 6
    assert equaliser.shift(source).max() <= TOP and equaliser.shift(source).min() >= TOP - RANGE


def test_level_map_learns_what_recordings_are_like(features, level_map):
    """Both representations are the same here, so the map should come near the identity."""
    x = split_windows(features, "cqt", "harp", "test", 50).clamp(min=TOP - RANGE)
    assert (level_map(x) - x).abs().mean() < 0.5 * (x - x.mean()).abs().mean()


def test_training_is_reproducible_and_learns(features):
    (one, history), (two, _) = (train(features, None, "style", 40) for _ in range(2))
    assert all(
        torch.equal(a, b) for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True)
    )
    assert [row["step"] for row in history] == [20, 40]
    assert history[-1]["style/loss"] < history[0]["style/loss"]


def test_an_equaliser_fools_the_style_classifier_more_than_the_hard_one(features, classifiers):
    for target, source in (("harp", "organ"), ("organ", "harp")):
        equaliser = Equaliser.between(features.statistics["mel"], source, target, RANGE)
        real, fake = (split_windows(features, "mel", d, "test", FRAMES) for d in (target, source))
        hard = classifiers.networks[f"hard_{target}"]
        assert rate(classifiers.networks["style"], real, target) > 0.9
        assert rate(hard, real, target, HARD_SURE) > 0.7
        assert rate(hard, equaliser.shift(fake), target, HARD_SURE) <= 0.1
        assert rate(hard, equaliser.affine(fake), target, HARD_SURE) <= 0.1


def test_classifiers_answer_for_whole_clips(features, classifiers):
    for target, source in (("harp", "organ"), ("organ", "harp")):
        clips = (
            features.read(features.excerpts(d, "test", "1")[0], representation="mel")
            for d in (target, source)
        )
        true, other = (x.T.astype(np.float32) for x in clips)
        assert classifiers.style_target_rate(true, target) > 0.8
        assert classifiers.style_beyond_eq(true, target) > 0.6
        assert classifiers.style_target_rate(other, target) < 0.2
        assert classifiers.style_beyond_eq(other, target) < 0.2


def test_probabilities_and_windows_of_clips(features, classifiers):
    true = features.read(features.excerpts("harp", "test", "1")[0], representation="mel").T.astype(np.float32)
    p = {d: classifiers.style_probability(true, d) for d in classifiers.domains}
    assert sum(p.values()) == pytest.approx(1) and p["harp"] > 0.8
    windows_of_clip = classifiers.embed_windows(true)
    assert windows_of_clip.shape == ((true.shape[1] - FRAMES) // (FRAMES // 2) + 1, 96)
    np.testing.assert_allclose(windows_of_clip.mean(axis=0), classifiers.embed(true), rtol=1e-5)
    silence = np.full((BINS, 100), -100.0, np.float32)
    assert (
        classifiers.style_probability(silence, "harp") == classifiers.style_probability(silence, "organ") == 0
    )


def test_diagnostics_on_recordings(features, classifiers):
    asked = {q.text: q for q in questions(classifiers, features)}
    assert list(asked) == [
        "instrument classifier: harp?",
        "style classifier: harp?",
        "hard classifier: harp, not equalised organ?",
        "hard classifier: organ, not equalised harp?",
    ]
    assert all(len(q.truth) == 24 and q.truth.sum() == 12 and q.auc > 0.9 for q in asked.values())
    clips = held_out_clips(classifiers, features)
    assert {d: [x.shape for x in of] for d, of in clips.items()} == {
        d: [(BINS, 200)] * 2 for d in ("harp", "organ")
    }


def test_rate_needs_certainty(features, classifiers):
    x = split_windows(features, "mel", "harp", "test", FRAMES)
    rates = [rate(classifiers.networks["hard_harp"], x, "harp", sure) for sure in (0.0, 0.5, 0.9, 1.1)]
    assert rates == sorted(rates, reverse=True) and rates[-1] == 0
    assert np.isnan(rate(classifiers.networks["style"], x[:0], "harp"))


def test_silence_is_not_the_target(classifiers):
    silence = np.full((BINS, 100), -100.0, np.float32)
    for target in classifiers.domains:
        assert (
            classifiers.style_target_rate(silence, target)
            == classifiers.style_beyond_eq(silence, target)
            == 0
        )


def test_short_clips_and_unknown_targets(classifiers):
    clip = play("harp", 10, 1).T.astype(np.float32)
    assert 0 <= classifiers.style_target_rate(clip, "harp") <= 1
    assert classifiers.embed(clip).shape == (96,)
    with pytest.raises(RetimbreError, match="harp, organ"):
        classifiers.style_beyond_eq(clip, "banjo")


def test_scores_on_recordings(features, level_map, classifiers):
    scores, table = window_scores(classifiers.networks["style"], features, "mel", FRAMES)
    assert scores["n_windows"] == len(table) == 24
    assert scores["accuracy"] == pytest.approx((table.actual == table.predicted).mean())
    assert scores["auc"] > 0.95 and 0 <= scores["ece"] < 0.3
    assert scores["recall_harp"] > 0.8 and scores["recall_organ"] > 0.8
    verdicts = recording_scores(classifiers.networks, features, FRAMES, level_map)
    assert verdicts["hard_harp_real"] > verdicts["hard_harp_eq_match"]
    assert {"style_organ_real", "hard_organ_copy", "hard_organ_eq_affine_decoded"} <= set(verdicts)
    assert all(0 <= v <= 1 for v in verdicts.values())


def test_one_performance_of_each_test_piece_counts(features):
    assert len(split_windows(features, "mel", "harp", "test", FRAMES)) == 2 * (200 // FRAMES)
    assert windows(np.zeros((10, BINS), np.float16), FRAMES).shape == (0, BINS, FRAMES)
    assert windows(np.zeros((64, BINS), np.float16), FRAMES, 16).shape == (3, BINS, FRAMES)


@pytest.mark.parametrize("decoded", [False, True])
def test_augmentation_keeps_shape_and_is_seeded(decoded):
    x = torch.from_numpy(np.stack([play("harp", 40, i).T for i in range(4)]).astype(np.float32))
    augment = Augmentation(1.5, 1.0, decoded)
    y = augment(x, np.random.default_rng(1))
    assert y.shape == x.shape and y.dtype == torch.float32 and torch.isfinite(y).all()
    assert torch.equal(y, augment(x, np.random.default_rng(1)))
    assert not torch.equal(y, augment(x, np.random.default_rng(2)))
    nothing = Augmentation(0.0, 0.0)(x, np.random.default_rng(1))
    assert torch.equal(nothing, x)
