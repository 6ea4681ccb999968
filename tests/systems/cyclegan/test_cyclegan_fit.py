"""Whole trainings on toy features: killed and continued, compiled, with every choice of the step."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from retimbre.systems.cyclegan import system as cyclegan
from retimbre.training.checkpoint import Scratch
from retimbre.training.devices import compile_networks
from tests.toys import ROOT
from tests.toys.features import model_params, write_features

# Everything that a resume can get wrong: spectral norm's vectors, pool, average, selection, guards, several batches a step.
WHOLE = dict(
    generator="unet",
    generator_channels=4,
    generator_blocks=2,
    discriminator=["full_spectrum", "temporal"],
    spectral_norm=True,
    discriminator_steps=2,
    lambda_feature_matching=1,
    guard_balance=True,
    guard_action="warn",
    select="best",
    log_every=2,
    checkpoint_every=3,
)
SCRIPT = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
import torch
torch.set_num_threads(1)
from tests.toys.features import model_params
from retimbre.datasets.packed.format import PackedFeatures
from retimbre.systems.cyclegan import system as cyclegan
from retimbre.training.checkpoint import Scratch
from retimbre.systems.cyclegan.losses import CycleGanTrainer

death, trained = int(sys.argv[2]), CycleGanTrainer.step

def step(self, a, b, number, more=()):
    if number == death:
        os.kill(os.getpid(), signal.SIGKILL)
    return trained(self, a, b, number, more)

CycleGanTrainer.step = step
with Scratch("toy", "f") as scratch:
    cyclegan.fit(PackedFeatures("features"), model_params(**eval(sys.argv[3])), 3, scratch, None)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("toy")
    write_features(folder / "features")
    return folder


def weights(model: cyclegan.CycleGan) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.generators.state_dict().items()}


def test_killed_at_any_step_ends_with_the_same_bytes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    features = cyclegan.PackedFeatures(folder / "features")
    p = model_params(**WHOLE)
    whole, curves = cyclegan.fit(features, p, 3, None, None)
    whole.save(folder / "whole")
    death = int(np.random.default_rng().integers(p.checkpoint_every, p.steps))
    script = folder / "train.py"
    script.write_text(SCRIPT)
    environment = {**os.environ, "DVC_ROOT": str(folder), "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    words = [sys.executable, str(script), str(ROOT / "tests/training"), str(death), repr(WHOLE)]
    killed = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    monkeypatch.setenv("DVC_ROOT", str(folder))
    torch.manual_seed(int(death))  # another state than the killed one's
    with Scratch("toy", "f") as scratch:
        reached = scratch.load()["cyclegan"]["step"]
        assert death - p.checkpoint_every <= reached <= death
        continued, again = cyclegan.fit(features, p, 3, scratch, None)
    continued.save(folder / "continued")
    one, two = ((folder / name / "generators.safetensors").read_bytes() for name in ("whole", "continued"))
    assert one == two, f"killed at step {death}"
    assert again == curves, "and the same history, figures of guards and validation included"
    assert any("selection/step" in row for row in curves)


def test_best_is_a_step_of_the_validation(folder: Path) -> None:
    """The weights that are kept have the figures that the history names."""
    features = cyclegan.PackedFeatures(folder / "features")
    model, curves = cyclegan.fit(features, model_params(select="best"), 3, None, None)
    rows = {row["step"]: row for row in curves}
    chosen = rows[20]["selection/step"]
    kept = [row for row in curves if min(row.get("validation/chroma_ratio_ab", 0), row.get("validation/chroma_ratio_ba", 0)) >= 0.9]
    assert rows[chosen]["validation/score"] == min(row["validation/score"] for row in kept) == rows[20]["selection/score"]
    figures = cyclegan.Validation(features, "mel", model.domains).figures(model.transfer)
    assert figures["validation/score"] == pytest.approx(rows[chosen]["validation/score"], rel=1e-6)


def test_without_a_validation_split_the_last_step_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    features = write_features(tmp_path / "features")
    features.index = [e for e in features.index if e.split == "train"]
    _, curves = cyclegan.fit(features, model_params(select="best", steps=4), 3, None, None)
    assert not any("validation/score" in row or "selection/step" in row for row in curves)
    assert "there are no validation pieces: the last step is kept" in capsys.readouterr().err


def test_compiled_networks_train_alike(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``model.compile``: the same losses, the same names of weights. The backend traces but generates no code, which takes minutes."""
    features = cyclegan.PackedFeatures(folder / "features")
    plain, curves = cyclegan.fit(features, model_params(steps=6, log_every=2), 3, None, None)
    compiled = []

    def eagerly(wanted: bool, networks: list[torch.nn.Module]) -> None:
        compiled.extend(networks if wanted else [])
        compile_networks(wanted, networks, backend="eager")

    monkeypatch.setattr(cyclegan, "compile_networks", eagerly)
    model, again = cyclegan.fit(features, model_params(steps=6, log_every=2, compile=True), 3, None, None)
    assert len(compiled) == 4 and all(network._compiled_call_impl is not None for network in compiled)
    assert list(weights(model)) == list(weights(plain))
    for one, two in zip(curves, again, strict=True):
        assert one == pytest.approx(two, rel=1e-4, abs=1e-5)
    model.save(folder / "compiled")
    assert load_file(folder / "compiled/generators.safetensors").keys() == weights(plain).keys()
    assert weights(cyclegan.CycleGan.load(folder / "compiled")).keys() == weights(plain).keys()
