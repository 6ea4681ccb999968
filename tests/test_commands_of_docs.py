"""Commands and parameters in README and docs/ against the real command line: parsed, not run.

test_pipeline.py runs those of the README and of the page on experiments, at smoke scale.
"""

import contextlib
import io
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml
from dvc import cli as dvc
from dvc.utils.hydra import apply_overrides, get_hydra_sweeps

from retimbre import cli, params
from tests.test_pipeline_static import STAGES
from tests.toys import ROOT
from tests.toys.forks import Forked
from tests.toys.pages import BLOCK, PAGES, Command, commands

SYSTEM = set("aplay cat cd cp curl ffmpeg git ls mkdir source".split())  # not ours: they are not checked


def parse(parse_args: Callable[[list[str]], Any], command: Command) -> Any:
    """Parse a command by the program's own parser.

    None for a mention in a sentence, such as `dvc exp`: it names a command of the program and nothing more.
    """
    words, said = list(command.words[1:]), io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        try:
            return parse_args(words)
        except (SystemExit, dvc.DvcParserError) as stop:
            if getattr(stop, "code", 1) == 0:  # an option that prints and ends, such as --list
                return None
            mention = not command.shown and not any(word.startswith("-") for word in words)
            assert mention, f"{command}: {said.getvalue().splitlines()[-1]}"
        with pytest.raises(SystemExit) as stop:
            parse_args([*words, "--help"])
    assert stop.value.code == 0, f"{command}: no such command"
    return None


def check_retimbre(command: Command, folder: Path) -> None:
    parse(cli.parser().parse_args, command)


def check_dvc(command: Command, folder: Path) -> None:
    """Options and stages exist; what follows -S makes a valid params.yaml (of which NAME is none)."""
    args = parse(dvc.parse_args, command)
    if args is None or "NAME" in str(command) or args.cmd == "add":
        return
    assert set(getattr(args, "targets", None) or []) <= set(STAGES), command
    changes = getattr(args, "set_param", None) or []
    for sweep in get_hydra_sweeps({"params.yaml": changes}) if changes else []:
        shutil.copy(ROOT / "params.yaml", folder)
        apply_overrides(folder / "params.yaml", sweep["params.yaml"])
        params.read(folder / "params.yaml")


def check_make(command: Command, folder: Path) -> None:
    result = subprocess.run(["make", "-n", *command.words[1:]], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, f"{command}: {result.stderr}"
    for name, value in (word.split("=", 1) for word in command.words if "=" in word):
        assert f"$({name})" in (ROOT / "Makefile").read_text(), f"{command}: the Makefile reads no {name}"
        assert name != "P" or (ROOT / f"profiles/{value}.yaml").is_file(), command


@cache
def help_of(script: Path) -> str:
    asked = Forked(script, "--help", cwd=ROOT)
    said, errors = asked.communicate()
    assert asked.returncode == 0, errors
    return said


def check_python(command: Command, folder: Path) -> None:
    """The script or module exists and knows the options."""
    if command.words[1] == "-m":
        spec = find_spec(command.words[2])
        assert spec is not None, command
        place = Path(spec.origin)
    else:
        place = ROOT / command.words[1]
    beside = place.parent.glob("*.py") if place.name == "__init__.py" else [place]
    known = "".join(file.read_text(encoding="utf-8") for file in beside)
    options = [word for word in command.words if word.startswith("--")]
    if not all(option in known for option in options):  # it takes some from a module: it is asked itself
        known = help_of(place)
    assert all(option in known for option in options), command


def check_pip(command: Command, folder: Path) -> None:
    words = command.words
    for word, file in zip(words, words[1:], strict=False):
        assert word != "-r" or (ROOT / file).is_file(), command
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for named in re.findall(r"(?:retimbre|\.)\[([\w,]+)\]", str(command)):
        assert set(named.split(",")) <= set(extras), command


def check_torchrun(command: Command, folder: Path) -> None:
    from torch.distributed.run import get_args_parser

    args = parse(get_args_parser().parse_args, command)
    check_python(Command(("python", "-m", args.training_script), False), folder)


CHECKS = {
    "retimbre": check_retimbre,
    "dvc": check_dvc,
    "make": check_make,
    "python": check_python,
    "pip": check_pip,
    "torchrun": check_torchrun,
}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_are_valid(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    for command in dict.fromkeys(commands(page)):
        program = command.words[0]
        assert program in SYSTEM or program in CHECKS, f"{command}: no command, or one that nobody checks"
        if program in CHECKS:
            CHECKS[program](command, tmp_path)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_parameters_are_valid(page: Path) -> None:
    for language, block in BLOCK.findall(page.read_text(encoding="utf-8")):
        if language == "yaml":
            values = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
            params.parse(params.overlay(values, yaml.safe_load(block)), str(page))


@pytest.mark.parametrize("command", ["retimbre summary", "retimbre --help", "make help"])
def test_short_commands_run(command: str) -> None:
    program, *words = command.split()
    start = [sys.executable, "-m", "retimbre.cli"] if program == "retimbre" else [program]
    subprocess.run([*start, *words], cwd=ROOT, check=True, capture_output=True)
