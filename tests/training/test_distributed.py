"""Two processes (gloo, CPU) train as one does on the joined batch."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from retimbre.datasets.packed.format import PackedFeatures
from retimbre.errors import RetimbreError
from retimbre.systems.cyclegan.system import Change
from retimbre.systems.cyclegan.train import build
from retimbre.training.checkpoint import Scratch
from retimbre.training.devices import make_fabric
from retimbre.training.fit import History, write_history
from retimbre.training.processes import average, average_gradients, check_batch, gather, own_share
from tests.toys import ROOT
from tests.toys.features import fit, model_params, run_of, write_features
from tests.toys.forks import LIMIT_S, Forked
from tests.toys.vocoders import train_on_noise

# What the stage does, without DVC and MLflow; `extra` is "vocoders", trained too, or "failure" of the second
# process.
SCRIPT = """
import os, sys, time
from pathlib import Path
import torch
from safetensors.torch import save_file
from retimbre.datasets.packed.format import PackedFeatures
from retimbre.errors import run
from retimbre.training.checkpoint import Scratch
from retimbre.training.devices import make_fabric
from retimbre.training.fit import write_history
from tests.toys.features import fit, run_of
from tests.toys.vocoders import train_on_noise

def main():
    torch.set_num_threads(1)
    extra, devices, changes = sys.argv[1], int(sys.argv[2]), eval(sys.argv[3])
    fabric = make_fabric("cpu", devices)
    leads = fabric.is_global_zero
    Path(f"pid{fabric.global_rank}").write_text(str(os.getpid()))
    features = PackedFeatures("features")
    if extra == "failure":
        read = features.read
        def fail(*args, **options):
            if not leads and Path("go").exists():
                raise OSError(5, "the disk of the second process is gone")
            return read(*args, **options)
        features.read = fail
    vocoders = train_on_noise(fabric) if extra == "vocoders" else {}
    with Scratch("toy", "f", writes=leads) as scratch:
        model, curves = fit(features, run_of(scratch, fabric), **changes)
        if leads:
            model.save(Path("model"))
            if vocoders:
                save_file(vocoders, "vocoders.safetensors")
            write_history(Path("history.csv"), curves)
            scratch.finish()
    Path(f"end{fabric.global_rank}").write_text(str(fabric.world_size))  # what both print is mixed up

run(main)
"""


def start(folder: Path, extra: str = "", devices: int = 1, **changes: object) -> Forked:
    """The training, with ``features`` in ``folder``, by a process that starts the others itself."""
    script = folder / "train.py"
    script.write_text(SCRIPT)
    given = extra, str(devices), repr(changes)
    return Forked(script, *given, cwd=folder, session=True, **environment(folder))


def start_by_torchrun(folder: Path, extra: str, **changes: object) -> subprocess.Popen:
    """The same in two processes that torchrun starts."""
    (folder / "train.py").write_text(SCRIPT)
    words = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    words += ["train.py", extra, "1", repr(changes)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(words, cwd=folder, env=os.environ | environment(folder), **pipes)


def environment(folder: Path) -> dict[str, str]:
    return {"DVC_ROOT": str(folder), "PYTHONPATH": f"{ROOT}:{ROOT / 'src'}", "OMP_NUM_THREADS": "1"}


def history(path: Path) -> tuple[list[str], np.ndarray]:
    lines = path.read_text().splitlines()
    return lines[0].split(","), np.array(
        [[float(cell or "nan") for cell in line.split(",")] for line in lines[1:]]
    )


def assert_equal_training(folder: Path, alone: Change, curves: History, features: PackedFeatures) -> None:
    """What two processes left in ``folder`` is what one got, within the rounding of another order of sums."""
    together = load_file(folder / "model/generators.safetensors")
    for name, value in alone.generators.state_dict().items():
        assert torch.allclose(together[name], value, rtol=0, atol=2e-5), name
    begun = build(features, model_params(), 3)[0].state_dict()
    assert max((value - begun[name]).abs().max() for name, value in together.items()) > 1e-3, (
        "weights moved by much more than that"
    )
    # Averages over both processes, written by the first only: the same curves, too.
    write_history(folder / "alone.csv", curves)
    (names, one), (again, two) = history(folder / "alone.csv"), history(folder / "history.csv")
    assert names == again
    for name, x, y in zip(names, one.T, two.T, strict=True):
        if not name.startswith("guard/"):  # figures of a batch's pairs, which are others in half a batch
            np.testing.assert_allclose(x, y, rtol=2e-3, atol=2e-4, err_msg=name)


def test_two_processes_equal_one_on_the_joined_batch(tmp_path: Path) -> None:
    """Also in parts of a step that draw random numbers or need the whole batch."""
    options = dict(gan_loss="wgan_gp", lambda_gradient_penalty=10.0, discriminator_steps=2, steps=10)
    options |= {"discriminator": ["patch", "temporal"]}
    features = write_features(tmp_path / "features")
    process = start_by_torchrun(tmp_path, "vocoders", **options)
    alone, curves = fit(features, **options)
    _, errors = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0, errors
    assert [(tmp_path / f"end{rank}").read_text() for rank in (0, 1)] == ["2", "2"]
    assert errors.count("cyclegan: 10/10 steps") == 1
    assert_equal_training(tmp_path, alone, curves, features)
    together, begun = load_file(tmp_path / "vocoders.safetensors"), train_on_noise(make_fabric("cpu"), 0)
    for name, value in train_on_noise(make_fabric("cpu")).items():
        assert torch.allclose(together[name], value, rtol=0, atol=2e-5), name
    assert any((value - begun[name]).abs().max() > 1e-3 for name, value in together.items())


def test_ctrl_c_saves_and_ends_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Started by the first process; what they saved is complete: one process goes on and ends as if alone."""
    features = write_features(tmp_path / "features")
    process = start(tmp_path, devices=2, steps=40)
    checkpoint = tmp_path / ".scratch/toy/f/checkpoint.pt"
    while not checkpoint.exists():
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)  # what a terminal sends to all of them
    alone, curves = fit(features, steps=40)
    _, errors = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 130, errors
    assert errors.count("the same command continues from here") == 1
    assert "Traceback" not in errors
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    with Scratch("toy", "f") as scratch:
        step = scratch.load()["cyclegan"]["step"]
        assert 5 <= step < 40 and step % 5 == 0, "both stopped at the same log point"
        model, continued = fit(features, run_of(scratch), steps=40)
    model.save(tmp_path / "model")
    write_history(tmp_path / "history.csv", continued)
    assert_equal_training(tmp_path, alone, curves, features)


def test_a_failure_of_one_ends_all(tmp_path: Path) -> None:
    write_features(tmp_path / "features")
    process = start(tmp_path, "failure", devices=2, steps=5000)
    while not (tmp_path / ".scratch/toy/f/checkpoint.pt").exists():
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.01)
    (tmp_path / "go").touch()
    _, errors = process.communicate(timeout=LIMIT_S)
    assert process.returncode != 0
    assert "the disk of the second process is gone" in errors
    deadline = time.monotonic() + LIMIT_S
    for rank in (0, 1):
        pid = int((tmp_path / f"pid{rank}").read_text())
        while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not Path(f"/proc/{pid}").exists(), f"rank {rank} goes on"


def test_one_process_changes_nothing() -> None:
    fabric = make_fabric("cpu")
    layer = torch.nn.Linear(2, 1)
    layer(torch.ones(1, 2)).sum().backward()
    gradient = layer.weight.grad.clone()
    average_gradients(fabric, layer.parameters())
    x = torch.arange(6.0).reshape(3, 2)
    assert torch.equal(layer.weight.grad, gradient)
    losses = {"loss": x.sum()}
    assert gather(fabric, x) is x and own_share(fabric, x) is x and average(fabric, losses) is losses


class TwoProcesses:
    world_size, global_rank = 2, 1


def test_shares_and_a_batch_that_has_none() -> None:
    assert own_share(TwoProcesses, torch.arange(6)).tolist() == [3, 4, 5]
    check_batch(8, TwoProcesses, "model.batch_size")
    with pytest.raises(
        RetimbreError,
        match=r"model.batch_size is 7, the batch of all 2 processes together: make it a multiple of 2\.",
    ):
        check_batch(7, TwoProcesses, "model.batch_size")
