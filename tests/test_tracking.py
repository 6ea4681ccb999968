"""MLflow on a real SQLite store: what is logged where, and that no failure of it stops a stage."""

import os
import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from retimbre import tracking
from tests.toys import ROOT
from tests.toys.disks import full_disk

SOURCE = ROOT / "src"
PARAMS = {"seed": 7, "model.lambda_cycle": 4.0, "model.rate": 2.0e-4, "model.domains": ["piano", "guitar"]}


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database without experiments, created once: that takes seconds."""
    folder = tmp_path_factory.mktemp("store")
    patch = pytest.MonkeyPatch()
    patch.setenv("DVC_ROOT", str(folder))
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_DISABLE_TELEMETRY"):
        patch.delenv(name, raising=False)
    store = tracking._Store()
    store.connect()
    store.client.search_experiments()
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
    patch.undo()
    return folder


@pytest.fixture
def place(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with params and an empty store, as a stage of experiment ``plucky-oboe`` sees it."""
    shutil.copy(empty_store / "mlflow.db", tmp_path)
    (tmp_path / "params.yaml").write_text("seed: 7\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setenv("DVC_EXP_NAME", "plucky-oboe")
    monkeypatch.setenv("DVC_STAGE", "cyclegan")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(tracking._Store, "works", True)
    return tmp_path


def runs() -> tuple[dict, dict]:
    """All runs of the store by name: parents and nested ones (lists, oldest first)."""
    store = tracking._Store()
    store.open()
    parents, nested = {}, {}
    for run in reversed(store.find()):
        (parents if run.data.tags["role"] == "parent" else nested).setdefault(run.info.run_name, []).append(
            run
        )
    return parents, nested


def test_a_stage_is_a_nested_run_of_its_experiment(place: Path) -> None:
    with tracking.stage_run("cyclegan", PARAMS) as run:
        for step in range(250):  # more than one batch
            run.log(step, {"loss/cycle": 1 / (step + 1), "loss/broken": float("nan")})
        run.metrics({"lsd": 2.5, "per_domain": {"guitar": 3}, "note": "not a number"})
        run.text("{}", "model/config.json")
        run.artifact("params.yaml", "settings")
    with tracking.stage_run("vocoder", {"seed": 7, "vocoder": {"wavenet_steps": 10}}) as run:
        run.metrics({"bits_per_sample": 2.0})
    parents, nested = runs()
    assert list(parents) == ["plucky-oboe"] and len(parents["plucky-oboe"]) == 1
    parent = parents["plucky-oboe"][0]
    assert parent.data.params == {
        "seed": "7",
        "model.lambda_cycle": "4",
        "model.rate": "0.0002",
        "model.domains": "['piano', 'guitar']",
        "vocoder.wavenet_steps": "10",
    }
    assert parent.data.metrics == {
        "cyclegan/lsd": 2.5,
        "cyclegan/per_domain/guitar": 3.0,
        "vocoder/bits_per_sample": 2.0,
    }
    assert parent.data.tags["DVC_EXP_NAME"] == parent.data.tags["dvc.key"] == "plucky-oboe"
    assert list(nested) == ["cyclegan", "vocoder"]
    stage = nested["cyclegan"][0]
    assert stage.info.status == parent.info.status == "FINISHED"
    assert stage.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert stage.data.params.keys() == PARAMS.keys() and stage.data.params["model.lambda_cycle"] == "4"
    assert stage.data.metrics == {"loss/cycle": 1 / 250, "lsd": 2.5, "per_domain/guitar": 3.0}
    store = tracking._Store()
    store.open()
    curve = store.client.get_metric_history(stage.info.run_id, "loss/cycle")
    assert [(point.step, point.value) for point in curve] == [(step, 1 / (step + 1)) for step in range(250)]
    (final,) = store.client.get_metric_history(stage.info.run_id, "lsd")
    assert final.step == 249, (
        "the end of the curves: at step 0 a curve of the same name would begin with its last value"
    )
    artifacts = [path for path in place.rglob("artifacts/*/*") if stage.info.run_id in path.parts]
    assert sorted(path.name for path in artifacts) == ["config.json", "params.yaml"]


def test_a_cell_of_a_study_is_a_run_of_its_own_in_the_studys_experiment(place: Path) -> None:
    with tracking.study_run("ablation", "patch-1", PARAMS | {"variant": "patch"}) as run:
        run.log(20, {"loss/cycle": 0.5})
        run.log(40, {"loss/cycle": 0.25})
        run.metrics({"skill": 0.5, "undefined": float("nan")})
    store = tracking._Store()
    store.open("ablation")
    (found,) = store.find()
    about = (found.info.run_name, found.info.status, found.data.tags["role"])
    assert about == ("patch-1", "FINISHED", "cell")
    assert "mlflow.parentRunId" not in found.data.tags
    assert found.data.params["model.lambda_cycle"] == "4" and found.data.params["variant"] == "patch"
    assert found.data.metrics == {"loss/cycle": 0.25, "skill": 0.5}
    assert [m.value for m in store.client.get_metric_history(found.info.run_id, "loss/cycle")] == [0.5, 0.25]
    assert runs() == ({}, {}), "the pipeline's own experiment has no run of a study"


def test_a_cell_that_was_killed_is_marked_by_its_next_run(place: Path) -> None:
    tracking.StudyRun(tracking._Store(), "ablation", "patch-1", PARAMS)
    with tracking.study_run("ablation", "patch-1", PARAMS):
        pass
    store = tracking._Store()
    store.open("ablation")
    assert [run.info.status for run in store.find()] == ["FINISHED", "KILLED"]


def test_evaluate_completes_the_parent(place: Path) -> None:
    with tracking.stage_run("cyclegan", PARAMS):
        pass
    (place / "report").mkdir()
    (place / "report/index.html").write_text("<p>")
    metrics = {
        "evaluation": {"cyclegan": {"skill": 0.5, "style_beyond_eq": None}},
        "classifier": {"accuracy": 1},
    }
    tracking.log_to_parent({**PARAMS, "audio": {"rms": 0.1}}, metrics, ["report", "params.yaml"])
    parents, _ = runs()
    (parent,) = parents["plucky-oboe"]
    assert parent.data.metrics == {"evaluation/cyclegan/skill": 0.5, "classifier/accuracy": 1.0}
    assert parent.data.params["audio.rms"] == "0.1" and parent.data.params["seed"] == "7"
    assert parent.info.status == "FINISHED"
    assert [path.name for path in place.rglob("artifacts/report/*")] == ["index.html"]


@pytest.mark.parametrize(("error", "status"), [(KeyboardInterrupt, "KILLED"), (ValueError, "FAILED")])
def test_status_of_a_stage_that_did_not_finish(place: Path, error: type[BaseException], status: str) -> None:
    with pytest.raises(error), tracking.stage_run("cyclegan", PARAMS) as run:
        run.log(3, {"loss/cycle": 0.5})
        raise error
    parents, nested = runs()
    assert nested["cyclegan"][0].info.status == parents["plucky-oboe"][0].info.status == status
    assert nested["cyclegan"][0].data.metrics == {"loss/cycle": 0.5}, "what waited is sent"


def test_a_killed_process_is_marked_by_the_next(place: Path) -> None:
    tracking.StageRun(tracking._Store(), "cyclegan", PARAMS)  # never ended, as after kill -9
    with tracking.stage_run("cyclegan", PARAMS):
        pass
    parents, nested = runs()
    assert [run.info.status for run in nested["cyclegan"]] == ["KILLED", "FINISHED"]
    assert len(parents["plucky-oboe"]) == 1


def test_other_params_under_the_same_name_get_another_parent(place: Path) -> None:
    for weight in (4, 10, 10):
        with tracking.stage_run("cyclegan", {**PARAMS, "model.lambda_cycle": weight}):
            pass
    parents, _ = runs()
    assert [run.data.params["model.lambda_cycle"] for run in parents["plucky-oboe"]] == ["4", "10"]


def test_workspace_runs_are_keyed_by_params(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DVC_EXP_NAME")
    names = []
    for text in ("seed: 7\n", "seed: 8\n", "seed: 7\n"):
        (place / "params.yaml").write_text(text)
        with tracking.stage_run("cyclegan", {"seed": int(text[6])}):
            pass
        names = list(runs()[0])
    assert len(names) == 2 and all(name.startswith("ws-") and len(name) == 11 for name in names)


def survives(capsys: pytest.CaptureFixture) -> str:
    """Run a stage whose tracking fails somewhere; the one line that it said."""
    reached = []
    with tracking.stage_run("cyclegan", PARAMS) as run:
        for step in range(500):
            run.log(step, {"loss/cycle": 0.5})
        run.metrics({"lsd": 2})
        run.text("a", "b.txt")
        run.artifact("params.yaml")
        reached.append("end")
    tracking.log_to_parent(PARAMS, {"evaluation": {"a": 1}})
    assert reached == ["end"]
    return capsys.readouterr().err


def test_unreachable_server(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")  # the discard port: nobody listens
    said = survives(capsys)
    assert said.startswith("warning: nothing more is logged to MLflow, the stage goes on (")
    assert said.count("\n") == 1


def test_broken_database(place: Path, capsys: pytest.CaptureFixture) -> None:
    (place / "mlflow.db").write_text("not a database " * 1000)
    said = survives(capsys)
    assert "file is not a database" in said and said.count("\n") == 1


def test_full_disk_in_the_middle(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    opened = tracking.StageRun._start
    with ExitStack() as disk:

        def start_then_fill(self: tracking.StageRun, params: dict) -> str:
            name = opened(self, params)
            disk.enter_context(full_disk((place / "mlflow.db").stat().st_size))
            return name

        monkeypatch.setattr(tracking.StageRun, "_start", start_then_fill)
        said = survives(capsys)
    # MLflow may log the database's error beside it.
    (warning,) = (line for line in said.splitlines() if line.startswith("warning"))
    assert warning.startswith("warning: nothing more is logged")


def test_users_may_turn_telemetry_on(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "false")
    tracking._Store().open()
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "false"


def test_processes_that_start_together_on_a_fresh_store(tmp_path: Path) -> None:
    code = "import sys; from retimbre import tracking\n"
    code += "with tracking.stage_run(sys.argv[1], {'seed': 7}) as run: run.metrics({'a': 1})"
    environment = os.environ | {"DVC_ROOT": str(tmp_path), "DVC_EXP_NAME": "two", "PYTHONPATH": str(SOURCE)}
    environment.pop("MLFLOW_TRACKING_URI", None)
    words = [sys.executable, "-c", code]
    processes = [
        subprocess.Popen([*words, name], cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)
        for name in "ab"
    ]
    for process in processes:
        _, said = process.communicate()
        assert process.returncode == 0 and said == ""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DVC_ROOT", str(tmp_path))
        parents, nested = runs()
    assert list(parents) == ["two"] and len(parents["two"]) == 1
    assert parents["two"][0].data.metrics == {"a/a": 1.0, "b/a": 1.0}
    assert sorted(nested) == ["a", "b"]


def test_only_tracking_imports_mlflow_and_lazily() -> None:
    code = "import sys; from retimbre import tracking; sys.exit('mlflow' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": str(SOURCE)}, check=True)
