"""``make repro``: real DVC, run as on a terminal and through a pipe, with stages of a second."""

import json
import os
import pty
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.toys import ROOT

PIPELINE = """
stages:
  one: {cmd: "echo a > a", params: [seed], outs: [a]}
  two: {cmd: "cat a a > b", deps: [a], outs: [b]}
  alone: {cmd: "echo c > c", outs: [c]}
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "dvc.yaml").write_text(PIPELINE)
    (tmp_path / "params.yaml").write_text("seed: 1\n")
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks/stage_times.json").write_text('{"one": 240, "two": 1200}')
    for command in (["git", "init", "-q"], ["dvc", "init", "-q"]):
        subprocess.run(command, cwd=tmp_path, check=True)
    return tmp_path


def repro(folder: Path, *words: str, terminal: bool = False, status: int = 0) -> list[str]:
    """Lines of the command about stages, without the clock's time."""
    command = [sys.executable, str(ROOT / "tools/repro.py"), *words]
    end, stdout = pty.openpty()
    result = subprocess.run(command, cwd=folder, stdout=stdout if terminal else subprocess.PIPE, text=True)
    os.close(stdout)
    text = os.read(end, 100_000).decode() if terminal else result.stdout
    os.close(end)
    assert result.returncode == status, text
    return [re.sub(r"until \d\d:\d\d", "", line) for line in re.findall(r".*(?:stage \d|: \d).*", text)]


def test_the_stages_and_the_time_left_are_told_and_recorded(project: Path) -> None:
    first = repro(project, terminal=True)
    assert [line[:4] for line in first] == ["\033[1m"] * 3, "bold on a terminal"
    assert "stage 1 of 3: " in first[0] and "stage 3 of 3: " in first[2]
    (said,) = (line for line in first if ": one" in line)
    assert "more than 24 min left in all" in said, "nobody has timed the third yet"
    (said,) = (line for line in first if ": two" in line)
    left = float(re.search(r"more than ([\d.]+) min left", said)[1])
    assert 4 <= left < 7, "the first took nearly nothing of its 4 minutes"

    (said,) = repro(project, "--record")
    assert said.startswith("benchmarks/stage_times.json: 3 stages, ")
    assert set(json.loads((project / "benchmarks/stage_times.json").read_text())) == {"one", "two", "alone"}

    for place in ("a", "b", "c", ".scratch/stage_times.json"):  # as in a clone whose lock says what comes out
        (project / place).unlink()
    shutil.rmtree(project / ".dvc/cache")
    repro(project)
    assert set(json.loads((project / ".scratch/stage_times.json").read_text())) == {"one", "two", "alone"}

    (project / "params.yaml").write_text("seed: 2\n")
    (said,) = repro(project)  # its output is as before, so nothing after it runs
    assert re.fullmatch(r"stage 1 of 2: one, about \d+ s left in all \(\)", said)


def test_what_fails_ends_the_command_as_it_ends_dvc(project: Path) -> None:
    (project / "dvc.yaml").write_text(PIPELINE.replace("cat a a", "false; cat x"))
    assert len(repro(project, status=255)) >= 2
    assert "two" not in json.loads((project / ".scratch/stage_times.json").read_text())
    (project / "dvc.yaml").write_text("{")
    assert repro(project, status=255) == []
    (project / ".scratch/stage_times.json").unlink()
    assert repro(project, "--record", status=1) == []
