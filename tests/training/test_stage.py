"""The ritual of a training stage: what it writes, what it leaves behind, what a crash costs."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from retimbre import provenance
from retimbre.section import Machine
from retimbre.training.fit import Run
from retimbre.training.fit import fit as fit_network
from retimbre.training.stage import Outputs, final_losses, train, write_metrics
from tests.toys.project import empty_store
from tests.training.test_fit import Sum


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    (tmp_path / "store.db").write_bytes(empty_store())
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'store.db'}")
    (tmp_path / "params.yaml").write_text("seed: 7\n")
    (tmp_path / "features").write_text("frames")
    return tmp_path


def run_stage(steps: list[int], fails_at: int | None = None, **changes: Any) -> None:
    """The stage ``toy``, whose trainer notes its steps and may fail at one of them."""

    class Failing(Sum):
        def step(self, batch: int, number: int) -> dict[str, torch.Tensor]:
            if number == fails_at:
                raise OSError("the power is gone")
            steps.append(number)
            return super().step(batch, number)

    def fit(run: Run) -> tuple[Callable[[Path], None], dict[str, Any], dict[str, Any]]:
        trainer = Failing()
        history = fit_network("toy", 6, trainer, lambda number: (number,), run)

        def save(folder: Path) -> None:
            folder.mkdir(parents=True)
            (folder / "config.json").write_text(json.dumps({"total": sum(trainer.drawn)}))

        return save, {"history": history}, {"good": 1 / 3, "none": float("nan"), "steps": 6}

    values = {"seed": 7, "toy.steps": 6} | changes.pop("values", {})
    outputs = Outputs(Path("models/toy"), Path("plots/toy"), Path("metrics/toy.json"))
    machine = Machine(log_every=3, checkpoint_every=2, **changes)
    train("toy", values, [Path("features")], "retimbre.training.fit", 7, machine, "32-true", fit, outputs)


def test_what_a_stage_writes(project: Path) -> None:
    run_stage([])
    assert (project / "plots/toy/history.csv").read_text() == "step,loss/a\n3,1\n6,4\n"
    assert json.loads((project / "metrics/toy.json").read_text()) == {"good": 0.3333, "steps": 6}, (
        "no time, no NaN"
    )
    assert not list((project / ".scratch/toy").iterdir()), "nothing to continue"


@pytest.mark.parametrize("changes", [{}, {"jobs": 1}, {"downloads": 2, "accelerator": "cpu"}])
def test_after_a_crash_the_same_command_goes_on(project: Path, changes: dict[str, Any]) -> None:
    """Also on a machine that is used otherwise: nothing of ``machine`` is in the key."""
    run_stage(steps := [])
    whole = (project / "models/toy/config.json").read_text()
    (project / "models/toy/config.json").unlink(), (project / "models/toy").rmdir()
    with pytest.raises(OSError, match="power"):
        run_stage(steps := [], fails_at=5)
    assert steps == [0, 1, 2, 3, 4] and not (project / "models").joinpath("toy").exists()
    run_stage(steps := [], **changes)
    assert steps == [4, 5] and (project / "models/toy/config.json").read_text() == whole


@pytest.mark.parametrize("change", ["params", "data", "code"])
def test_after_another_change_it_begins_anew(
    project: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    with pytest.raises(OSError, match="power"):
        run_stage([], fails_at=5)
    if change == "data":
        (project / "features").write_text("frames of another recording")
    if change == "code":
        monkeypatch.setattr(provenance, "code_of", lambda *modules: "other code")
    run_stage(steps := [], values={"toy.rate": 2.0} if change == "params" else {})
    assert steps == list(range(6))


def test_metrics_have_four_digits_and_no_nan(tmp_path: Path) -> None:
    write_metrics(
        tmp_path / "deep/m.json", {"a": 0.123456, "b": {"c": float("nan"), "d": 123456.0}, "n": 7, "s": "x"}
    )
    assert json.loads((tmp_path / "deep/m.json").read_text()) == {
        "a": 0.1235,
        "b": {"d": 123500.0},
        "n": 7,
        "s": "x",
    }


def test_final_losses_are_the_last_ones_without_the_guards() -> None:
    rows = [
        {"step": 1, "loss/a": 2.0, "guard/b": 1.0},
        {"step": 2, "validation/c": 3.0},
        {"step": 3, "loss/a": 1.0},
    ]
    assert final_losses(rows) == {"loss/a": 1.0, "validation/c": 3.0}
