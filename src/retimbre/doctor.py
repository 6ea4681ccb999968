"""Checks of the machine, the packages and the project: ``retimbre doctor``.

A check yields pairs of a state and a sentence. ``ok``: as it should be. ``note``: it works, but there is
something to know. ``error``: transfer or the pipeline cannot run until it is mended. A RetimbreError that a
check meets is an error of that check, so that doctor says what the program itself would say.
"""

import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import joblib

from retimbre import params
from retimbre.errors import RetimbreError
from retimbre.section import Machine
from retimbre.systems import catalogue, library
from retimbre.vocoders.params import Rendering

PINS = ("requirements.txt", "requirements-no-deps.txt")
RUN_GB = 2.0  # that a default run writes: data/, as much in DVC's cache, and what evaluate keeps
LEAST_GB = 0.5  # below it nothing ends well
MEMORY_GB = 3.0  # that a default run needs
NAMED = 5  # packages, of a list that may be long

Findings = Iterator[tuple[str, str]]


class Finding(NamedTuple):
    """A line of the report. ``state``: ok, note or error; ``subject``: the check's name."""

    state: str
    subject: str
    text: str

    def __str__(self) -> str:
        return f"{self.state:<5}  {self.subject:<8}  {self.text}"


# --------------------------------------------------------------------------------------- the machine


def python() -> Findings:
    from packaging.specifiers import SpecifierSet

    version, needed = platform.python_version(), metadata.metadata("retimbre")["Requires-Python"]
    if version not in SpecifierSet(needed):
        yield "error", f"Python {version}, but {needed} is needed: `make setup PYTHON=python3.11`"
    elif (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        system = f"{platform.system()} {platform.machine()}"
        yield "note", f"Python {version} on {system}, where nobody has tried it: Linux on x86-64 is tried"
    else:
        yield "ok", f"Python {version} on Linux, x86-64"


def disk() -> Findings:
    free = shutil.disk_usage(".").free / 1e9
    said = f"{free:.1f} GB free in {Path.cwd()}"
    if free < LEAST_GB:
        yield "error", f"{said}: remove files, or work on another disk"
    elif free < RUN_GB and in_project():
        yield "note", f"{said}, and a default run writes {RUN_GB:g} GB: `dvc gc --workspace` may free some"
    else:
        yield "ok", said


def memory() -> Findings:
    fields = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    free, whole = (int(fields[name].split()[0]) / 1e6 for name in ("MemAvailable", "MemTotal"))
    said = f"{free:.1f} of {whole:.1f} GB free"
    if free < MEMORY_GB:
        advice = "end other programs, or set machine.jobs to 1 in params.yaml"
        yield "note", f"{said}, and a default run needs {MEMORY_GB:g} GB: {advice}"
    else:
        yield "ok", said


def cores(machine: Machine) -> Findings:
    count = joblib.cpu_count()  # of this process: a container may have fewer than the machine
    if machine.jobs > count:
        yield "note", f"{count}, fewer than machine.jobs ({machine.jobs}): set it to {count} in params.yaml"
    else:
        yield "ok", f"{count}, of which machine.jobs takes {machine.jobs}"


def gpu(machine: Machine) -> Findings:
    import torch

    if torch.cuda.is_available():
        devices = map(torch.cuda.get_device_properties, range(torch.cuda.device_count()))
        yield "ok", ", ".join(f"{device.name} ({device.total_memory / 1e9:.0f} GB)" for device in devices)
    elif machine.accelerator == "gpu":
        yield "error", "none that torch finds, but machine.accelerator is gpu: set it to auto in params.yaml"
    elif Path("/proc/driver/nvidia").exists():
        build = f"torch {torch.__version__}, CUDA {torch.version.cuda}"
        yield "note", f"NVIDIA's driver is there, but {build} finds no GPU: install a CUDA build of torch"
    else:
        yield "ok", "none: trainings and transfers run on the CPU"


def packages() -> Findings:
    from packaging.requirements import Requirement

    pinned = in_project() and all(map(os.path.isfile, PINS))
    if pinned:
        lines = [line for name in PINS for line in Path(name).read_text(encoding="utf-8").splitlines()]
        texts, advice = [line for line in lines if line and not line.startswith("#")], "`make setup`"
    else:
        texts, advice = metadata.requires("retimbre") or [], "`pip install --upgrade retimbre`"
    needed = [
        item for item in map(Requirement, texts) if not item.marker or item.marker.evaluate({"extra": ""})
    ]
    missing, other = [], []
    for item in needed:
        try:
            version = metadata.version(item.name)
        except metadata.PackageNotFoundError:
            missing.append(item.name)
            continue
        if not item.specifier.contains(version, prereleases=True):
            other.append(f"{item.name} {version} ({item.specifier})")
    if missing:
        yield "error", f"not installed: {some(missing)}: {advice} installs them"
    if other:
        yield "note", f"other versions than tried: {some(other)}: {advice} installs those"
    if not missing and not other:
        yield "ok", f"all {len(needed)} as {'pinned' if pinned else 'declared'}"


def some(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


# --------------------------------------------------------------------------------------- the project


def in_project() -> bool:
    return Path("params.yaml").is_file()


def git() -> Findings:
    if shutil.which("git") is None:
        yield "error", "not installed, and DVC needs it: install the package git"
    elif not Path(".git").exists():
        start = "`git init && git add . && git commit -m start`"
        yield "note", f"this is no clone, and `dvc exp` and `retimbre compare` need one: {start}"
    else:
        yield "ok", "a clone"


def models(folder: Path, rendering: Rendering) -> Findings:
    """Load every trained system, the project's and those that ship, as transfer does."""
    shipped = [place.folder for place in library.shipped().values()]
    there = [(place, name) for place in (folder, *shipped) for name in catalogue.trained(place)]
    for place, name in there:
        try:
            system = catalogue.load(name, place, None, rendering if place == folder else None)
        except RetimbreError as error:
            yield "error", str(error)
        else:
            yield "ok", f"{place}: {name}, to {', '.join(system.targets)}"
    if not there:
        yield (
            "error",
            f"{folder} has no trained system: `make repro` trains, `dvc pull` fetches what a remote has",
        )


def data(p: Any) -> Findings:
    from retimbre.datasets.sources.collection import make_source

    make_source(p.dataset, p.seed, p.machine)
    sources = dict.fromkeys(p.dataset.source_of.values())
    said = f"{', '.join(p.dataset.domains)} from {', '.join(sources)}"
    if Path("data/raw/manifest.csv").is_file():
        yield "ok", f"{said}; `retimbre data inspect` looks at the recordings"
    else:
        yield "note", f"{said}; data/raw is not there yet: `dvc repro download` makes it"


def folders() -> Findings:
    """Try to write where transfer and the pipeline do."""
    own = (".", ".dvc", ".scratch", "data", "metrics") if in_project() else (".",)
    named = (tempfile.gettempdir(), os.environ.get("RETIMBRE_DOWNLOADS", "."))
    tried = [path for path in dict.fromkeys((*own, *named)) if Path(path).exists()]
    for path in tried:
        try:
            tempfile.TemporaryFile(dir=path).close()
        except OSError as error:
            yield "error", f"{path} cannot be written to ({error.strerror}): make it writable (chown, chmod)"
            return
    yield "ok", f"{', '.join(tried)} can be written to"


# ---------------------------------------------------------------------------------------- the report


def guarded(subject: str, check: Findings) -> Iterator[Finding]:
    """A check's findings; what stops it is one too."""
    try:
        for state, text in check:
            yield Finding(state, subject, text)
    except RetimbreError as error:
        yield Finding("error", subject, str(error))
    except ImportError as error:
        yield Finding("error", subject, f"{error.name} is not installed: `make setup` installs it")
    except OSError as error:  # no /proc: another system than Linux
        yield Finding("note", subject, f"cannot be checked here ({error})")


def examine(folder: Path) -> Iterator[Finding]:
    """Check the machine and the current folder, a project or not; ``folder``: its trained models."""
    machine, rendering, project = Machine(), Rendering(), None
    if in_project():
        try:
            project = params.read()
        except RetimbreError as error:
            yield Finding("error", "params", str(error))
        else:
            machine, rendering = project.machine, project.rendering
            yield Finding("ok", "params", "params.yaml is valid")
    checks = {
        "python": python(),
        "packages": packages(),
        "disk": disk(),
        "memory": memory(),
        "cores": cores(machine),
        "gpu": gpu(machine),
        "folders": folders(),
    }
    if in_project():
        checks["git"] = git()
    if project is not None:
        checks["data"] = data(project)
    checks["models"] = models(folder, rendering)
    for subject, check in checks.items():
        yield from guarded(subject, check)
