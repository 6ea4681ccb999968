"""`retimbre classify`: what is said of tones by a network that learnt them, of silence, and of odd files."""

import json

import numpy as np
import pytest
import soundfile
import torch

from retimbre.classifiers.bench import catalogue
from retimbre.classifiers.bench.listener import NONE, SHIPPED, SILENCE, Listener, Moment, runs
from retimbre.classifiers.bench.windows import RATE, SAMPLES, Windows, compressed
from retimbre.classifiers.cli import line
from retimbre.cli import main
from retimbre.errors import RetimbreError

CLASSES = ["dull", "bright"]


def tone(kind: int, seconds: float, seed: int = 0, rate: int = RATE) -> np.ndarray:
    t, rng = np.arange(round(seconds * rate)) / rate, np.random.default_rng(seed)
    f = 220 * 2 ** (rng.integers(24) / 12)
    x = sum(np.sin(2 * np.pi * f * n * t) / n for n in range(1, (3, 14)[kind]))
    return (0.2 * x + rng.normal(0, 0.001, len(t))).astype(np.float32)


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Listener:
    labels = np.arange(48) % 2
    audio = np.stack([tone(kind, SAMPLES / RATE, n) for n, kind in enumerate(labels)])
    audio *= 0.1 / np.sqrt(np.square(audio).mean(1, keepdims=True))
    classifier = catalogue.make("timbral_4x2_entropy", 2, steps=35).fit(Windows(audio[:32]), labels[:32])
    found = Listener.calibrated(classifier, CLASSES, compressed(audio[32:]), labels[32:])
    folder = tmp_path_factory.mktemp("weights")
    found.save(folder)
    again = Listener.load(folder)
    np.testing.assert_array_equal(again.probabilities(audio[32:]), found.probabilities(audio[32:]))
    assert (again.temperature, again.threshold) == (found.temperature, found.threshold)
    return again


def test_instruments_are_heard_over_time(trained, tmp_path):
    path = tmp_path / "two.flac"
    rate = 44100
    parts = [tone(0, 7, 3, rate), np.zeros(6 * rate, np.float32), tone(1, 7, 4, rate)]
    soundfile.write(path, np.concatenate(parts), rate)
    moments = trained.hear(path)
    assert moments[0].called == "dull" and moments[-1].called == "bright"
    assert [m.called for m in runs(moments)][0] == "dull" and SILENCE in [m.called for m in moments]
    assert moments[-1].end_s == pytest.approx(20, abs=0.01)
    spans = list(runs(moments))
    assert spans[0].start_s == 0 and all(a.end_s == b.start_s for a, b in zip(spans, spans[1:], strict=False))
    for moment in moments:
        assert moment.probabilities.sum() == pytest.approx(float(moment.called != SILENCE), abs=1e-5)
    assert [line(m, trained) for m in runs(moments) if m.called == SILENCE] == [SILENCE]
    shares = [trained.share(np.concatenate(parts), rate, name) for name in (*CLASSES, SILENCE, NONE)]
    assert sum(shares) == pytest.approx(1) and min(shares[:3]) > 0.1


def test_what_is_unlike_everything_is_none_of_these(trained):
    unsure = np.array([0.5, 0.5])
    trained.threshold, before = 0.9, trained.threshold
    assert trained.called(unsure) == NONE and trained.called(np.array([0.05, 0.95])) == "bright"
    trained.threshold = before


def test_short_silent_and_damaged_files(trained, tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, tone(1, 0.5), RATE)
    (moment,) = trained.hear(path)
    assert moment.end_s == 0.5
    soundfile.write(path, np.zeros(RATE * 5), RATE)
    assert trained.whole(trained.hear(path)).called == SILENCE
    soundfile.write(path, np.zeros(100), RATE)
    with pytest.raises(RetimbreError, match="at least 0.1 s"):
        trained.hear(path)
    with pytest.raises(RetimbreError, match="has no trained instrument classifier"):
        Listener.load(tmp_path)


def test_a_run_is_one_line():
    p = np.array([0.2, 0.8])
    moments = [Moment(0, 3, "a", p), Moment(1.5, 4.5, "a", 1 - p), Moment(3, 6, "b", p)]
    first, second = runs(moments)
    assert (first.start_s, first.end_s, second.start_s, second.end_s) == (0, 3.75, 3.75, 6)
    np.testing.assert_allclose(first.probabilities, [0.5, 0.5])


def test_the_command(trained, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(Listener, "load", lambda: trained)
    paths = [tmp_path / f"{name}.wav" for name in CLASSES]
    for kind, path in enumerate(paths):
        soundfile.write(path, tone(kind, 6, 5), RATE)
    main(["classify", *map(str, paths)])
    said = capsys.readouterr().out.splitlines()
    assert "dull.wav: dull" in said[0] and "bright.wav: bright" in said[-1]
    main(["classify", "--json", str(paths[0])])
    found = json.loads(capsys.readouterr().out)[str(paths[0])]
    assert found["whole"]["instrument"] == "dull" and len(found["windows"]) == 3
    with pytest.raises(SystemExit):
        main(["classify", str(paths[0]), str(tmp_path / "gone.wav")])
    captured = capsys.readouterr()
    assert "dull.wav: dull" in captured.out and "gone.wav" in captured.err
    assert "1 of 2 could not be heard" in captured.err


def test_the_weights_that_ship_are_small_and_good():
    found = json.loads((SHIPPED / "metrics.json").read_text())
    assert sum(path.stat().st_size for path in SHIPPED.iterdir()) < 3e6
    assert found["test_recordings"] >= 0.95 and found["shifted_recordings"] >= 0.8
    shipped = Listener.load()
    assert len(shipped.classes) == 12 and 0 < shipped.threshold < 1
    assert sum(p.numel() for p in shipped.network.parameters()) < 200_000
    assert torch.isfinite(shipped._logits(compressed(tone(1, SAMPLES / RATE)[None]))).all()
