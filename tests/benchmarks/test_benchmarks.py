import json
import os
import sys

import numpy as np
import pytest
import torch
import yaml

from benchmarks import __main__ as program
from benchmarks import generation, memory, quote, timing, training, transforms
from retimbre.datasets.packed.format import PackedAudio, PackedFeatures
from retimbre.nn.wavenet.network import WaveNet, WaveNetConfig
from tests.toys import ROOT
from tests.toys.project import smoke


def test_ratios_are_taken_within_rounds(monkeypatch):
    """With a clock that runs twice as fast in the second round, rates move and ratios do not."""
    now = {"t": 0.0, "speed": 1.0, "calls": 0}

    def work(seconds):
        def call():
            now["t"] += seconds * now["speed"]
            now["calls"] += 1
            now["speed"] = 1.0 if now["calls"] < 9 else 2.0  # 6 calls before the rounds, 3 a round

        return call

    monkeypatch.setattr(timing.time, "process_time", lambda: now["t"])
    routes = [timing.Route("ours", work(0.25), 10), timing.Route("peer", work(1.0), 10)]
    limits = {"l": lambda: (work(0.125), 10)}
    case = timing.Case("g", "c", "x", routes, "peer", limits=limits, limit_for="ours")
    ours, peer, limit = timing.measure(case, rounds=3)
    assert ours["ratio"] == pytest.approx({"min": 4, "median": 4, "max": 4})
    assert ours["rate"]["max"] > ours["rate"]["min"]
    assert ours["share_of_limit"] == {"limit: l": pytest.approx(0.5)}
    assert peer["ratio"]["median"] == 1 and peer["share_of_limit"] is None
    assert limit["ratio"] is None


def test_one_command_writes_the_table_twice(tmp_path, monkeypatch, capsys):
    routes = [timing.Route("a", lambda: sum(range(1000)), 1)]
    case = timing.Case("group", "case", "samples/s", routes, None, note="a note")
    monkeypatch.setattr(program, "GROUPS", {"one": lambda quick: [case]})
    monkeypatch.setattr(timing, "MIN_SECONDS", 1e-4)
    words = ["--only", "one", "--rounds", "2", "--out", str(tmp_path / "results")]
    monkeypatch.setattr(sys, "argv", ["benchmarks", *words])
    program.main()
    result = json.loads((tmp_path / "results.json").read_text())
    assert [row["route"] for row in result["rows"]] == ["a"]
    assert result["rounds"] == 2 and result["environment"]["versions"]["torch"] == torch.__version__
    table = (tmp_path / "results.md").read_text()
    assert "| group: case | a | 1 |" in table and "- group: case: a note." in table
    assert table in capsys.readouterr().out


def test_refuses_an_unknown_group(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["benchmarks", "--only", "fft"])
    with pytest.raises(SystemExit):
        program.main()
    assert "not fft" in capsys.readouterr().err


def test_the_peer_does_the_same_work():
    pytest.importorskip("wavenet_vocoder", reason="benchmarks/requirements.txt is not installed")
    channels = {"residual_channels": 12, "skip_channels": 12, "conditioning_channels": 8}
    config = WaveNetConfig(8, 16, 1, layers=6, layers_per_stack=3, **channels)
    peer = generation.peer_network(config)
    model = generation.same_network(peer, config)
    assert isinstance(model, WaveNet)
    assert generation.largest_difference(peer, model) < 1e-5
    # Several streams at once, without drawing: the given number, each step's probabilities.
    first = torch.nn.functional.one_hot(torch.full((3, 1), 127), 256).float()
    with torch.no_grad():
        out = peer.incremental_forward(c=torch.randn(3, 8, 5), T=5, test_inputs=first, quantize=False)
    assert out.shape == (3, 256, 5)
    torch.testing.assert_close(out.sum(1), torch.ones(3, 5))


def test_slow_cases_run_fewer_rounds(monkeypatch):
    now = {"t": 0.0}

    def call():
        now["t"] += 10.0

    monkeypatch.setattr(timing.time, "process_time", lambda: now["t"])
    (row,) = timing.measure(timing.Case("g", "c", "x", [timing.Route("slow", call, 1)], None), rounds=9)
    assert row["rounds"] == timing.SLOW_ROUNDS and now["t"] == 10.0 * (1 + timing.SLOW_ROUNDS)


def test_torchaudios_plain_transforms_can_be_had():
    torchaudio = transforms._torchaudio()
    if torchaudio is None:
        pytest.skip("torchaudio is not installed")
    codes = torchaudio.transforms.MuLawEncoding()(torch.tensor([-1.0, 0.0, 1.0]))
    assert codes.tolist() == [0, 128, 255]


def test_training_steps_are_real_and_profiled(tmp_path, monkeypatch):
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(smoke()))
    monkeypatch.setattr(training, "PARAMS", tmp_path / "params.yaml")
    cases = list(training.training_cases(quick=True))
    assert [case.name for case in cases] == ["CycleGAN, default sizes", "WaveNet, default sizes"]
    for case in cases:
        case.routes[0].call()
        assert case.note.startswith("time of a step: ") and "%" in case.note


def test_memory_of_the_features_stage_is_that_of_the_whole_tree(tmp_path):
    """A few minutes of audio through the real stage code in a process of its own."""
    figures = memory.run(0.02, 1, tmp_path)
    assert len(PackedAudio(tmp_path / "resampled").excerpts(split="validation")) == 2
    features = PackedFeatures(tmp_path / "features")
    assert figures["hours"] == pytest.approx(0.0222, abs=1e-4) and len(features.index) == 8
    assert np.isfinite(features.read(features.index[0])).all()
    assert 50 < figures["peak_mb"] and 0 < figures["peak_private_mb"] <= figures["peak_mb"]
    assert memory.tree_mb(os.getpid())[0] > 50 and memory.tree_mb(-1) == (0.0, 0.0)


def result_of(rows: list[tuple]) -> dict:
    spread = {"min": 9.0, "median": 10.25, "max": 12.0}
    keys = ("group", "case", "route", "threads", "against")
    rows = [
        dict(zip(keys, row, strict=True))
        | {"unit": "x realtime", "rate": spread, "ratio": spread, "share_of_limit": None}
        for row in rows
    ]
    return {"environment": {"cpu": "a processor"}, "rounds": 5, "rows": rows}


def test_the_quoted_table_comes_from_the_results():
    result = result_of(
        [
            ("CQT", "84 bins, 4 x 4 s", "retimbre ConstantQ", 1, "librosa.cqt"),
            ("CQT", "other", "librosa.cqt", 1, "librosa.cqt"),
        ]
    )
    result["rows"][0]["share_of_limit"] = {"limit: 2.03 MB of weights streamed": 0.85, "limit: other": 0.4}
    text = quote.filled(f"before\n{quote.BEGIN}\nold\n{quote.END}\nafter\n", result)
    assert text.startswith("before\n") and text.endswith(f"{quote.END}\nafter\n") and "old" not in text
    assert (
        "| 10.2 x realtime | 10.2 (9 – 12); 0.85 of the limit of reading its weights | librosa.cqt |" in text
    )
    assert text.count("\n| CQT") == 1
    assert quote.filled(text, result) == text
    with pytest.raises(ValueError, match="needs the lines"):
        quote.filled(f"{quote.END} {quote.BEGIN}", result)


def test_the_page_quotes_the_measured_results():
    """Both are written by the commands; this holds them together."""
    text = (ROOT / quote.PAGE).read_text(encoding="utf-8")
    assert quote.filled(text, json.loads((ROOT / "benchmarks" / "results.json").read_text())) == text


def test_committed_table_is_the_committed_results():
    result = json.loads((ROOT / "benchmarks" / "results.json").read_text())
    assert (ROOT / "benchmarks" / "results.md").read_text() == program.markdown(result)
