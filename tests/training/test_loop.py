import pytest
import torch

from retimbre.errors import RetimbreError
from retimbre.training.checkpoint import Scratch
from retimbre.training.loop import Loop, write_history


class Counter:
    """A training whose state is a sum over its steps."""

    def __init__(self):
        self.total = torch.zeros(())

    def state(self):
        return {"total": self.total}

    def restore(self, state):
        self.total = state["total"]


def train(scratch, steps=20, stop_after=None, loss=lambda step: float(step), name="counter"):
    counter = Counter()
    loop = Loop(name, steps, scratch, None, counter.state, counter.restore, lambda: {"validation/total": float(counter.total)}, 5, 4)
    for step in loop:
        with loop.waiting():
            pass
        counter.total = counter.total + step
        loop.add({"loss/a": torch.tensor(loss(step))})
        if stop_after == step:
            scratch.stop_requested = True
    return counter, loop


def test_history_averages_between_log_points_and_holds_validation():
    counter, loop = train(None)
    assert float(counter.total) == sum(range(20))
    rows = {row["step"]: row for row in loop.curves()}
    assert rows[5]["loss/a"] == 2.0 and rows[20]["loss/a"] == 17.0
    assert rows[2]["validation/total"] == 1.0 and rows[20]["validation/total"] == 190.0
    shares = loop.shares()
    assert shares["speed/steps_per_s"] > 0
    assert sum(shares[f"speed/{name}_share"] for name in ("data", "steps", "rest")) == pytest.approx(1)


@pytest.mark.parametrize("stop_after", [0, 6, 18])
def test_an_interrupted_loop_continues_to_the_same_end(tmp_path, monkeypatch, stop_after):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    _, whole = train(None)
    with Scratch("stage", "f") as scratch, pytest.raises(KeyboardInterrupt):
        train(scratch, stop_after=stop_after)
    with Scratch("stage", "f") as scratch:
        counter, loop = train(scratch)
        assert loop.started == stop_after + 1
        assert float(counter.total) == sum(range(20)) and loop.curves() == whole.curves()
        # A second loop of the stage keeps the first one's end beside its own.
        train(scratch, name="second")
        again, loop = train(scratch)
        assert loop.started == 20 and float(again.total) == sum(range(20))


def test_a_loss_that_is_not_finite_ends_the_training_before_it_is_saved(tmp_path, monkeypatch):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    with Scratch("stage", "f") as scratch:
        with pytest.raises(RetimbreError, match="loss/a is nan by step 8.*learning rates"):
            train(scratch, loss=lambda step: float("nan") if step == 5 else 1.0)
        assert scratch.load()["counter"]["step"] == 4


def test_history_file(tmp_path):
    write_history(tmp_path / "h.csv", [{"step": 1, "b": 0.5}, {"step": 2, "a": 1 / 3, "b": 2.0}])
    assert (tmp_path / "h.csv").read_text() == "step,a,b\n1,,0.5\n2,0.333333,2\n"
