"""The suite on unpaired items, which have no true target: everything that needs none is measured."""

import numpy as np
import pytest

from retimbre.audio.features import FeatureConfig
from retimbre.evaluation import scoring, suite
from retimbre.evaluation.testset import Clip, Item

RATE = 16000
CONFIG = FeatureConfig(RATE, 256, "retimbre", 32.7031956626, 84, 12, 1024, 80, 60.0)


class Ear:
    """Judges that hear level only: enough to see what they are asked."""

    def style_target_rate(self, mel_db, target):
        return float(mel_db.max() > -20)

    style_beyond_eq = style_probability = style_target_rate
    window_frames = 62

    def embed_windows(self, mel_db):
        return mel_db.mean(1)[None]

    def embed(self, mel_db):
        return mel_db.mean(1)


@pytest.fixture(scope="module")
def scorer():
    from retimbre.audio.features import FeatureExtractor

    return scoring.Scorer(Ear(), FeatureExtractor(CONFIG), "cqt", 7.0)


def clip(scorer, seed, seconds=2.0):
    rng = np.random.default_rng(seed)
    t = np.arange(int(RATE * seconds)) / RATE
    f = 220 * 2 ** (rng.integers(0, 12) / 12)
    x = (0.2 * np.exp(-2 * (t % 0.5)) * np.sin(2 * np.pi * f * t)).astype(np.float32)
    return Clip(x, scorer.levels(x, "cqt"))


def item(scorer, paired):
    source, target = clip(scorer, 0), clip(scorer, 0)
    return Item("tune", "harp", "lute", "any", source, target if paired else None, clip(scorer, 1) if paired else None, clip(scorer, 2))


def test_copy_of_a_paired_item_is_perfect_on_content_and_distance(scorer):
    one = item(scorer, True)
    scores = scorer(one, scoring.Output(one.source.audio, one.source.level_db, 1.0)).values
    assert scores["content_note_f1"] == 1 and scores["feature_lsd"] == 0 and scores["paired_lsd"] == 0
    assert scores["rtf"] == pytest.approx(0.5)


def test_unpaired_items_are_scored_without_a_target(scorer):
    one = item(scorer, False)
    scored = scorer(one, scoring.Output(one.unrelated.audio, one.unrelated.level_db, 0.0))
    assert "feature_lsd" not in scored.values and {"content_note_f1", "style_target_rate", "fail_muted"} <= set(scored.values)
    results = [scoring.Result("unrelated", one, scoring.Output(one.unrelated.audio, None, 0.0), scored)]
    assert scoring.failures(results, scorer) == []


def test_rows_that_need_what_an_item_lacks_are_left_out(scorer):
    one = item(scorer, False)
    rows = {
        "copy": lambda i: scoring.Output(i.source.audio, None, 0.0),
        "oracle": lambda i: i.oracle and scoring.Output(i.oracle.audio, None, 0.0),
    }
    assert {r.system for r in suite.run([one], rows, scorer, 1)} == {"copy"}


def test_outputs_are_as_loud_as_the_source_unless_they_would_clip():
    t = np.arange(RATE) / RATE
    x = (0.1 * np.sin(2 * np.pi * 440 * t)).astype(np.float32)
    assert np.allclose(suite.as_loud(4 * x, x, RATE), x, atol=1e-3)
    spike = np.zeros(RATE, np.float32)
    spike[::8000] = 0.5
    assert np.abs(suite.as_loud(spike, 5 * x, RATE)).max() <= 0.9901
