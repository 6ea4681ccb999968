import json
import sys

import pytest
import torch

from benchmarks import __main__ as program
from benchmarks import generation, timing
from retimbre.models.wavenet import WaveNet, WaveNetConfig


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
    routes = [timing.Route("ours", work(1.0), 10), timing.Route("peer", work(4.0), 10)]
    case = timing.Case("g", "c", "x", routes, "peer", limits={"l": lambda: (work(0.5), 10)}, limit_for="ours")
    ours, peer, limit = timing.measure(case, rounds=3)
    assert ours["ratio"] == pytest.approx({"min": 4, "median": 4, "max": 4})
    assert ours["rate"]["max"] > ours["rate"]["min"]
    assert ours["share_of_limit"] == {"limit: l": pytest.approx(0.5)}
    assert peer["ratio"]["median"] == 1 and peer["share_of_limit"] is None
    assert limit["ratio"] is None


def test_one_command_writes_the_table_twice(tmp_path, monkeypatch, capsys):
    case = timing.Case("group", "case", "samples/s", [timing.Route("a", lambda: sum(range(1000)), 1)], None, note="a note")
    monkeypatch.setattr(program, "GROUPS", {"one": lambda quick: [case]})
    monkeypatch.setattr(timing, "MIN_SECONDS", 1e-4)
    monkeypatch.setattr(sys, "argv", ["benchmarks", "--only", "one", "--rounds", "2", "--out", str(tmp_path / "results")])
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
    config = WaveNetConfig(8, 16, 1, layers=6, layers_per_stack=3, residual_channels=12, skip_channels=12, conditioning_channels=8)
    peer = generation.peer_network(config)
    model = generation.same_network(peer, config)
    assert isinstance(model, WaveNet)
    assert generation.largest_difference(peer, model) < 1e-5
