"""Cells of studies: their processes end in three ways, and results of another key do not count."""

import sys
from pathlib import Path

import pytest

from studies import cells


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("import os; print(os.environ['DVC_ROOT'], os.environ['OMP_NUM_THREADS'])", None),
        ("print('begun'); raise SystemExit('error: it diverged.')", "error: it diverged."),
        ("raise SystemExit(3)", "exit status 3"),
        ("raise SystemExit(143)", ""),
        ("import os; os.kill(os.getpid(), 9)", ""),
    ],
)
def test_a_cell_says_how_it_ended(program: str, said: str | None, tmp_path: Path) -> None:
    log = tmp_path / "logs/a.log"
    assert cells.run_cell([sys.executable, "-c", program], tmp_path, log) == said
    assert said is not None or log.read_text() == f"{tmp_path} 1\n"


def test_a_result_is_that_of_its_key(tmp_path: Path) -> None:
    path = tmp_path / "results/a.json"
    assert cells.read_result(path, "k") is None
    cells.write_result(path, "k", {"x": 1})
    assert cells.read_result(path, "k") == {"key": "k", "x": 1} and cells.read_result(path, "other") is None
