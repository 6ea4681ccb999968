"""``dvc.yaml`` and the package's folders against the code, without running a stage."""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
import yaml

from retimbre import params, provenance
from retimbre.errors import RetimbreError
from retimbre.systems import catalogue
from retimbre.vocoders.kinds import STARTS_FROM
from stages import train, vocoder
from tests.toys import ROOT

PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
LIBRARY = ROOT / "src/retimbre"
ORDER = "download resample features content classifier vocoder resynthesis cyclegan system evaluate".split()
FURTHER = {name: name for name in catalogue.names() if name not in catalogue.DEFAULTS}
TRAININGS = {  # stage -> module of its training
    "classifier": "retimbre.classifiers.train",
    **{name: f"retimbre.systems.{name}.train" for name in catalogue.DEFAULTS},
    **{f"system@{name}": f"retimbre.systems.{name}.train" for name in FURTHER},
    **{f"vocoder@{name}": f"retimbre.vocoders.{name}.train" for name in STARTS_FROM},
}
RENDERING = {"resynthesis", "system@stft_autoencoder", *(f"vocoder@{name}" for name in STARTS_FROM)}
VOCODERS = LIBRARY / "vocoders"
# Of other vocoders, what a training of a vocoder or of what renders with one imports: the inverter, the
# contract, the types of all params.
BENEATH_VOCODERS = {
    *VOCODERS.glob("*.py"),
    *VOCODERS.glob("inverter/*.py"),
    *VOCODERS.glob("*/__init__.py"),
    *VOCODERS.glob("*/params.py"),
    *(LIBRARY / "nn/wavenet" / name for name in ("__init__.py", "options.py")),
}
BELOW = "audio metrics nn datasets training vocoders classifiers synthesis systems"
ROOMS = f"{BELOW} evaluation listening app".split()
# Of one floor: neither imports the other.
ABOVE = {"vocoders": {"classifiers"}, "classifiers": {"vocoders"}, "app": {"listening"}}
LEAVES = set("arguments section paths provenance errors progress serving tracking weights workers".split())
TOP = {"params", "doctor", "cli"}  # what only stages and commands import


def expanded() -> dict[str, dict]:
    """Every stage that DVC makes of ``dvc.yaml``, of every network of vocoders and every further system."""
    found = {}
    for name, stage in PIPELINE["stages"].items():
        if "foreach" in stage:
            items = STARTS_FROM if name == "vocoder" else FURTHER
            for key, item in items.items():
                found[f"{name}@{key}"] = substituted(stage["do"], {"${key}": key, "${item}": item})
        else:
            found[name] = stage
    return found


def substituted(stage: dict, names: dict[str, str]) -> dict:
    text = json.dumps(stage)
    for name, value in names.items():
        text = text.replace(name, value)
    return json.loads(text)


STAGES = expanded()


def paths(items: list) -> list[str]:
    """The paths of a list of deps, outs or metrics, whose entries may carry options."""
    return [next(iter(item)) if isinstance(item, dict) else item for item in items]


def outputs(stage: dict) -> list[str]:
    return paths([*stage.get("outs", []), *stage.get("metrics", []), *stage.get("plots", [])])


def code_of(stage: dict) -> list[str]:
    return [path for path in paths(stage["deps"]) if path.startswith(("src/", "stages/"))]


def sources() -> list[Path]:
    return sorted([*LIBRARY.rglob("*.py"), *(ROOT / "stages").glob("*.py")])


def imported_modules(file: Path) -> set[str]:
    """Names of the modules that a file imports anywhere in it, but for type checkers only."""
    inside = ROOT / "src" if ROOT / "src" in file.parents else ROOT
    package = ".".join(file.relative_to(inside).parts[:-1])
    return provenance.imports_of(ast.parse(file.read_text(encoding="utf-8")), package, in_functions=True)


def test_the_pipeline_is_read_in_one_sitting() -> None:
    lines = (ROOT / "dvc.yaml").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 200
    assert list(PIPELINE["stages"]) == ORDER
    scripts = {path.stem for path in (ROOT / "stages").glob("*.py")} - {"__init__"}
    assert {stage["cmd"].split()[2].removeprefix("stages.") for stage in STAGES.values()} == scripts
    for name in scripts:
        assert len((ROOT / "stages" / f"{name}.py").read_text(encoding="utf-8").splitlines()) < 100, name


@pytest.mark.parametrize("name", STAGES)
def test_code_is_listed_by_folders_that_exist(name: str) -> None:
    for path in code_of(STAGES[name]):
        assert (ROOT / path).is_dir(), f"{name}: {path} is no folder"


@pytest.mark.parametrize("name", TRAININGS)
def test_a_training_lists_what_changes_its_weights_and_nothing_that_measures_or_draws(name: str) -> None:
    """Every module that the training runs lies in a listed folder, but for those that change no result."""
    listed = [ROOT / path for path in code_of(STAGES[name])]
    loose = {LIBRARY / f"{room}__init__.py" for room in ("", "systems/", "vocoders/", "nn/", "datasets/")}
    kept = ("systems/base.py", "nn/weights.py", "datasets/parallel.py")
    loose |= {LIBRARY / name for name in kept}
    for file in provenance.sources(TRAININGS[name]):
        room = file.relative_to(LIBRARY).parts[0]
        assert room not in ("metrics", "evaluation", "listening"), f"{name} runs {file.relative_to(LIBRARY)}"
        if file in loose or any(folder in file.parents for folder in (*listed, LIBRARY / "nn/generation")):
            continue  # what only saves, spreads work, holds a contract, or samples from what is trained
        assert name in RENDERING and file in BENEATH_VOCODERS, (
            f"{name}: {file.relative_to(ROOT)} is in no listed folder"
        )
    for path in code_of(STAGES[name]):
        room = path.removeprefix("src/retimbre/")
        assert not room.startswith(("metrics", "evaluation", "listening")), path
        assert room not in ("systems", "vocoders"), "its own folder, not everybody's"


@pytest.mark.parametrize("name", STAGES)
def test_params_read_are_the_params_listed(name: str) -> None:
    """Whole sections (of a vocoder its own part of one); ``machine`` is read and listed by none."""
    listed = STAGES[name]["params"]
    assert not [param for param in listed if param.split(".")[0] in ("machine", "listening")]
    tree = ast.parse(
        (ROOT / "stages" / f"{STAGES[name]['cmd'].split()[2].split('.')[1]}.py").read_text(encoding="utf-8")
    )
    loads = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "params.load"
    ]
    assert len(loads) == 1 and not loads[0].keywords
    read = []
    for argument in loads[0].args:
        if isinstance(argument, ast.Constant):
            read.append(argument.value)
        elif isinstance(argument, ast.Starred):  # evaluate names them above
            (words,) = (
                node.value.func.value.value
                for node in tree.body
                if ast.unparse(node).startswith("SECTIONS = ")
            )
            read += words.split()
        else:  # train: the system's own section
            read.append(catalogue.section_name(name.rpartition("@")[2]))
    assert list(dict.fromkeys(param.split(".")[0] for param in listed)) == [
        section for section in read if section != "machine"
    ]
    if name.startswith("vocoder@"):
        assert listed == ["seed", "vocoder.representation", f"vocoder.{name.split('@')[1]}"]


def test_every_param_belongs_to_a_stage() -> None:
    listed = {param.split(".")[0] for stage in STAGES.values() for param in stage["params"]}
    assert listed == set(PARAMS) - {"machine", "listening"}  # of the machine, and of studies with people


def test_data_flows_as_designed() -> None:
    makes = {output: name for name, stage in STAGES.items() for output in outputs(stage)}
    assert len(makes) == sum(len(outputs(stage)) for stage in STAGES.values()), (
        "no two stages write the same output"
    )
    reads = {
        name: {
            maker
            for path in paths(stage["deps"])
            for output, maker in makes.items()
            if f"{output}/".startswith(f"{path}/")
        }
        for name, stage in STAGES.items()
    }
    assert reads["resample"] == {"download"}
    assert reads["features"] == reads["content"] == {"resample"}
    assert reads["classifier"] == reads["cyclegan"] == {"features"}
    for name in ("vocoder@inverter", "vocoder@wavenet"):
        assert reads[name] == {"resample", "features"}
    for name in FURTHER:
        assert reads[f"system@{name}"] == {"resample", "features", "content"}
    assert reads["vocoder@istft"] == reads["vocoder@excited"] == {"resample", "features", "vocoder@inverter"}
    assert reads["resynthesis"] == {"resample", "features", "content", "vocoder@inverter"}
    assert set(STAGES) - reads["evaluate"] == {"evaluate"}


def test_trainings_keep_the_run_cache() -> None:
    for stage in STAGES.values():
        assert not stage.get("always_changed") and not stage.get("frozen")
        for item in stage["outs"]:
            assert isinstance(item, str), "persist and cache: false switch the run cache off or lose outputs"


def test_outputs_are_ignored_up_front_and_metrics_are_not() -> None:
    """DVC rolls back the entries that it adds itself when a later stage fails."""

    def ignored(path: str) -> bool:
        return subprocess.run(["git", "check-ignore", "-q", path], cwd=ROOT).returncode == 0

    for stage in STAGES.values():
        for path in paths(stage["outs"]):
            assert ignored(path), f"{path} is not ignored"
        for item in stage.get("metrics", []):
            ((path, options),) = item.items()
            assert options == {"cache": False}
            assert not ignored(path), f"{path} must be in Git"
    for path in "mlflow.db mlartifacts/x .scratch/x .mlflow.lock .venv/x src/retimbre.egg-info/x".split():
        assert ignored(path), f"{path} is not ignored"


def test_plots_and_artifacts_are_outputs() -> None:
    outs = [path for stage in STAGES.values() for path in paths(stage["outs"])]
    for plot in PIPELINE["plots"]:
        for name, settings in plot.items():
            for file in settings["y"] if settings else [name]:
                assert any(file.startswith(f"{out}/") for out in outs), file
    assert {entry["path"] for entry in PIPELINE["artifacts"].values()} <= set(outs)


def test_dvc_is_quiet_and_ignores_byte_code() -> None:
    config = (ROOT / ".dvc/config").read_text(encoding="utf-8")
    for line in ("analytics = false", "check_update = false", "autostage = false"):
        assert line in config
    assert "remote" not in config, "no private remote for everybody"
    assert {"__pycache__/", "*.pyc"} <= set((ROOT / ".dvcignore").read_text(encoding="utf-8").split())


def test_imports_point_one_way() -> None:
    for file in LIBRARY.rglob("*.py"):
        room = file.relative_to(LIBRARY).parts[0].removesuffix(".py")
        names = imported_modules(file)
        assert not [name for name in names if name.split(".")[0] == "stages"], file
        used = {name.split(".")[1] for name in names if name.startswith("retimbre.")} & {*ROOMS, *TOP}
        if room in ("__init__", *TOP):
            continue
        allowed = set() if room in LEAVES else set(ROOMS[: ROOMS.index(room) + 1]) - ABOVE.get(room, set())
        if file.stem == "cli":
            allowed.add("params")  # a command
        assert used <= allowed, (
            f"{file.relative_to(ROOT)} must not import retimbre.{', retimbre.'.join(used - allowed)}"
        )


def test_no_import_circle() -> None:
    graph = {}
    for file in LIBRARY.rglob("*.py"):
        name = ".".join(("retimbre", *file.relative_to(LIBRARY).with_suffix("").parts)).removesuffix(
            ".__init__"
        )
        graph[name] = imported_modules(file) - {name}
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, " → ".join((*way[way.index(name) :], name))
        if name in done:
            return
        for other in sorted(graph[name] & set(graph)):
            if other not in name.rpartition(".")[0].split(".") and not name.startswith(f"{other}."):
                visit(other, (*way, name))
        done.add(name)

    for name in sorted(graph):
        visit(name, ())


def test_only_tracking_imports_mlflow() -> None:
    for file in sources():
        names = {name.split(".")[0] for name in imported_modules(file)}
        assert ("mlflow" in names) == (file == LIBRARY / "tracking.py"), file


@pytest.mark.parametrize(
    ("scripts", "heavy"),
    [
        (("download", "resample"), ("mlflow", "torch", "librosa")),
        (sorted({"train", *ORDER} - {*catalogue.DEFAULTS, "system"}), ("mlflow",)),
    ],
    ids=["the first two", "all"],
)
def test_stages_start_light(scripts: Iterable[str], heavy: Iterable[str]) -> None:
    """MLflow is imported when a run is opened, and the first two stages read params.yaml without torch."""
    modules = ", ".join(f"stages.{script}" for script in scripts)
    code = f"import sys, {modules}\nfrom retimbre import params\nparams.read()\n"
    code += f"print(*(name for name in {tuple(heavy)} if name in sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert result.stdout == "\n", result.stderr


def test_nothing_unpickles() -> None:
    """No file is unpickled: what a stranger can write runs no code."""
    for file in sources():
        # The suite hands its own objects to its own worker processes; nothing of it touches a disk.
        known = {"pickle"} if file == LIBRARY / "evaluation/bench/suite.py" else set()
        assert not {"pickle", "dill", "cloudpickle"} & imported_modules(file) - known, file
        tree = ast.parse(file.read_text(encoding="utf-8"))
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            name = ast.unparse(call.func)
            options = {word.arg: ast.unparse(word.value) for word in call.keywords}
            if name == "torch.load":
                assert options.get("weights_only") == "True", file
            assert name not in ("joblib.load", "pickle.load"), f"{file}: {ast.unparse(call)}"
            assert name != "np.load" or options.get("allow_pickle") != "True", f"{file}: {ast.unparse(call)}"


def test_lines_end_before_column_110() -> None:
    """Of all Python files, without what is said to the tools at their ends."""
    for folder in ("src", "stages", "tests", "studies", "benchmarks", "tools", "examples"):
        for file in (ROOT / folder).rglob("*.py"):
            for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
                code = re.sub(r"  # (noqa|type:|pragma).*", "", line)
                assert len(code) <= 110, f"{file.relative_to(ROOT)}:{number}"


@pytest.mark.parametrize("name", ["", "nobody", "classifier"])
def test_a_training_of_an_unknown_name_says_the_known(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(ROOT)
    for stage, known in ((train, ", ".join(catalogue.DEFAULTS)), (vocoder, "inverter, ")):
        with pytest.raises(RetimbreError, match=f"{name!r}: run .* NAME` with one of {known}"):
            stage.main(name)


def test_the_params_of_every_stage_can_be_loaded() -> None:
    for stage in STAGES.values():
        sections = dict.fromkeys(param.split(".")[0] for param in stage["params"])
        assert vars(params.load(*sections, path=ROOT / "params.yaml")).keys() == sections.keys()
