"""A project in odd places, and what people do to MLflow's store: logged, or one true sentence."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile

from retimbre import tracking
from retimbre.cli import main
from retimbre.paths import shown, write_atomically
from tests.toys import ROOT
from tests.toys.models import RATE, melody, write_models


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Makes a folder the project's root."""

    def make(name: str) -> Path:
        root = tmp_path / name
        root.mkdir()
        (root / "params.yaml").write_text("seed: 7\n")
        monkeypatch.chdir(root)
        monkeypatch.setenv("DVC_ROOT", str(root))
        monkeypatch.setenv("DVC_EXP_NAME", "odd")
        monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
        monkeypatch.setattr(tracking._Store, "works", True)
        return root

    return make


def warned(capsys) -> str:
    with tracking.stage_run("cyclegan", {"seed": 7}) as run:
        run.metrics({"lsd": 1})
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and said.startswith("warning: nothing more is logged to MLflow")
    assert "..." not in said, "the way out is not cut off"
    return said


def test_the_store_lies_in_the_root_whatever_its_name(project, tmp_path, capfd):
    root = project(name := "what ?x=1&a%20b 50%#+ü")
    for stage in ("a", "b"):
        with tracking.stage_run(stage, {"seed": 7}) as run:
            run.metrics({"lsd": 1})
            run.artifact("params.yaml")
    assert capfd.readouterr().err == ""
    assert [path.name for path in tmp_path.iterdir()] == [name]
    store = tracking._Store()
    store.open()
    assert sorted(run.info.run_name for run in store.find()) == ["a", "b", "odd"]
    assert len(list(root.rglob("artifacts/params.yaml"))) == 2


def test_a_deleted_experiment_is_called_so_with_the_way_back(project, capsys):
    project("plain")
    with tracking.stage_run("cyclegan", {"seed": 7}):
        pass
    store = tracking._Store()
    store.open()
    store.client.delete_experiment(store.experiment)
    capsys.readouterr()
    said = warned(capsys)
    assert "'retimbre' is deleted in MLflow: bring it back with `mlflow experiments restore" in said
    assert f"--experiment-id {store.experiment}`" in said
    store.client.restore_experiment(store.experiment)
    tracking._Store.works = True
    with tracking.stage_run("cyclegan", {"seed": 7}):
        pass
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("uri", ["file:///tmp/mlruns", "./mlruns", "/tmp/mlruns", "file:mlruns"])
def test_a_store_of_files_is_called_so_with_what_to_set(project, monkeypatch, capsys, uri):
    project("plain")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    said = warned(capsys)
    assert f"MLFLOW_TRACKING_URI is the folder {uri}" in said and "set it to sqlite:////" in said


def test_names_that_are_not_utf_8_can_be_printed_and_long_ones_written(tmp_path):
    assert shown(os.fsdecode(b"caf\xe9.wav")) == "caf?.wav"
    for name in ("x" * 255, "ü" * 127, os.fsdecode(b"caf\xe9")):
        with write_atomically(tmp_path / name) as file:
            file.write("1")
    assert len(os.listdir(tmp_path)) == 3


def test_the_command_in_odd_places_says_what_it_used_or_why_not(tmp_path, monkeypatch, capsys):
    """A name that is not UTF-8, an offset, a pipe: no traceback, exit status 0 or 1, and true reasons."""
    models = write_models(tmp_path / "models")
    place = tmp_path / "a ?%20b"
    place.mkdir()
    soundfile.write(os.fsencode(place / os.fsdecode(b"caf\xe9.wav")), melody(1.0) + 0.3, RATE)
    os.mkfifo(place / "pipe.wav")
    words = ["transfer", os.fsdecode(b"caf\xe9.wav"), "--to", "guitar", "--models", str(models)]
    # In a process of its own, whose streams take no name that is not UTF-8.
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "PYTHONIOENCODING": "utf-8:strict"}
    command = [sys.executable, "-m", "retimbre.cli", *words]
    done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"caf?-guitar.wav  (by cyclegan of {models}, 1.0 s")
    assert "note: caf?.wav: has an offset or rumble of -10 dBFS: it is taken off" in done.stderr
    monkeypatch.chdir(place)
    with pytest.raises(SystemExit) as stop:
        main([words[0], "pipe.wav", *words[2:]])
    said, refusal = capsys.readouterr()
    assert stop.value.code == 1 and said == ""
    assert refusal.startswith("error: pipe.wav is a pipe or device") and refusal.count("\n") == 1
    assert len(os.listdir(place)) == 3
