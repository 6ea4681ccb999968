"""Killed and continued trainings end with the same bits; one process per training."""

import contextlib
import fcntl
import io
import os
import runpy
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from retimbre.errors import RetimbreError
from retimbre.training.checkpoint import Scratch, random_state, set_random_state
from tests.toys.disks import full_disk
from tests.toys.forks import Forked

# A training with everything that a resume can get wrong: momentum, dropout (torch's random numbers), a
# generator of its own, and an average. It waits in step ``hold`` for a signal and kills itself in ``death``.
TOY = """
import os, signal, sys, time
import numpy as np, torch
from retimbre.errors import run
from retimbre.training.checkpoint import Scratch, random_state, set_random_state

torch.set_num_threads(1)
out, hold, death = sys.argv[1], *map(int, sys.argv[2:])

def main():
    with Scratch("toy", "f" * 16) as scratch:
        torch.manual_seed(3)
        crops = np.random.default_rng(5)
        net = torch.nn.Sequential(
            torch.nn.Linear(8, 16), torch.nn.Dropout(0.3), torch.nn.Tanh(), torch.nn.Linear(16, 8)
        )
        optimiser = torch.optim.Adam(net.parameters(), lr=0.01)
        average = [p.detach().clone() for p in net.parameters()]
        start = 0
        if state := scratch.load():
            net.load_state_dict(state["net"])
            optimiser.load_state_dict(state["optimiser"])
            average, start = state["average"], state["step"]
            set_random_state(state["random"], crops)
        print("started at", start, flush=True)
        for step in range(start, 60):
            x = torch.from_numpy(crops.standard_normal((4, 8))).float()
            loss = (net(x) - x).square().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            for a, p in zip(average, net.parameters()):
                a.lerp_(p.detach(), 0.1)
            if step == hold:
                print("waits", flush=True)
            while step == hold and not scratch.stop_requested:
                time.sleep(0.01)
            if scratch.stop_requested or (step + 1) % 7 == 0:
                scratch.save({"net": net.state_dict(), "average": average,
                              "optimiser": optimiser.state_dict(),
                              "step": step + 1, "random": random_state(crops)})
            if scratch.stop_requested:
                scratch.leave()
            if step == death:
                os.kill(os.getpid(), signal.SIGKILL)
        torch.save({"net": net.state_dict(), "average": average}, out)
        scratch.finish()

run(main)
"""


def start(tmp_path: Path, out: str, hold: int = -1, death: int = -1) -> Forked:
    """The training in a process of its own."""
    script = tmp_path / "toy.py"
    script.write_text(TOY)
    return Forked(script, out, str(hold), str(death), cwd=tmp_path, DVC_ROOT=str(tmp_path))


def to_the_end(folder: Path, out: str) -> str:
    """Run the training in this process; what it printed."""
    script, said = folder / "toy.py", io.StringIO()
    script.write_text(TOY)
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(said):
        patch.chdir(folder)
        patch.setenv("DVC_ROOT", str(folder))
        patch.setattr(sys, "argv", [str(script), out, "-1", "-1"])
        runpy.run_path(str(script))
    return said.getvalue()


def same(a: Path, b: Path) -> bool:
    one, two = torch.load(a, weights_only=True), torch.load(b, weights_only=True)
    tensors = [
        *zip(one["net"].values(), two["net"].values(), strict=True),
        *zip(one["average"], two["average"], strict=True),
    ]
    return all(torch.equal(x, y) for x, y in tensors)


def start_held(tmp_path: Path, hold: int = 10, begun: int = 0) -> Forked:
    """A training that began at step ``begun`` and waits in step ``hold``, past a checkpoint, for a signal."""
    process = start(tmp_path, "out.pt", hold)
    said = [process.stdout.readline() for _ in range(2)]
    assert said == [f"started at {begun}\n", "waits\n"], process.communicate()
    return process


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the training ends with when nothing interrupts it."""
    folder = tmp_path_factory.mktemp("whole")
    to_the_end(folder, "whole.pt")
    assert not (folder / ".scratch/toy" / ("f" * 16)).exists(), "a finished training leaves nothing behind"
    return folder / "whole.pt"


def test_interrupted_again_and_again_ends_with_the_same_weights(tmp_path: Path, whole: Path) -> None:
    """By Ctrl-C, by SIGTERM and by SIGKILL, one after the other."""
    done = 0
    for number, hold in ((signal.SIGINT, 10), (signal.SIGTERM, 30)):
        process = start_held(tmp_path, hold, done)
        process.send_signal(number)
        _, errors = process.communicate()
        assert process.returncode == 130 and "the same command continues" in errors
        state = torch.load(tmp_path / ".scratch/toy" / ("f" * 16) / "checkpoint.pt", weights_only=True)
        done = state["step"]
        assert done == hold + 1, "the step that it was in is saved"
    killed = start(tmp_path, "out.pt", death=40)
    said, _ = killed.communicate()
    assert killed.returncode == -signal.SIGKILL and f"started at {done}" in said
    said = to_the_end(tmp_path, "out.pt")
    assert "started at 35" in said, "the last step of the killed process that was saved"
    assert same(whole, tmp_path / "out.pt")


def test_a_second_process_waits_for_the_first_or_is_refused(
    tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two queued experiments may share a stage that neither has trained: the second must not fail. The first
    of several processes may not wait, as the others would wait for it.
    """
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    process = start_held(tmp_path)
    second = start(tmp_path, "out.pt")
    said = f"toy: process {process.pid} is already training toy with these params: waiting for it "
    said += f"(`kill {process.pid}` ends it).\n"
    assert second.stderr.readline() == said
    refusal = rf"process {process.pid} is already training toy .* end it with `kill {process.pid}`"
    with pytest.raises(RetimbreError, match=refusal):
        Scratch("toy", "f" * 16, wait=False).__enter__()
    assert process.poll() is None and second.poll() is None
    process.kill()
    process.communicate()
    output, errors = second.communicate()
    assert second.returncode == 0 and "waiting" not in errors, (
        "said once; the lock of a killed process is free"
    )
    assert "started at 7\n" in output and same(whole, tmp_path / "out.pt"), (
        "it goes on from the checkpoint of the first"
    )


def test_whoever_holds_the_folder_is_refused_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    with (
        Scratch("toy", "f" * 16),
        pytest.raises(RetimbreError, match=f"process {os.getpid()} is already training toy"),
    ):
        Scratch("toy", "f" * 16).__enter__()


def test_after_a_training_that_has_finished_the_next_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder goes with its owner's end while another waits for it."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    with Scratch("toy", "f" * 16) as first:
        first.save({"step": 3})
        second = start(tmp_path, "second.pt")
        assert "waiting for it" in second.stderr.readline()
        first.finish()
    output, _ = second.communicate()
    assert second.returncode == 0 and "started at 0" in output and (tmp_path / "second.pt").exists()


def scratch_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str = "a") -> Scratch:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    return Scratch("toy", name)


def test_damaged_checkpoint_counts_as_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    with scratch_in(tmp_path, monkeypatch) as scratch:
        scratch.save({"weights": torch.zeros(1000), "step": 7})
        scratch.path.write_bytes(scratch.path.read_bytes()[:900])
        assert scratch.load() is None
        assert "is damaged" in capsys.readouterr().err
        scratch.save({"step": 8})
        assert scratch.load() == {"step": 8}


def test_checkpoint_cannot_run_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Evil:
        def __reduce__(self) -> tuple:
            return (Path.touch, (tmp_path / "touched",))

    with scratch_in(tmp_path, monkeypatch) as scratch:
        torch.save({"step": Evil()}, scratch.path)
        assert scratch.load() is None
    assert not (tmp_path / "touched").exists()


def test_full_disk_keeps_the_last_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    with scratch_in(tmp_path, monkeypatch) as scratch:
        scratch.save({"step": 1})
        with full_disk(4096):
            scratch.save({"step": 2, "weights": torch.zeros(100_000)})
            scratch.save({"step": 3, "weights": torch.zeros(100_000)})
        assert capsys.readouterr().err.count("warning:") == 1
        assert scratch.load() == {"step": 1}
        assert sorted(path.name for path in scratch.folder.iterdir()) == ["checkpoint.pt", "lock"]


def test_old_checkpoints_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long_ago = time.time() - 15 * 24 * 3600
    for name in ("old", "held", "young"):
        with scratch_in(tmp_path, monkeypatch, name) as scratch:
            scratch.save({"step": 1})
            folder = scratch.folder
    for name in ("old", "held"):
        for path in (*(folder.parent / name).iterdir(), folder.parent / name):
            os.utime(path, (long_ago, long_ago))
    with (folder.parent / "held/lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with scratch_in(tmp_path, monkeypatch, "new"):
            pass
    assert sorted(path.name for path in folder.parent.iterdir()) == ["held", "new", "young"]


def test_handlers_are_restored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), scratch_in(tmp_path, monkeypatch) as scratch:
        os.kill(os.getpid(), signal.SIGINT)
        assert scratch.stop_requested
        scratch.leave()
    assert signal.getsignal(signal.SIGINT) is before


def test_random_state_round_trip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draws = [np.random.Generator(kind(1)) for kind in (np.random.PCG64, np.random.MT19937, np.random.Philox)]
    own = torch.Generator().manual_seed(4)

    def draw() -> list:
        return [
            float(torch.rand(1)),
            np.random.rand(),
            float(torch.rand(1, generator=own)),
            *(g.normal() for g in draws),
        ]

    with scratch_in(tmp_path, monkeypatch) as scratch:
        scratch.save(random_state(*draws, own))
        first = draw()
        set_random_state(scratch.load(), *draws, own)
        assert draw() == first
