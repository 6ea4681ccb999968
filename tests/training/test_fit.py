import threading

import pytest
import torch

from retimbre.errors import RetimbreError
from retimbre.training.checkpoint import Scratch
from retimbre.training.fit import Loop, write_history
from retimbre.training.guards import Guards
from retimbre.training.timing import part


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
    batch = loop.ahead(lambda step: step)
    for step in loop:
        counter.total = counter.total + batch(step)
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


def test_batches_are_drawn_ahead_in_a_thread_of_their_own():
    """The next batch is being drawn while a step runs; each is drawn once, in order, none after the last."""
    loop = Loop("ahead", 6, None, None, dict, lambda state: None)
    drawn, begun = [], [threading.Event() for _ in range(6)]

    def draw(step):
        drawn.append((step, threading.current_thread() is threading.main_thread()))
        begun[step].set()
        return step * 10

    batch = loop.ahead(draw)
    for step in loop:
        assert batch(step) == step * 10
        if step < 5:
            assert begun[step + 1].wait(30)  # without being asked for
    assert drawn == [(step, False) for step in range(6)]


def test_an_error_while_drawing_ahead_comes_at_its_own_step():
    loop = Loop("ahead", 6, None, None, dict, lambda state: None)

    def draw(step):
        if step == 3:
            raise RetimbreError("the crop is gone")
        return step

    batch, reached = loop.ahead(draw), []
    with pytest.raises(RetimbreError, match="the crop is gone"):
        for step in loop:
            batch(step)
            reached.append(step)
    assert reached == [0, 1, 2]


def test_parts_of_the_steps_are_told_apart(capsys):
    loop = Loop("parts", 3, None, None, dict, lambda state: None)
    clock = {"now": 0.0}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("retimbre.training.timing.time.perf_counter", lambda: clock["now"])
        for _ in loop:
            for name, seconds in (("forward", 1.0), ("backward", 2.0), ("forward", 0.5), ("optimiser", 0.25)):
                with part(name):
                    clock["now"] += seconds
            clock["now"] += 0.25
    with part("forward"):
        pass  # outside a loop nothing is counted
    assert loop.parts.seconds == {"forward": 4.5, "backward": 6.0, "optimiser": 0.75}
    assert loop.shares()["speed/backward_share"] == pytest.approx(6 / 12)
    assert "steps 100.0% (forward 37.5%, backward 50.0%, optimiser 6.2%)" in capsys.readouterr().out


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
        with pytest.raises(RetimbreError, match="loss/a is nan at step 6, .*learning rates"):
            train(scratch, loss=lambda step: float("nan") if step == 5 else 1.0)
        assert scratch.load()["counter"]["step"] == 4


def test_a_loss_that_is_not_finite_elsewhere_names_the_log_point():
    """Of several processes only the average is seen of what the others lost."""
    loop = Loop("toy", 20, None, None, dict, lambda state: None)
    loop.add({"loss/a": torch.tensor(1.0)})
    with pytest.raises(RetimbreError, match="toy: loss/a is nan by step 4, so the training has diverged"):
        loop._check({"loss/a": torch.tensor(float("nan"))}, 4)


@pytest.mark.parametrize("stop_after", [3, 11])
def test_random_numbers_go_on_where_they_were(tmp_path, monkeypatch, stop_after):
    """Dropout draws from torch's global state: a continued loop must find it as the interrupted one left it."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))

    def drawn(scratch, stop=None):
        torch.manual_seed(0 if scratch is None or stop is not None else 99)
        values = []
        loop = Loop("draws", 20, scratch, None, lambda: {"values": list(values)}, lambda state: values.extend(state["values"]))
        for step in loop:
            values.append(float(torch.rand(1)))
            if step == stop:
                scratch.stop_requested = True
        return values

    whole = drawn(None)
    with Scratch("stage", "f") as scratch, pytest.raises(KeyboardInterrupt):
        drawn(scratch, stop_after)
    with Scratch("stage", "f") as scratch:
        assert drawn(scratch) == whole


class Suspicion(Guards):
    """Guards that suspect a collapse from log points whose loss is above 1."""

    def watch(self, step, figures):
        super().watch(step, {"guard/level_db_ab": -60.0 if figures["loss/a"] > 1 else 0.0})


def test_guards_see_averages_and_no_suspicious_state_is_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    guards = Suspicion("toy", 60, 2)
    with Scratch("stage", "f") as scratch:
        loop = Loop("toy", 60, scratch, None, dict, lambda state: None, None, 2, 4, guards)
        with pytest.raises(RetimbreError, match=r"at step 30 generator ab's output is 60 dB below its input \(mute\)"):
            for step in loop:
                loop.add({"loss/a": torch.tensor(5.0 if step >= 20 else 0.0)})
        assert scratch.load()["toy"]["step"] == 20, "the last state before the collapse began"


def test_history_file(tmp_path):
    write_history(tmp_path / "h.csv", [{"step": 1, "b": 0.5}, {"step": 2, "a": 1 / 3, "b": 2.0}])
    assert (tmp_path / "h.csv").read_text() == "step,a,b\n1,,0.5\n2,0.333333,2\n"
