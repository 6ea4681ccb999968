"""The pipeline as people use it, at smoke scale: real DVC, real MLflow, real trainings, in a repository of
its own.

The tests share one repository (building it takes most of the time) and run in the order of this file; each
leaves the workspace as it found it: default params, everything up to date.
"""

import csv
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import soundfile
import yaml

from retimbre.evaluation.bench.rows import Row
from retimbre.systems import catalogue
from retimbre.systems.catalogue import DEFAULTS
from retimbre.tracking import flatten
from tests.toys import ROOT
from tests.toys.project import copy_checkout, smoke

STAGES = [
    "download",
    "resample",
    "features",
    "content",
    "classifier",
    "vocoder@inverter",
    "vocoder@istft",
    *DEFAULTS,
    "system@toy",
    "evaluate",
]
TRAININGS = {
    "classifier": "classifier",
    "vocoder@inverter": "vocoder_inverter",
    "vocoder@istft": "vocoder_istft",
    **{name: name for name in DEFAULTS},
    "system@toy": "toy",
}
SECONDS = 1200  # only catches what hangs: no test depends on how fast the machine is


TOY = {  # a system of one's own: its folder; its name and section in params.yaml are all else
    "__init__.py": '''"""Toy that turns the music down."""\n''',
    "params.py": """
from retimbre.section import Positive, Precision, SystemSection


class Params(SystemSection):
    gain: Positive
    precision: Precision
""",
    "train.py": """
from retimbre.systems.toy.system import System


def fit(data, p, run):
    features = data.features
    return System(p.gain, features.config.sample_rate, features.domains), [{"step": 1, "loss/toy": p.gain}]
""",
    "system.py": """
import json


class System:
    name, rms, sources, slow, parameters = "toy", 0.1, None, True, 0

    def __init__(self, gain, sample_rate, targets):
        self.gain, self.sample_rate, self.targets = gain, sample_rate, targets

    def transfer(self, audio, to, seed=0):
        return self.gain * audio

    def save(self, folder):
        folder.mkdir(parents=True, exist_ok=True)
        values = {"gain": self.gain, "sample_rate": self.sample_rate, "targets": self.targets}
        (folder / "config.json").write_text(json.dumps(values))

    @classmethod
    def load(cls, folder):
        values = json.loads((folder / "config.json").read_text())
        return cls(values["gain"], values["sample_rate"], values["targets"])
""",
}


class Repository:
    """A checkout of this project with smoke params, and what was said there last."""

    def __init__(self, folder: Path):
        self.folder = folder
        here = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("DVC_", "MLFLOW_", "GIT_", "PYTHONPATH"))
        }
        identity = {
            f"GIT_{who}_{what}": "tester@example.org"
            for who in ("AUTHOR", "COMMITTER")
            for what in ("NAME", "EMAIL")
        }
        path = os.pathsep.join([str(Path(sys.executable).parent), here["PATH"]])
        # DVC keeps its site cache (locks, the index) outside the repository unless told otherwise.
        cache = {"DVC_SITE_CACHE_DIR": str(folder.parent / "site-cache"), "MLFLOW_DISABLE_TELEMETRY": "true"}
        self.environment = {**here, **identity, **cache, "PATH": path, "PYTHONUNBUFFERED": "1"}
        self.done: set[tuple[str, ...]] = set()  # the shapes of all commands run, see shape()

    def run(self, *words: str, status: int = 0, **environment: str) -> str:
        """Run a command; what it printed (both streams). Fails when the exit status is another one."""
        result = subprocess.run(
            words,
            cwd=self.folder,
            env={**self.environment, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SECONDS,
        )
        assert result.returncode == status, f"{' '.join(words)}: status {result.returncode}\n{result.stdout}"
        self.done.add(shape(words))
        return result.stdout

    def dvc(self, *words: str, status: int = 0, **environment: str) -> str:
        return self.run("dvc", *words, status=status, **environment)

    def git(self, *words: str) -> str:
        return self.run("git", *words)

    def python(self, *words: str) -> str:
        """Run Python with the package of this checkout; what it printed."""
        return self.run(sys.executable, *words, PYTHONPATH=str(self.folder / "src"))

    def retimbre(self, *words: str) -> str:
        said = self.python("-m", "retimbre.cli", *words)
        self.done.add(shape(("retimbre", *words)))
        return said

    def lock(self, text: str = "") -> dict[str, dict[str, str]]:
        """The md5 of every output by stage, as the workspace's dvc.lock has them, or that of a commit."""
        stages = yaml.safe_load(text or (self.folder / "dvc.lock").read_text())["stages"]
        return {
            name: {out["path"]: out["md5"] for out in stage.get("outs", [])} for name, stage in stages.items()
        }

    def set_param(self, old: str, new: str) -> None:
        path = self.folder / "params.yaml"
        text = path.read_text()
        assert text.count(old) == 1, old
        path.write_text(text.replace(old, new))

    def store(self) -> tuple[list[Any], list[Any], Any]:
        """The parent runs and the nested runs of MLflow's store, and its client."""
        from mlflow import MlflowClient

        client = MlflowClient(tracking_uri=f"sqlite:///{self.folder / 'mlflow.db'}")
        experiment = client.get_experiment_by_name("retimbre").experiment_id
        runs = list(client.search_runs([experiment], max_results=1000))
        parents = [run for run in runs if run.data.tags["role"] == "parent"]
        return parents, [run for run in runs if run.data.tags["role"] == "stage"], client


def shape(words: Sequence[str]) -> tuple[str, ...]:
    """A command without what a reader would put in: values, names given with -n, stages."""
    words = [re.sub(r"=.*", "=", word) for word in words if word not in STAGES]
    return tuple(word for i, word in enumerate(words) if "-n" not in (word, words[i - 1] if i else ""))


def ran(said: str) -> list[str]:
    """The stages that a dvc command executed."""
    return re.findall(r"^Running stage '([\w@]+)'", said, re.MULTILINE)


def wait_for(condition: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        if result := condition():
            return result
        time.sleep(0.005)
    raise AssertionError(f"{what} did not happen")


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Repository]:
    """The working tree and a system of its own as one commit of a new repository, without results."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    folder = tmp_path_factory.mktemp("pipeline") / "repository"
    folder.mkdir()
    copy_checkout(folder, lambda name: not re.fullmatch(r"dvc\.lock|metrics/.*\.json", name))
    for name, source in TOY.items():
        path = folder / "src/retimbre/systems/toy" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(source)
    values = smoke(systems={"toy": "toy"}, toy={"gain": 0.5, "precision": "32-true"})
    (folder / "params.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    repository = Repository(folder)
    repository.git("init", "-q", "-b", "main")
    repository.git("add", "-A")
    repository.git("commit", "-q", "-m", "everything")
    yield repository
    repository.run("dvc", "queue", "stop", "--kill")


@pytest.fixture(scope="module")
def first(fresh: Repository) -> str:
    """What the first ``dvc repro`` said; afterwards its results are committed."""
    said = fresh.dvc("repro")
    fresh.git("add", "dvc.lock", "metrics")
    fresh.git("commit", "-q", "-m", "results")
    return said


@pytest.fixture
def repo(fresh: Repository, first: str) -> Iterator[Repository]:
    """The repository with everything made once. What a failing test leaves behind must not fail the next
    ones.
    """
    yield fresh
    if fresh.git("status", "--porcelain"):
        fresh.git("checkout", "-q", ".")
        fresh.dvc("checkout", "--force")


def test_first_repro_makes_everything(repo: Repository, first: str) -> None:
    assert sorted(ran(first)) == sorted(STAGES), "each once"
    assert repo.git("status", "--porcelain") == "", "outputs, stores and checkpoints are ignored"
    for name in (
        "evaluation",
        "vocoders",
        "stages/features",
        "stages/content",
        *(f"stages/{name}" for name in TRAININGS.values()),
    ):
        text = (repo.folder / f"metrics/{name}.json").read_text()
        values = json.loads(text)
        assert values and "NaN" not in text and "Infinity" not in text
        inner = [v for value in values.values() if isinstance(value, dict) for v in value.values()]
        assert not any(isinstance(value, dict) for value in inner)
    rows = json.loads((repo.folder / "metrics/evaluation.json").read_text())
    assert {"copy", *DEFAULTS, "resynthesis_scrambled"} <= set(rows)
    assert rows["toy"]["content_note_f1"] == rows["copy"]["content_note_f1"] == 1, (
        "it only turns down, and is levelled again"
    )
    made = "raw/manifest.csv resampled/index.csv features/statistics.json content/index.csv"
    made += " evaluation/report.html"
    for path in made.split():
        assert (repo.folder / "data" / path).stat().st_size > 0
    for name in ("classifier", *DEFAULTS, "vocoder/inverter", "vocoder/istft"):
        folder = repo.folder / "data/models" / name
        assert (folder / "config.json").is_file() and list(folder.rglob("*.safetensors"))
        assert {path.suffix for path in folder.rglob("*") if path.is_file()} <= {".json", ".safetensors"}
    speed = json.loads((repo.folder / "data/speed.json").read_text())
    assert all(speed["rtf"][name] > 0 for name in DEFAULTS)
    left = {path.parent.name for path in (repo.folder / ".scratch").glob("*/*")}
    assert left <= {"evaluation"}, (
        "finished trainings leave no checkpoints; evaluate keeps outputs and scores for the next run"
    )


def test_second_repro_runs_nothing(repo: Repository) -> None:
    said = repo.dvc("repro")
    assert ran(said) == [] and "up to date" in said


def test_dag_is_the_chain(repo: Repository) -> None:
    edges = set(re.findall(r'"([\w@]+)" -> "([\w@]+)"', repo.dvc("dag", "--dot")))
    chain = {("download", "resample"), ("resample", "features"), ("vocoder@inverter", "vocoder@istft")}
    chain |= {(name, "resynthesis") for name in ("resample", "features", "content", "vocoder@inverter")}
    chain |= {("resample", "content")}
    trainings = {("features", name) for name in TRAININGS}
    evaluation = {(name, "evaluate") for name in TRAININGS}
    assert chain | trainings | evaluation <= edges


def test_mlflow_has_one_parent_with_the_trainings_below_it(repo: Repository) -> None:
    parents, nested, client = repo.store()
    (parent,) = parents
    assert sorted(run.info.run_name for run in nested) == sorted(TRAININGS.values())
    assert all(run.data.tags["mlflow.parentRunId"] == parent.info.run_id for run in nested)
    assert {run.info.status for run in (parent, *nested)} == {"FINISHED"}
    params = yaml.safe_load((repo.folder / "params.yaml").read_text())
    # Of studies with people; of systems that are not trained: no stage reads them.
    for name in ("listening", *(set(catalogue.names()) - set(DEFAULTS))):
        del params[name]
    logged = set(parent.data.params)
    wanted = {name for name, value in flatten(params, ".").items() if value not in ({}, [])}
    assert wanted <= logged, sorted(wanted - logged)
    assert parent.data.params["model.lambda_cycle"] == str(params["model"]["lambda_cycle"])
    for name in ("features", "content", "vocoders", "evaluation", *TRAININGS.values()):
        assert any(key.startswith(f"{name}/") for key in parent.data.metrics), (
            f"metrics of {name} are on the parent"
        )
    assert {f"evaluation/{name}/style_beyond_eq" for name in DEFAULTS} <= set(parent.data.metrics)
    (cyclegan,) = (run for run in nested if run.info.run_name == "cyclegan")
    curve = client.get_metric_history(cyclegan.info.run_id, "loss/cycle")
    assert len(curve) > 3 and len({point.step for point in curve}) > 3
    artifacts = [
        path
        for run in (parent, *nested)
        for path in (repo.folder / "mlartifacts" / run.info.run_id).rglob("*")
    ]
    assert {".png", ".json", ".csv", ".html", ".flac"} <= {path.suffix for path in artifacts}


def test_experiment_reruns_what_depends_on_the_param_and_going_back_restores(repo: Repository) -> None:
    before = repo.lock()
    said = repo.dvc("exp", "run", "-n", "lambda-ten", "-S", "model.lambda_cycle=10")
    assert sorted(ran(said)) == ["cyclegan", "evaluate"]
    parents, nested, _ = repo.store()
    (parent,) = (run for run in parents if run.info.run_name == "lambda-ten")
    assert (
        parent.data.tags["DVC_EXP_NAME"] == "lambda-ten" and parent.data.params["model.lambda_cycle"] == "10"
    )
    below = [run.info.run_name for run in nested if run.data.tags["mlflow.parentRunId"] == parent.info.run_id]
    assert below == ["cyclegan"]
    assert any(key.startswith("classifier/") for key in parent.data.metrics), (
        "numbers of cached stages are there too"
    )
    assert parent.data.params["vocoder.istft.n_fft"], "and their params"
    after = repo.lock()
    assert after["cyclegan"]["data/models/cyclegan"] != before["cyclegan"]["data/models/cyclegan"]
    assert {name for name in STAGES if after[name] != before[name]} <= {"cyclegan", "evaluate"}
    assert_differences_are_shown(repo)

    repo.git("checkout", "-q", "params.yaml")
    said = repo.dvc("repro")
    assert ran(said) == [] and "'cyclegan' is cached - skipping run" in said
    assert repo.lock() == before
    assert repo.git("status", "--porcelain") == ""


def assert_differences_are_shown(repo: Repository) -> None:
    """Those of the experiment ``lambda-ten``, which the workspace holds, by the README's commands."""
    difference = repo.dvc("metrics", "diff")
    assert "metrics/evaluation.json" in difference and "metrics/stages/cyclegan.json" in difference
    assert "metrics/stages/classifier.json" not in difference
    assert re.search(r"model\.lambda_cycle +4 +10\b", repo.dvc("params", "diff"))
    (show,) = (command for command in readme_commands() if command.startswith("dvc exp show"))
    table = repo.dvc(*shlex.split(show)[1:])
    assert "cyclegan.skill" in table and "model.lambda_cycle" in table and "bootstrap" not in table
    (row,) = (line for line in table.splitlines() if "lambda-ten" in line)
    assert " 10 " in row
    plots = repo.dvc("plots", "diff")
    page = (repo.folder / "dvc_plots/index.html").read_text()
    assert "error" not in plots.lower(), plots
    assert "workspace" in page and "loss/cycle" in page and ".png" in page
    compared = repo.retimbre("compare", "HEAD", "workspace")
    assert f"A = HEAD; B = workspace; system {DEFAULTS[0]}" in compared


def out_of_date(repo: Repository) -> set[str]:
    """The stages that ``dvc repro`` would run, but for those that only wait for others."""
    return set(json.loads(repo.dvc("status", "--json")))


def test_what_measures_draws_or_samples_makes_no_training_out_of_date(repo: Repository) -> None:
    edits = (
        ("src/retimbre/evaluation/report/report.css", "color:", "color :"),
        ("src/retimbre/metrics/spectral.py", '"""', '"""Once more. '),
        ("src/retimbre/metrics/energy.py", "return ", "return 1 * "),
        ("params.yaml", "beam_step: 1024", "beam_step: 512"),
        ("params.yaml", "jobs: 1", "jobs: 2"),
        ("params.yaml", "log_every: 5", "log_every: 6"),
        # One more system: it is trained, and it alone.
        ("params.yaml", "toy:\n", "louder:\n  gain: 2.0\n  precision: 32-true\ntoy:\n"),
        ("params.yaml", "  toy: toy\n", "  toy: toy\n  louder: toy\n"),
    )
    for path, old, new in edits:
        text = (repo.folder / path).read_text()
        assert old in text
        (repo.folder / path).write_text(text.replace(old, new, 1))
    assert out_of_date(repo) == {"evaluate", "system@louder"}
    repo.git("checkout", "-q", ".")
    assert out_of_date(repo) == set()


def test_a_row_of_the_bench_is_what_the_command_makes(repo: Repository) -> None:
    """The same samples, of the same recording, but for the rounding to 16 bits; the first default system is
    what the command takes by itself, and a system of one's own is a choice of it.
    """
    evaluation = repo.folder / "data/evaluation"
    with (evaluation / "outputs.csv").open(newline="") as file:
        files = {(row["direction"], row["item"], row["system"]): row for row in csv.DictReader(file)}
    made, commands = {}, []
    for system in (*DEFAULTS, "toy"):
        (direction, item, _), row = next((key, row) for key, row in files.items() if key[2] == system)
        source = evaluation / files[direction, item, "source"]["path"]
        seed = Row(system, None).seed(SimpleNamespace(name=f"{direction}.{item}"), smoke()["seed"])
        made[system] = evaluation / row["path"]
        words = ["transfer", str(source), "--to", row["target_domain"], "-o", f"row-{system}.wav"]
        named = [] if system == DEFAULTS[0] else ["--system", system]
        commands.append([*words, "--seed", str(seed), *named])
    # One process: importing takes longer than the rest.
    said = repo.python("-c", f"from retimbre.cli import main\nfor words in {commands}:\n    main(words)")
    for system, path in made.items():
        assert f"(by {system} of " in said
        heard = repo.folder / f"row-{system}.wav"
        (x, _), (y, _) = (soundfile.read(file, dtype="int16") for file in (path, heard))
        assert len(x) == len(y) and abs(x).max() > 1000
        assert abs(x.astype(int) - y).max() <= 1
        heard.unlink()


def test_a_temporary_experiment_evaluates_anew_and_gives_the_same_bytes(repo: Repository) -> None:
    """It runs in a copy, leaves the workspace alone and logs to the same store."""
    before = repo.lock()
    shutil.rmtree(repo.folder / ".scratch/evaluation")
    # Of studies with people: no stage reads it.
    options = ("-n", "temporary", "-S", "listening.items=3", "--force", "--single-item", "evaluate")
    assert ran(repo.dvc("exp", "run", "--temp", *options)) == ["evaluate"]
    assert repo.git("status", "--porcelain") == ""
    (commit,) = re.findall(r"^(\w+) .*/temporary$", repo.git("show-ref"), re.MULTILINE)
    assert repo.lock(repo.git("show", f"{commit}:dvc.lock")) == before
    assert repo.git("diff", "--stat", "HEAD", commit, "--", "metrics") == ""
    parents, _, _ = repo.store()
    (parent,) = (run for run in parents if run.info.run_name == "temporary")
    assert parent.data.params["evaluate.bootstrap"] == "100"


def test_queued_experiments_run_their_own_snapshot(repo: Repository) -> None:
    """Two at a time, with the code as it was when they were queued: the workspace's is broken meanwhile."""
    queued = repo.dvc("exp", "run", "--queue", "-S", "model.lambda_cycle=3,7", "cyclegan")
    names = re.findall(r"Queued experiment '([\w-]+)'", queued)
    assert len(names) == 2
    library = repo.folder / "src/retimbre/systems/cyclegan/train.py"
    text = library.read_text()
    library.write_text("raise SystemExit('this is the code of the workspace')\n")
    try:
        # Workers inherit the output: a pipe would stay open until they end.
        with (repo.folder.parent / "queue.log").open("w") as log:
            words = ["dvc", "queue", "start", "-j", "2"]
            streams = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log}
            subprocess.run(words, cwd=repo.folder, env=repo.environment, **streams, check=True)
            repo.done.add(shape(words))

        asked = time.monotonic()

        def ended() -> bool:
            """Ask DVC, which costs a second of a core that the experiments run on, once both have left their
            commits; and twice a minute, lest one failed.
            """
            nonlocal asked
            time.sleep(1)
            left = repo.git("for-each-ref", "refs/exps")
            if not all(name in left for name in names) and time.monotonic() < asked + 30:
                return False
            asked = time.monotonic()
            states = re.findall(r"\b(Queued|Running|Success|Failed)\b", repo.dvc("queue", "status"))
            return len(states) == 2 and not {"Queued", "Running"} & set(states)

        wait_for(ended, "the end of the queue")
    finally:
        library.write_text(text)
    logs = "\n".join(repo.dvc("queue", "logs", name) for name in names)
    assert set(names) <= set(repo.dvc("exp", "list", "--name-only").split()), logs
    assert ran(logs) == ["cyclegan", "cyclegan"]
    parents, nested, _ = repo.store()
    found = {run.info.run_name: run for run in parents}
    assert sorted(found[name].data.params["model.lambda_cycle"] for name in names) == ["3", "7"]
    below = [
        run
        for run in nested
        if run.data.tags["mlflow.parentRunId"] in {found[name].info.run_id for name in names}
    ]
    assert [run.info.run_name for run in below] == ["cyclegan", "cyclegan"]
    assert repo.git("status", "--porcelain") == ""


def test_bad_params_are_refused_in_one_sentence(repo: Repository) -> None:
    before, text = repo.lock(), (repo.folder / "params.yaml").read_text()
    (repo.folder / "params.yaml").write_text("seed: [1\n" + text)
    said = repo.dvc("repro", status=255)
    assert "params.yaml" in said and ran(said) == [], "broken YAML stops before anything runs"
    (repo.folder / "params.yaml").write_text(text)
    repo.set_param("lambda_cycle: 4", "lambda_cycle: 4\n  lambda_cylce: 10")
    said = repo.dvc("repro", status=255)
    sentence = "model.lambda_cylce is not a parameter: remove it or correct its name."
    assert said.count("error: params.yaml: ") == 1 and sentence in said and "Traceback" not in said
    (repo.folder / "params.yaml").write_text(text)
    assert ran(repo.dvc("repro")) == [], "what was finished is restored"
    assert repo.lock() == before


def test_a_training_killed_twice_continues_and_ends_with_the_same_weights(repo: Repository) -> None:
    """``kill -9`` of the training's process, then of DVC with all its children (as when the power goes)."""
    stage, model, plots = "vocoder@inverter", "data/models/vocoder/inverter", "metrics/plots/vocoder/inverter"
    before = repo.lock()[stage]
    words = ["dvc", "repro", "--force", "--single-item", stage]
    scratch, log = repo.folder / ".scratch/vocoder_inverter", repo.folder.parent / "killed.log"
    saved = 0  # ns
    for whom in ("stage", "tree"):
        with log.open("w") as out:
            streams = {"stdin": subprocess.DEVNULL, "stdout": out, "stderr": out, "start_new_session": True}
            process = subprocess.Popen(words, cwd=repo.folder, env=repo.environment, **streams)

        def later_checkpoint(process: subprocess.Popen = process, saved: int = saved) -> list[Path]:
            assert process.poll() is None, log.read_text()
            return [path for path in scratch.glob("*/checkpoint.pt") if path.stat().st_mtime_ns > saved]

        (checkpoint,) = wait_for(later_checkpoint, "a checkpoint")
        if whom == "stage":
            os.kill(int((checkpoint.parent / "lock").read_text()), signal.SIGKILL)
        else:
            os.killpg(process.pid, signal.SIGKILL)
        assert process.wait(SECONDS) != 0
        saved = checkpoint.stat().st_mtime_ns
    assert "vocoder_inverter: continuing from" in repo.dvc(*words[1:])
    after = repo.lock()[stage]
    assert after[model] == before[model], "bit-equal weights"
    assert after[plots] == before[plots], "and the same curves"
    assert not list(scratch.glob("*"))
    statuses = [run.info.status for run in repo.store()[1] if run.info.run_name == "vocoder_inverter"]
    assert "RUNNING" not in statuses and statuses.count("KILLED") == 2


def test_training_survives_a_tracking_server_that_is_away(repo: Repository) -> None:
    before = repo.lock()["classifier"]["data/models/classifier"]
    said = repo.dvc(
        "repro", "--force", "--single-item", "classifier", MLFLOW_TRACKING_URI="http://127.0.0.1:9"
    )
    assert said.count("warning: nothing more is logged to MLflow") == 1 and "Traceback" not in said
    assert repo.lock()["classifier"]["data/models/classifier"] == before


def readme_commands() -> list[str]:
    """Every command in a shell block of the README and of its page on experiments, without its comment."""
    text = "".join((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "docs/experiments.md"))
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    lines = [
        line.split(" #")[0].strip()
        for language, block in blocks
        if not language
        for line in block.splitlines()
    ]
    return [line for line in lines if re.match(r"(dvc|make|git|cp|(\S*/)?retimbre) ", line)]


def test_commands_of_the_readme(repo: Repository) -> None:
    """What the tests above have not run in some form already is run now, in the README's order."""
    shutil.copy(next((repo.folder / "data/raw/test/piano").glob("*.1.flac")), repo.folder / "song.wav")
    commands, own = readme_commands(), []
    assert {"dvc repro", "make repro", "make test", "dvc metrics diff"} <= set(commands)
    try:
        for command in commands:
            words = shlex.split(command)
            if words[0] == "git":
                continue  # this repository stands for the clone
            if words[0] == "make":
                assert "dvc repro" in repo.run("make", "-n", "repro") and "pytest" in repo.run(
                    "make", "-n", "test"
                )
                assert repo.run("make", "-n", *words[1:])
            elif words[0] == "dvc":
                if shape(words) not in repo.done:
                    repo.run(*words)
            elif shape(("retimbre", *words[1:])) not in repo.done:
                own.append(words[1:])
        # One process, as above; a line of its own ends what a command says.
        run, end = "from retimbre.cli import main", "-- end of a command --"
        said = repo.python("-c", f"{run}\nfor words in {own}:\n    main(words)\n    print({end!r})")
        for words, text in zip(own, said.split(end)[:-1], strict=True):
            assert text.strip(), words
            if "-o" in words:
                assert (repo.folder / words[words.index("-o") + 1]).stat().st_size > 10_000
        (snippet,) = re.findall(
            r"^```python\n(.*?)^```",
            (ROOT / "README.md").read_text(encoding="utf-8"),
            re.MULTILINE | re.DOTALL,
        )
        (repo.folder / "out.wav").unlink(missing_ok=True)
        repo.python("-c", snippet)
        assert (repo.folder / "out.wav").stat().st_size > 10_000
        said = repo.retimbre("summary")
        assert all(name in said for name in (*DEFAULTS, "report.html"))
    finally:
        repo.git("clean", "-fdq")
