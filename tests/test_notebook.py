"""The notebook, executed in its own folder of a small project; it is stored without outputs."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.toys import ROOT


def test_the_notebook_loads_transfers_hears_and_sees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = nbformat.read(ROOT / "examples/notebook.ipynb", 4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert len(notebook.cells) == 10
    assert not [cell for cell in cells if cell.outputs or cell.execution_count], "strip the outputs"
    (tmp_path / "examples").mkdir()
    (tmp_path / "src").symlink_to(ROOT / "src")
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    place = {"metadata": {"path": str(tmp_path / "examples")}}
    NotebookClient(notebook, timeout=120, kernel_name="python3", resources=place).execute()
    shown = [output.get("data", {}) for cell in cells for output in cell.outputs]
    assert sum("<audio" in data.get("text/html", "") for data in shown) == 2
    assert sum("image/png" in data for data in shown) == 1
