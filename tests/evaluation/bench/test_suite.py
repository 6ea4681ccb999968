"""The suite: unpaired items, what is kept and what is made anew, processes, files of the outputs."""

import csv
import hashlib
import os
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pytest
import soundfile

from retimbre.evaluation.bench import outputs, rows, scoring, suite
from retimbre.evaluation.bench.cache import Cache
from retimbre.evaluation.bench.rows import Recorded, Row
from retimbre.evaluation.bench.testset import Clip, Item, first_second
from tests.toys.models import FEATURES as CONFIG
from tests.toys.models import RATE


class Ear:
    """Classifiers that hear level only: enough to see what they are asked."""

    def style_target_rate(self, mel_db, target):
        return float(mel_db.max() > -20)

    style_beyond_eq = style_probability = style_target_rate
    window_frames = 62

    def embed_windows(self, mel_db):
        return mel_db.mean(1)[None]

    def embed(self, mel_db):
        return mel_db.mean(1)


MAKE = partial(scoring.Scorer, Ear(), CONFIG, "cqt", 7.0)
MADE = []  # (row, item) of everything that was rendered in this process


@dataclass(frozen=True)
class Noisy:
    """A system that adds noise of its seed, so that a wrong seed or order shows."""

    name: str
    level: float = 0.01

    def applies(self, item):
        return True

    def audio(self, item, seed):
        MADE.append((self.name, item.name))
        noise = np.random.default_rng(seed).normal(size=len(item.source.audio))
        return item.source.audio + np.float32(self.level) * noise.astype(np.float32)

    def spectrum(self, item):
        return None


@pytest.fixture(scope="module")
def scorer():
    return MAKE()


def clip(scorer, seed, seconds=2.0):
    rng = np.random.default_rng(seed)
    t = np.arange(int(RATE * seconds)) / RATE
    f = 220 * 2 ** (rng.integers(0, 12) / 12)
    x = (0.2 * np.exp(-2 * (t % 0.5)) * np.sin(2 * np.pi * f * t)).astype(np.float32)
    return Clip(x, scorer.spectrum(x, "cqt"))


def item(scorer, paired):
    true = (clip(scorer, 0), clip(scorer, 1)) if paired else (None, None)
    return Item("tune", "harp", "lute", "any", clip(scorer, 0), *true, clip(scorer, 2))


def test_copy_of_a_paired_item_is_perfect_on_content_and_distance(scorer):
    one = item(scorer, True)
    scores = scorer(one, scoring.Output(one.source.audio, one.source.level_db, 1.0)).values
    assert scores["content_note_f1"] == 1 and scores["feature_lsd"] == 0 and scores["paired_lsd"] == 0


def test_unpaired_items_are_scored_without_a_target(scorer):
    one = item(scorer, False)
    scored = scorer(one, scoring.Output(one.unrelated.audio, one.unrelated.level_db, 0.0))
    assert {"content_note_f1", "style_target_rate", "fail_muted"} <= set(scored.values)
    assert "feature_lsd" not in scored.values and "style_called" not in scored.values
    results = [scoring.Result("unrelated", one, scoring.Output(one.unrelated.audio, None, 0.0), scored)]
    assert scoring.failures(results, scorer) == []


def test_instruments_that_the_shipped_classifier_knows_are_asked_of_it(scorer):
    one = replace(item(scorer, False), target_domain="flute")
    silence = scoring.Output(np.zeros_like(one.source.audio), None, 0.0)
    scored = scorer(one, silence).values
    assert scored["style_called"] == 0
    assert scorer(one, scoring.Output(one.source.audio, None, 0.0)).values["style_called"] in (
        0,
        1,
    )  # one window


def items(scorer):
    one = item(scorer, True)
    return [
        replace(one, piece="first"),
        replace(one, piece="second", target=None, oracle=None, source=clip(scorer, 3)),
    ]


ROWS = [
    Row("copy", Recorded("source")),
    Row("oracle", Recorded("oracle")),
    Row("a", Noisy("a")),
    Row("b", Noisy("b"), slow=True),
]


def same(x, y):
    def said(r):
        return r.system, r.item.name, r.output.audio.tobytes(), r.scored.values

    return [said(r) for r in x] == [said(r) for r in y]


def test_rows_that_need_what_an_item_lacks_and_slow_ones_after_the_first_items_are_left_out(scorer):
    found = [(r.item.piece, r.system) for r in suite.run(items(scorer), ROWS, MAKE, slow_items=1)]
    first, second = ("copy", "oracle", "a", "b"), ("copy", "a")
    assert found == [*(("first", name) for name in first), *(("second", name) for name in second)]


def test_a_rerun_renders_and_scores_only_what_changed(scorer, tmp_path, monkeypatch):
    asked = []
    score = scoring.Scorer.__call__
    monkeypatch.setattr(
        scoring.Scorer, "__call__", lambda self, i, o: asked.append(i.piece) or score(self, i, o)
    )
    cache, things = Cache(tmp_path), items(scorer)

    def run(rows_, seed=0):
        MADE.clear()
        asked.clear()
        return suite.run(things, rows_, MAKE, cache, seed, slow_items=2)

    first = run(ROWS)
    assert len(asked) == len(first) == 7
    again = run(ROWS)
    assert MADE == [] and asked == [] and same(first, again)
    assert suite.speeds(again, RATE) == suite.speeds(first, RATE), "times are kept"
    assert set(suite.speeds(again, RATE)) == {"a", "b"}, "what only plays a recording takes no time"
    assert len(again[2].scored.notes.posterior) > 0

    changed = [*ROWS[:2], Row("a", Noisy("a", 0.02)), ROWS[3]]
    third = run(changed)
    assert {name for name, _ in MADE} == {"a"} and len(asked) == 2
    kept = [np.array_equal(x.output.audio, y.output.audio) for x, y in zip(first, third, strict=True)]
    assert kept == [r.system != "a" for r in first]

    things[1] = replace(things[1], unrelated=clip(scorer, 5))
    run(changed)
    # An item that changed is made anew, the other is not.
    assert {name for _, name in MADE} == {"harp_to_lute.second"}
    run(changed, seed=1)
    assert {name for name, _ in MADE} == {"a", "b"}


def test_a_damaged_entry_is_made_again(scorer, tmp_path):
    cache, things = Cache(tmp_path), items(scorer)[:1]
    first = suite.run(things, ROWS, MAKE, cache)
    audio = [r.output.audio for r in first]
    for path in [p for p in tmp_path.rglob("*") if p.is_file()]:
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    again = suite.run(things, ROWS, MAKE, cache)
    assert all(np.array_equal(x, r.output.audio) for x, r in zip(audio, again, strict=True))


def test_results_do_not_depend_on_the_number_of_processes(scorer, tmp_path, monkeypatch):
    monkeypatch.setattr(suite, "FEW", 0)
    before = dict(os.environ)
    one = suite.run(items(scorer), ROWS, MAKE, slow_items=2)
    two = suite.run(items(scorer), ROWS, MAKE, Cache(tmp_path), slow_items=2, jobs=2)
    assert same(one, two)
    assert dict(os.environ) == before


def test_every_output_is_a_file_of_exactly_what_was_measured(scorer, tmp_path):
    things = items(scorer)
    things[1] = replace(things[1], piece="sé/cond", range="out")
    results = suite.run(things, ROWS, MAKE, slow_items=1)
    written = outputs.write_outputs(tmp_path, results, RATE)
    with (tmp_path / "outputs.csv").open(encoding="utf-8", newline="") as file:
        listed = list(csv.DictReader(file))
    assert [row["path"] for row in listed] == [w.path for w in written] and len(listed) == len(results) + 3
    assert len({row["path"] for row in listed}) == len(listed)
    for row in listed:
        assert hashlib.sha256((tmp_path / row["path"]).read_bytes()).hexdigest() == row["sha256"]
    # No target, no oracle; b is slow.
    assert {row["system"] for row in listed if row["range"] == "out"} == {"source", "copy", "a"}
    heard, rate = soundfile.read(tmp_path / next(w.path for w in written if w.system == "a"), dtype="float32")
    assert rate == RATE and np.array_equal(heard, next(r for r in results if r.system == "a").output.audio)


def test_recordings_of_16_bits_are_kept_bit_for_bit():
    x = (np.random.default_rng(0).integers(-32768, 32768, 1000) / np.float32(32768)).astype(np.float32)
    assert np.array_equal(rows.to_16_bit(x), x)
    beyond = rows.to_16_bit(np.array([np.nan, 2.0, -2.0, -1e-9], np.float32))
    assert beyond.tolist() == [0, 32767 / 32768, -1, 0]
    assert not np.signbit(beyond[3]), "minus zero is not what a file gives back"


def test_rows_try_themselves_out_on_a_second_of_the_item(scorer):
    short = first_second(item(scorer, True), CONFIG)
    assert len(short.source.audio) == RATE and short.target.level_db.shape[1] == CONFIG.frames(RATE)
    MADE.clear()
    made = Row("a", Noisy("a")).render(item(scorer, False), 0, CONFIG)
    assert len(MADE) == 2 and len(made.audio) == 2 * RATE and made.seconds >= 0
