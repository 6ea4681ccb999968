"""``dvc.yaml`` against the code, without running a stage: files, params, imports, ignore entries."""

import ast
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.toys import ROOT

PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
STAGES = PIPELINE["stages"]
LIBRARY = ROOT / "src/retimbre"
TRAININGS = ("classifier", "cyclegan", "vocoder")
ALLOWED = {  # package -> what it may import; "leaves" are for everybody
    "audio": set(),
    "datasets": {"audio"},
    "models": {"audio"},
    "training": {"audio", "datasets", "models"},
    "systems": {"audio", "datasets", "models", "training"},
    "evaluation": {"audio", "datasets", "models", "training", "systems"},
    "listening": {"audio", "datasets", "evaluation"},
    "cli": {"audio", "datasets", "models", "training", "systems", "evaluation", "listening"},
    "params": set(),
    "errors": set(),
    "progress": set(),
    "tracking": set(),
}
LEAVES = {"params", "errors", "progress", "tracking"}

spec = importlib.util.spec_from_file_location("deps", ROOT / "tools/deps.py")
deps = importlib.util.module_from_spec(spec)
spec.loader.exec_module(deps)


def paths(items: list) -> list[str]:
    """The paths of a list of deps, outs or metrics, whose entries may carry options."""
    return [next(iter(item)) if isinstance(item, dict) else item for item in items]


def outputs(stage: dict) -> list[str]:
    return paths([*stage.get("outs", []), *stage.get("metrics", []), *stage.get("plots", [])])


def sources() -> list[Path]:
    return sorted([*LIBRARY.rglob("*.py"), *(ROOT / "stages").glob("*.py")])


def test_stages_and_scripts_are_one_to_one() -> None:
    scripts = {path.stem for path in (ROOT / "stages").glob("*.py")} - {"__init__"}
    assert scripts == set(STAGES)
    assert list(STAGES) == ["download", "resample", "features", "classifier", "cyclegan", "vocoder", "evaluate"]
    for name, stage in STAGES.items():
        assert stage["cmd"] == f"python -m stages.{name}"


@pytest.mark.parametrize("name", STAGES)
def test_listed_sources_are_what_the_script_imports(name: str) -> None:
    listed = [path for path in paths(STAGES[name]["deps"]) if path.startswith(deps.CODE)]
    assert listed == deps.closure(ROOT / "stages" / f"{name}.py"), "run `python tools/deps.py --write`"


@pytest.mark.parametrize("name", STAGES)
def test_what_a_script_loads_is_listed(name: str) -> None:
    """The closure is computed from the text; this is what Python itself loads."""
    code = (
        f"import json, sys, stages.{name}\n"
        "files = [getattr(m, '__file__', None) for n, m in sys.modules.items() if n.split('.')[0] in ('retimbre', 'stages')]\n"
        "print(json.dumps([[f for f in files if f], [n for n in ('torch', 'mlflow', 'librosa') if n in sys.modules]]))"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    files, heavy = json.loads(result.stdout.splitlines()[-1])
    listed = paths(STAGES[name]["deps"])
    assert {str(Path(file).relative_to(ROOT)) for file in files} <= set(listed)
    assert "mlflow" not in heavy, "MLflow is imported when a run is opened"
    if name in ("download", "resample"):
        assert heavy == [], "this stage starts without torch"


@pytest.mark.parametrize("name", STAGES)
def test_params_read_are_the_params_listed(name: str) -> None:
    tree = ast.parse((ROOT / "stages" / f"{name}.py").read_text(encoding="utf-8"))
    loads = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == "params.load"]
    assert len(loads) == 1 and not loads[0].keywords
    assert [argument.value for argument in loads[0].args] == STAGES[name]["params"], "whole sections, in the same order"


def test_every_param_belongs_to_a_stage() -> None:
    sections = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    # The listening test is no stage: people are in it.
    assert {name for stage in STAGES.values() for name in stage["params"]} == set(sections) - {"listening"}


def test_data_flows_as_designed() -> None:
    makes = {output: name for name, stage in STAGES.items() for output in outputs(stage)}
    assert len(makes) == sum(len(outputs(stage)) for stage in STAGES.values()), "no two stages write the same output"
    reads = {name: {makes[path] for path in paths(stage["deps"]) if not path.startswith(deps.CODE)} for name, stage in STAGES.items()}
    assert reads["resample"] == {"download"}
    assert reads["features"] == {"resample"}
    assert reads["classifier"] == reads["cyclegan"] == {"features"}
    assert reads["vocoder"] == {"resample", "features"}
    assert set(TRAININGS) < reads["evaluate"]


def test_trainings_keep_the_run_cache() -> None:
    for stage in STAGES.values():
        assert not stage.get("always_changed") and not stage.get("frozen")
        for item in stage["outs"]:
            assert isinstance(item, str), "persist and cache: false switch the run cache off or lose outputs"


def test_outputs_are_ignored_up_front_and_metrics_are_not() -> None:
    """DVC rolls back the entries that it adds itself when a later stage fails."""
    for stage in STAGES.values():
        outs = paths(stage["outs"])
        for path in outs:
            assert subprocess.run(["git", "check-ignore", "-q", path], cwd=ROOT).returncode == 0, f"{path} is not ignored"
        for item in stage.get("metrics", []):
            ((path, options),) = item.items()
            assert options == {"cache": False}
            assert subprocess.run(["git", "check-ignore", "-q", path], cwd=ROOT).returncode == 1, f"{path} must be in Git"
    for path in ("mlflow.db", "mlartifacts/x", ".scratch/x", ".mlflow.lock", ".venv/x", "src/retimbre.egg-info/x"):
        assert subprocess.run(["git", "check-ignore", "-q", path], cwd=ROOT).returncode == 0, f"{path} is not ignored"


def test_plots_and_artifacts_are_outputs() -> None:
    outs = [path for stage in STAGES.values() for path in paths(stage["outs"])]
    for plot in PIPELINE["plots"]:
        for name, settings in plot.items():
            for file in settings["y"] if settings else [name]:
                assert any(file.startswith(f"{out}/") for out in outs), file
    assert {name: entry["path"] for name, entry in PIPELINE["artifacts"].items()} == {name: f"data/models/{name}" for name in TRAININGS}


def test_dvc_is_quiet_and_ignores_byte_code() -> None:
    config = (ROOT / ".dvc/config").read_text(encoding="utf-8")
    for line in ("analytics = false", "check_update = false", "autostage = false"):
        assert line in config
    assert "remote" not in config, "no private remote for everybody"
    assert {"__pycache__/", "*.pyc"} <= set((ROOT / ".dvcignore").read_text(encoding="utf-8").split())


def test_imports_point_one_way() -> None:
    for file in LIBRARY.rglob("*.py"):
        package = file.relative_to(LIBRARY).parts[0].removesuffix(".py")
        if package == "__init__":
            continue
        names = deps.imported_modules(file.read_text(encoding="utf-8"), ".".join(file.relative_to(ROOT / "src").parts[:-1]))
        assert not [name for name in names if name.split(".")[0] == "stages"], file
        used = {name.split(".")[1] for name in names if name.startswith("retimbre.")} & set(ALLOWED)
        wrong = used - {package} - LEAVES - ALLOWED[package]
        assert not wrong, f"{file.relative_to(ROOT)} must not import retimbre.{', retimbre.'.join(wrong)}"


def test_only_tracking_imports_mlflow() -> None:
    for file in sources():
        names = {name.split(".")[0] for name in deps.imported_modules(file.read_text(encoding="utf-8"))}
        assert ("mlflow" in names) == (file == LIBRARY / "tracking.py"), file


def imported_at_once(package: Path) -> set[str]:
    """The names that a package's __init__ imports outside functions, which tools/deps.py follows."""
    init = package / "__init__.py"
    tree = ast.parse(init.read_text(encoding="utf-8")) if init.is_file() else ast.Module([], [])
    return {alias.asname or alias.name for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names}


def test_stages_use_modules_not_the_package_conveniences() -> None:
    """tools/deps.py leaves out what a function in a package's __init__ imports: nothing here may call one."""
    for file in (path for path in sources() if path.name not in ("__init__.py", "cli.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "retimbre":
                package = (ROOT / "src").joinpath(*node.module.split("."))
                if package.is_dir():
                    known = imported_at_once(package) | {path.stem for path in package.iterdir()}  # modules and packages, too
                    assert {alias.name for alias in node.names} <= known, f"{file}: {ast.unparse(node)}"


def test_stage_scripts_are_glue() -> None:
    for name in STAGES:
        lines = (ROOT / "stages" / f"{name}.py").read_text(encoding="utf-8").splitlines()
        assert len(lines) < 150, f"stages/{name}.py: move logic into the library"


def test_nothing_unpickles() -> None:
    """No file is unpickled: what a stranger can write runs no code."""
    for file in sources():
        tree = ast.parse(file.read_text(encoding="utf-8"))
        # The suite hands its own objects to its own worker processes; nothing of it touches a disk.
        known = {"pickle"} if file == LIBRARY / "evaluation" / "suite.py" else set()
        assert not {"pickle", "dill", "cloudpickle"} & deps.imported_modules(ast.unparse(tree)) - known, file
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            name, options = ast.unparse(call.func), {word.arg: ast.unparse(word.value) for word in call.keywords}
            if name == "torch.load":
                assert options.get("weights_only") == "True", file
            if name in ("joblib.load", "pickle.load") or (name == "np.load" and options.get("allow_pickle") == "True"):
                raise AssertionError(f"{file}: {ast.unparse(call)}")
