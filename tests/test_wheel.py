"""The wheel: built here, unpacked into an empty place, run beside what it says it needs and nothing else."""

import ast
import json
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import soundfile
from packaging.requirements import Requirement

from tests.toys import ROOT
from tests.toys.models import RATE, melody, write_models, write_resynthesis
from tests.toys.project import copy_checkout

BUILD = "import sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))"
# Several commands in one process: importing takes longer than they do.
START = """
import json, sys
sys.path[:0] = sys.argv[1:3]
from retimbre.cli import main
for words in json.loads(sys.argv[3]):
    main(words)
"""
HEAVY = {"torch", "numpy", "scipy", "numba", "soundfile", "soxr", "librosa", "pandas", "mlflow", "dvc"}


def run(*words: object, folder: Path) -> str:
    result = subprocess.run([sys.executable, *map(str, words)], cwd=folder, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which the wheel alone was installed."""
    checkout, made = tmp_path_factory.mktemp("checkout"), tmp_path_factory.mktemp("wheel")
    parts = ("src/", "pyproject.toml", "README.md", "LICENSE")
    copy_checkout(checkout, lambda name: name.startswith(parts))
    name = run("-c", BUILD, made, folder=checkout).split()[-1]
    target = tmp_path_factory.mktemp("installed")
    words = (
        "pip install --quiet --no-deps --no-index --no-compile --disable-pip-version-check --target".split()
    )
    run("-m", *words, target, made / name, folder=made)
    return target


def needed(requirements: list[str]) -> dict[str, metadata.Distribution]:
    """Distributions that are asked for without any extra, and those that they ask for."""
    found, waiting = {}, list(requirements)
    while waiting:
        wanted = Requirement(waiting.pop())
        if wanted.name not in found and (wanted.marker is None or wanted.marker.evaluate({"extra": ""})):
            found[wanted.name] = metadata.distribution(wanted.name)
            waiting += found[wanted.name].requires or []
    return found


@pytest.fixture(scope="module")
def core(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with links to the packages that the wheel's core needs: all that ``python -S`` will see."""
    folder = tmp_path_factory.mktemp("core")
    (own,) = metadata.distributions(name="retimbre", path=[str(wheel)])
    for distribution in needed(own.requires).values():
        tops = {file.parts[0] for file in distribution.files} - {"..", "__pycache__"}
        for top in (top for top in tops if not (folder / top).exists()):
            (folder / top).symlink_to(distribution.locate_file(top))
    return folder


def test_the_wheel_holds_what_is_no_code(wheel: Path) -> None:
    """Every file beside the modules in Git is in the wheel: templates, kernels, weights, licences."""
    listing = subprocess.run(
        ["git", "ls-files", "src/retimbre"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    names = [name.removeprefix("src/") for name in listing.stdout.split()]
    assert [name for name in names if not (wheel / name).is_file()] == []


def test_a_file_is_transferred_and_classified_beside_the_core_packages_alone(
    wheel: Path, core: Path, tmp_path: Path
) -> None:
    write_resynthesis(write_models(tmp_path / "models"))
    soundfile.write(tmp_path / "song.wav", melody(1.0), RATE)
    given = "transfer song.wav --to piano".split()
    commands = [[*given, "-o", f"{models}.wav", "--models", models] for models in ("models", "orchestra")]
    commands.append(["classify", "song.wav"])
    said = run("-I", "-S", "-c", START, wheel, core, json.dumps(commands), folder=tmp_path)
    for models in ("models", "orchestra"):
        made, rate = soundfile.read(tmp_path / f"{models}.wav")
        assert (len(made), rate) == (RATE, RATE) and np.std(made) > 1e-3
    assert "\nsong.wav: " in said


@pytest.mark.parametrize(
    ("start", "forbidden"),
    [
        ("import retimbre", HEAVY | {"pydantic", "yaml", "tqdm"}),
        ("import retimbre.cli; retimbre.cli.parser().format_help()", HEAVY),
    ],
    ids=["import", "help"],
)
def test_python_and_help_start_light(start: str, forbidden: set[str]) -> None:
    """In 0.3 s each, which these modules would pass; a transfer pays for them once it knows what it does."""
    found = run(
        "-c", f"import sys; sys.path.insert(0, 'src'); {start}; print(list(sys.modules))", folder=ROOT
    )
    assert not forbidden & set(ast.literal_eval(found.splitlines()[-1]))


def test_extras_have_names_that_the_docs_use() -> None:
    """Those that pages tell people to install."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "src").rglob("*.py")]
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    named = {extra for names in re.findall(r"retimbre\[([\w,]+)\]", text) for extra in names.split(",")}
    assert named and named <= set(project["optional-dependencies"])
