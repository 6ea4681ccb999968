"""Whole trainings on toy features: killed and continued, compiled, with every choice of the step."""

from pathlib import Path

import numpy as np
import pytest
import torch

from retimbre.datasets.packed.format import PackedFeatures
from retimbre.systems import catalogue
from retimbre.systems.cyclegan.selection import Validation
from retimbre.systems.cyclegan.system import Change
from retimbre.training import devices
from retimbre.training.checkpoint import Scratch
from tests.toys.features import fit, model_params, run_of, write_features
from tests.toys.forks import run_until_killed

# Everything that a resume can get wrong: spectral norm's vectors, pool, average, selection, guards.
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
)
MACHINE = dict(log_every=2, checkpoint_every=3)
SCRIPT = """
import os, signal, sys
import torch
torch.set_num_threads(1)
from retimbre.datasets.packed.format import PackedFeatures
from retimbre.systems.cyclegan import train
from retimbre.systems.cyclegan.step import CycleGanTrainer
from retimbre.training.checkpoint import Scratch
from tests.toys.features import fit, run_of

train.WATCH_EVERY = 4
death, trained = int(sys.argv[1]), CycleGanTrainer.step

def step(self, a, b, number, more=()):
    if number == death:
        os.kill(os.getpid(), signal.SIGKILL)
    return trained(self, a, b, number, more)

CycleGanTrainer.step = step
with Scratch("toy", "f") as scratch:
    fit(PackedFeatures(sys.argv[4]), run_of(scratch, **eval(sys.argv[3])), **eval(sys.argv[2]))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("toy")
    write_features(folder / "features")
    return folder


def weights(model: Change) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.generators.state_dict().items()}


def test_killed_at_any_step_ends_with_the_same_bytes(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At a step when all that a checkpoint holds is in use."""
    death = 17
    monkeypatch.setattr("retimbre.systems.cyclegan.train.WATCH_EVERY", 4)
    features = PackedFeatures(folder / "features")
    whole, curves = fit(features, run_of(**MACHINE), **WHOLE)
    whole.save(tmp_path / "whole")
    words = str(death), repr(WHOLE), repr(MACHINE), str(features.folder)
    run_until_killed(tmp_path, SCRIPT, *words, cwd=tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    torch.manual_seed(death)  # another state than the killed one's
    with Scratch("toy", "f") as scratch:
        reached = scratch.load()["cyclegan"]["step"]
        assert reached == 15, "a multiple of checkpoint_every"
        continued, again = fit(features, run_of(scratch, **MACHINE), **WHOLE)
    continued.save(tmp_path / "continued")
    one, two = ((tmp_path / name / "generators.safetensors").read_bytes() for name in ("whole", "continued"))
    assert one == two
    assert again == curves, "and the same history, figures of guards and validation included"
    assert any("selection/step" in row for row in curves)


def test_best_is_a_step_of_the_validation(folder: Path) -> None:
    """The weights that are kept have the figures that the history names."""
    features = PackedFeatures(folder / "features")
    model, curves = fit(features, select="best")
    rows = {row["step"]: row for row in curves}
    chosen = rows[20]["selection/step"]
    ratios = [f"validation/chroma_ratio_{direction}" for direction in ("ab", "ba")]
    kept = [row for row in curves if min(row.get(name, 0) for name in ratios) >= 0.9]
    assert (
        rows[chosen]["validation/score"]
        == min(row["validation/score"] for row in kept)
        == rows[20]["selection/score"]
    )
    figures = Validation(features, "mel", model.targets).figures(model.transfer)
    assert figures["validation/score"] == pytest.approx(rows[chosen]["validation/score"], rel=1e-6)


def test_without_a_validation_split_the_last_step_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    features = write_features(tmp_path / "features")
    features.index = [e for e in features.index if e.split == "train"]
    _, curves = fit(features, select="best", steps=4)
    assert not any("validation/score" in row or "selection/step" in row for row in curves)
    assert "there are no validation pieces: the last step is kept" in capsys.readouterr().err


def test_compiled_networks_train_alike(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``machine.compile``: the same losses and names of weights. The backend traces but generates no code."""
    features = PackedFeatures(folder / "features")
    plain, curves = fit(features, run_of(log_every=2), steps=6)
    compiled, compile_networks = [], devices.compile_networks

    def eagerly(wanted: bool, networks: list[torch.nn.Module]) -> None:
        compiled.extend(networks if wanted else [])
        compile_networks(wanted, networks, backend="eager")

    monkeypatch.setattr(devices, "compile_networks", eagerly)
    model, again = fit(features, run_of(log_every=2, compile=True), steps=6)
    assert len(compiled) == 4
    assert list(weights(model)) == list(weights(plain))
    for one, two in zip(curves, again, strict=True):
        assert one == pytest.approx(two, rel=1e-4, abs=1e-5)


def test_a_trained_model_comes_back_as_it_was(folder: Path) -> None:
    model, _ = fit(PackedFeatures(folder / "features"), steps=2)
    catalogue.store("cyclegan", model_params(), model, folder / "models/cyclegan")
    assert catalogue.trained(folder / "models") == ["cyclegan"]
    loaded = Change.load(folder / "models/cyclegan")
    assert (loaded.targets, loaded.representation, loaded.top_db) == (["flat", "steep"], "mel", 0.0)
    x = np.random.default_rng(0).uniform(-60, 0, (16, 40)).astype(np.float32)
    assert np.array_equal(loaded.transfer(x, "steep"), model.transfer(x, "steep"))
    assert (
        loaded.parameters == model.parameters == sum(v.numel() for v in model.generators["ab"].parameters())
    )
