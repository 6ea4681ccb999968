"""The loop that all trainings run in: history, batches drawn ahead, interruptions, broken losses."""

import threading
from pathlib import Path
from typing import Any

import pytest
import torch

from retimbre.errors import RetimbreError
from retimbre.section import Machine
from retimbre.training.checkpoint import Scratch
from retimbre.training.devices import make_fabric
from retimbre.training.fit import History, Loop, Run, fit, write_history
from retimbre.training.timing import part

STEPS = 20


class Sum:
    """A trainer whose state is a sum over its batches and what it drew, as dropout draws."""

    networks: list[torch.nn.Module] = []

    def __init__(
        self, scratch: Scratch | None = None, stop_after: int | None = None, broken_at: int | None = None
    ):
        self.total, self.drawn = torch.zeros(()), []
        self.scratch, self.stop_after, self.broken_at = scratch, stop_after, broken_at

    def step(self, batch: int, number: int) -> dict[str, torch.Tensor]:
        self.total = self.total + batch
        self.drawn.append(float(torch.rand(1)))
        if number == self.stop_after:
            self.scratch.stop_requested = True
        return {"loss/a": torch.tensor(float("nan") if number == self.broken_at else float(number))}

    def state_dict(self) -> dict[str, Any]:
        return {"total": self.total, "drawn": list(self.drawn)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.total, self.drawn = state["total"], list(state["drawn"])


def run_with(scratch: Scratch | None = None, log_every: int = 5) -> Run:
    return Run(3, make_fabric("cpu"), Machine(log_every=log_every, checkpoint_every=4), scratch)


def train(
    scratch: Scratch | None = None, name: str = "sum", seed: int = 0, **trouble: int
) -> tuple[Sum, History]:
    torch.manual_seed(seed)
    trainer = Sum(scratch, **trouble)
    validate = lambda done: {"validation/total": float(trainer.total)}  # noqa: E731
    return trainer, fit(name, STEPS, trainer, lambda number: (number,), run_with(scratch), validate=validate)


def test_history_averages_between_log_points_and_holds_validation() -> None:
    trainer, curves = train()
    assert float(trainer.total) == sum(range(STEPS))
    rows = {row["step"]: row for row in curves}
    assert list(rows) == sorted({*range(2, 21, 2), *range(5, 21, 5)}), (
        "every tenth of the steps, and every fifth step"
    )
    assert rows[5] == {"step": 5, "loss/a": 2.0} and rows[2] == {"step": 2, "validation/total": 1.0}
    assert rows[20] == {"step": 20, "loss/a": 17.0, "validation/total": 190.0}


def test_figures_that_are_watched_now_and_then_are_averaged_over_what_there_is() -> None:
    def watch(batch: tuple[int], number: int) -> dict[str, torch.Tensor]:
        return {} if (number + 1) % 4 else {"guard/batch": torch.tensor(float(batch[0]))}

    rows = {
        row["step"]: row
        for row in fit("sum", STEPS, Sum(), lambda number: (number,), run_with(), watch=watch)
    }
    assert [rows[step].get("guard/batch") for step in (5, 10, 15, 20)] == [3.0, 7.0, 11.0, 17.0]


def test_batches_are_drawn_ahead_in_a_thread_of_their_own() -> None:
    """The next batch is being drawn while a step runs; each is drawn once, in order, none after the last."""
    drawn, begun = [], [threading.Event() for _ in range(6)]

    def draw(number: int) -> int:
        drawn.append((number, threading.current_thread() is threading.main_thread()))
        begun[number].set()
        return number * 10

    def take(batch: int, number: int) -> dict[str, torch.Tensor]:
        assert batch == number * 10
        assert number == 5 or begun[number + 1].wait(1200)  # without being asked for
        return {}

    fit("ahead", 6, Sum(), draw, run_with(), step=take)
    assert drawn == [(number, False) for number in range(6)]


def test_an_error_while_drawing_ahead_comes_at_its_own_step() -> None:
    def draw(number: int) -> tuple[int]:
        if number == 3:
            raise RetimbreError("the crop is gone")
        return (number,)

    trainer = Sum()
    with pytest.raises(RetimbreError, match="the crop is gone"):
        fit("ahead", 6, trainer, draw, run_with())
    assert float(trainer.total) == 0 + 1 + 2


def test_parts_of_the_steps_are_told_apart(
    capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = Loop("parts", 3, run_with(), {})
    clock = {"now": 0.0}
    monkeypatch.setattr("retimbre.training.timing.time.perf_counter", lambda: clock["now"])
    for _ in loop:
        for name, seconds in (("forward", 1.0), ("backward", 2.0), ("forward", 0.5), ("optimiser", 0.25)):
            with part(name):
                clock["now"] += seconds
        clock["now"] += 0.25
    with part("forward"):
        pass  # outside a loop nothing is counted
    assert loop.times.seconds == {"forward": 4.5, "backward": 6.0, "optimiser": 0.75}
    shares = loop.shares()
    assert shares["speed/backward_share"] == pytest.approx(6 / 12)
    assert shares["speed/steps_per_s"] == pytest.approx(3 / 12)
    assert sum(shares[f"speed/{name}_share"] for name in ("data", "steps", "rest")) == pytest.approx(1)
    assert "steps 100.0% (forward 37.5%, backward 50.0%, optimiser 6.2%)" in capsys.readouterr().out


@pytest.mark.parametrize("stop_after", [0, 3, 6, 11, 18])
def test_an_interrupted_training_continues_to_the_same_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, stop_after: int
) -> None:
    """Sums, curves, random numbers; a second training of the stage keeps the end of the first."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    whole, curves = train()
    with Scratch("stage", "f") as scratch, pytest.raises(KeyboardInterrupt):
        train(scratch, stop_after=stop_after)
    with Scratch("stage", "f") as scratch:
        trainer, again = train(scratch, seed=99)  # another state than the interrupted one's
        assert f"sum: continuing at step {stop_after + 1} of 20" in capsys.readouterr().out
        assert trainer.state_dict() == whole.state_dict() and again == curves
        train(scratch, name="second")
        trainer, again = train(scratch)
        assert "sum: continuing at step 20 of 20" in capsys.readouterr().out
        assert trainer.state_dict() == whole.state_dict() and again == curves


def test_what_else_is_told_is_restored_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    kept, restored = Sum(), Sum()
    kept.total = torch.tensor(7.0)
    with Scratch("stage", "f") as scratch:
        fit("sum", 4, Sum(), lambda number: (number,), run_with(scratch), also={"kept": kept})
        fit("sum", 4, Sum(), lambda number: (number,), run_with(scratch), also={"kept": restored})
    assert float(restored.total) == 7


def test_no_state_is_kept_while_it_is_held_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Checkpoints are due after 4, 8, 12 and 16 steps; after 10 the training has become suspicious."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    trainer = Sum(broken_at=18)
    with Scratch("stage", "f") as scratch:
        with pytest.raises(RetimbreError):
            hold = lambda: len(trainer.drawn) > 10  # noqa: E731
            fit("sum", STEPS, trainer, lambda number: (number,), run_with(scratch), hold=hold)
        assert scratch.load()["sum"]["step"] == 8


def test_a_loss_that_is_not_finite_ends_the_training_before_it_is_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    with Scratch("stage", "f") as scratch:
        with pytest.raises(RetimbreError, match="sum: loss/a is nan at step 6, .*learning rates"):
            train(scratch, broken_at=5)
        assert scratch.load()["sum"]["step"] == 4


def test_a_loss_that_is_not_finite_elsewhere_names_the_log_point() -> None:
    """Of several processes only the average is seen of what the others lost."""
    loop = Loop("toy", STEPS, run_with(), {})
    loop.add({"loss/a": torch.tensor(1.0)})
    with pytest.raises(RetimbreError, match="toy: loss/a is nan by step 4, so the training has diverged"):
        loop._check({"loss/a": torch.tensor(float("nan"))}, 4)


def test_history_file(tmp_path: Path) -> None:
    write_history(tmp_path / "h.csv", [{"step": 1, "b": 0.5}, {"step": 2, "a": 1 / 3, "b": 2.0}])
    assert (tmp_path / "h.csv").read_text() == "step,a,b\n1,,0.5\n2,0.333333,2\n"
