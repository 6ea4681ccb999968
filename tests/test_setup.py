"""The set-up: pins, the Makefile's stamp, refusals. That it installs all is shown by running this suite."""

import importlib
import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

from tests.toys import ROOT

FILES = ("Makefile", "requirements.txt", "requirements-no-deps.txt", "pyproject.toml", "tools/setup.sh")


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(*names: str) -> dict[str, str]:
    """Version by package, of the lines that hold on every Python."""
    lines = [line for name in names for line in (ROOT / name).read_text().splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    for line in lines:
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+(; .+)?", line), f"{line} is not an exact pin"
    return {normal(line.split("==")[0]): line.split("==")[1] for line in lines if ";" not in line}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The files that set-up reads, without an environment."""
    for name in FILES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def make(folder: Path, *words: str) -> subprocess.CompletedProcess:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.run(["make", *words], cwd=folder, env=environment, capture_output=True, text=True)


def test_this_environment_is_the_pinned_one() -> None:
    for name, version in pins("requirements.txt", "requirements-no-deps.txt").items():
        assert metadata.version(name).split("+")[0] == version, name


def test_what_the_project_declares_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pinned = pins("requirements.txt")
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    for requirement in (item for group in groups for item in group):
        assert normal(re.match(r"[A-Za-z0-9._-]+", requirement).group()) in pinned, requirement


def test_no_place_to_install_from_is_named() -> None:
    places = r"https?://(?!127\.0\.0\.1)|--(extra-)?index-url|--find-links"
    for name in (*FILES, ".ci/run"):
        assert not re.search(places, (ROOT / name).read_text()), name


def test_set_up_runs_again_only_when_something_changed(checkout: Path) -> None:
    first = make(checkout, "-n", "setup").stdout
    assert "tools/setup.sh" in first
    (checkout / ".venv").mkdir()
    stamp = re.search(r"touch (\S+)", first).group(1)
    (checkout / stamp).touch()
    assert "tools/setup.sh" not in make(checkout, "-n", "setup").stdout
    with (checkout / "requirements.txt").open("a") as file:
        file.write("six==1.0\n")
    assert "tools/setup.sh" in make(checkout, "-n", "setup").stdout


def test_an_old_python_is_refused_in_one_sentence(checkout: Path) -> None:
    old = checkout / "old-python"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo "Python 3.9.2" && exit 0\nexit 1\n')
    old.chmod(0o755)
    result = make(checkout, "setup", f"PYTHON={old}")
    assert result.returncode != 0
    refusal = "error: Retimbre needs Python 3.11 or newer (found: Python 3.9.2)"
    assert result.stderr.startswith(refusal)
    assert not (checkout / ".venv").exists()


def test_what_will_be_downloaded_is_said_before(checkout: Path) -> None:
    python = checkout / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\n[ "$1" = -c ]\n')  # new enough, and without pip
    python.chmod(0o755)
    result = make(checkout, "setup")
    files = ((ROOT / name).read_text().splitlines() for name in FILES if name.startswith("requirements"))
    count = sum(not line.startswith("#") for lines in files for line in lines)
    assert (
        result.returncode != 0 and f"installing {count} pinned packages into .venv: about " in result.stdout
    )


def test_help_names_every_target() -> None:
    text = (ROOT / "Makefile").read_text()
    targets = set(re.search(r"^\.PHONY: (.*)$", text, re.MULTILINE).group(1).split())
    told = set(re.findall(r"^make (\w+)", make(ROOT, "help").stdout, re.MULTILINE))
    assert told == targets - {"help"}


def test_the_command_is_installed() -> None:
    command = Path(sys.executable).parent / "retimbre"
    result = subprocess.run([command, "--help"], capture_output=True, text=True, check=True)
    assert "transfer" in result.stdout and "summary" in result.stdout


def test_torchaudio_imports_beside_any_torch() -> None:
    """Its CUDA-only compiled files are removed by set-up where torch is a CPU build."""
    assert importlib.import_module("torchaudio.transforms").MelSpectrogram
