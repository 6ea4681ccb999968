"""Digests: what changes them and what does not."""

import dataclasses
import shutil
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import numpy as np
import pytest
import torch

from retimbre import provenance
from retimbre.errors import RetimbreError
from tests.toys import ROOT
from tests.toys.models import FEATURES as CONFIG

TRAINING = "retimbre.systems.cyclegan.train"
HARMLESS = {  # file: what is done to its text
    "training/fit.py": lambda text: text + "\n\n# one more thought\n",
    "training/gan.py": lambda text: text.replace('"""Losses', '"""All losses', 1),  # a module's docstring
    "systems/cyclegan/step.py": lambda text: text.replace('"""Fool ', '"""Do fool ', 1),  # a method's
    "systems/cyclegan/train.py": lambda text: f"# mine\n{text}",
    "systems/cyclegan/params.py": lambda text: text.replace("\n\n\n", "\n\n\n\n"),
    "evaluation/report/charts.py": lambda text: text + "\nCOLOUR = 'red'\n",
    "systems/pix2pix/train.py": lambda text: text + "\nMORE = 1\n",
    "cli.py": lambda text: f"{text}\nMORE = 1\n",
}
OTHER = {
    "systems/cyclegan/step.py": lambda text: text.replace('("a", 11)', '("a", 17)'),
    "training/averages.py": lambda text: text.replace("1 + step", "2 + step"),
    "audio/equaliser.py": lambda text: text.replace("clamp(min=0.1)", "clamp(min=0.2)"),
}


def code_of_edited(folder: Path, edits: dict[str, Callable[[str], str]]) -> str:
    """Digest of the CycleGAN's training in a copy of the package with these files changed."""
    package = folder / "retimbre"
    shutil.copytree(ROOT / "src/retimbre", package, ignore=shutil.ignore_patterns("__pycache__"))
    for name, change in edits.items():
        before = (package / name).read_text()
        (package / name).write_text(change(before))
        assert (package / name).read_text() != before, name
    return provenance.code_of(TRAINING, root=package)


def test_edits_that_compute_the_same_between_a_crash_and_its_continuation(tmp_path: Path) -> None:
    """Comments, docstrings, layout, what only draws or measures, another system's code: all at once."""
    assert code_of_edited(tmp_path, HARMLESS) == provenance.code_of(TRAINING)


@pytest.mark.parametrize("name", OTHER)
def test_an_edit_that_computes_something_else(tmp_path: Path, name: str) -> None:
    assert code_of_edited(tmp_path, {name: OTHER[name]}) != provenance.code_of(TRAINING)


def test_a_training_key_follows_params_data_and_nothing_else(tmp_path: Path) -> None:
    for copy in ("here", "there"):
        (tmp_path / copy / "data/deep").mkdir(parents=True)
        (tmp_path / copy / "data/deep/x.npy").write_bytes(b"1234")

    def key(copy: str, values: dict | None = None, module: str = "retimbre.training.gan") -> str:
        return provenance.training_key(values or {"a": 1, "b": 2.5}, [tmp_path / copy / "data"], module)

    first = key("here")
    assert len(first) == 16 and key("there") == first, "a snapshot elsewhere has the same key"
    assert key("here", {"b": 2.5, "a": 1}) == first
    assert key("here", {"a": 1, "b": 2.6}) != first and key("here", {"a": 1.0, "b": 2.5}) != first
    assert key("here", module="retimbre.training.guards") != first
    (tmp_path / "here/data/__pycache__").mkdir()
    (tmp_path / "here/data/__pycache__/x.pyc").write_bytes(b"")
    assert key("here") == first
    (tmp_path / "here/data/deep/x.npy").write_bytes(b"1235")
    assert key("here") != first
    (tmp_path / "there/data/deep/x.npy").rename(tmp_path / "there/data/x.npy")
    assert key("there") != first
    shutil.rmtree(tmp_path / "there")
    with pytest.raises(RetimbreError, match="data does not exist: run `dvc repro`"):
        key("there")
    with pytest.raises(ValueError, match="retimbre.training.gun is not a module of retimbre"):
        key("here", module="retimbre.training.gun")


def test_different_values_have_different_digests() -> None:
    values = [
        None, True, 1, 1.0, "1", b"1 ", [1], [[1]], [1, 2], {"a": 1}, {"a": [1]}, {"b": 1},
        np.zeros(2), np.zeros((1, 2)), np.zeros(2, np.float32), torch.ones(2), np.float32(1),
    ]  # fmt: skip
    assert len({provenance.digest(value) for value in values}) == len(values)
    assert provenance.digest((1, 2)) == provenance.digest([1, 2])
    assert provenance.digest("ab", "c") != provenance.digest("a", "bc")
    with pytest.raises(TypeError, match="a function has no digest"):
        provenance.digest(lambda: 0)


@dataclasses.dataclass
class Thing:
    weight: float

    @cached_property
    def doubled(self) -> float:
        return 2 * self.weight


@dataclasses.dataclass(slots=True)
class Slotted:
    weight: float


def test_objects_and_networks_are_what_they_hold() -> None:
    one, same, other = Thing(1.0), Thing(1.0), Thing(2.0)
    assert one.doubled == 2
    assert provenance.digest(one) == provenance.digest(same) != provenance.digest(other), (
        "what is cached does not count"
    )
    first, again, changed = (provenance.digest(Slotted(weight)) for weight in (1.0, 1.0, 2.0))
    assert first == again != changed
    torch.manual_seed(0)
    network, rebuilt = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    assert provenance.digest(network) != provenance.digest(rebuilt)
    rebuilt.load_state_dict(network.state_dict())
    assert provenance.digest(network) == provenance.digest(rebuilt)


def test_code_of_values_counts_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def digests() -> list[str]:
        return [provenance.digest_with_code(value) for value in (1, CONFIG)]

    one, config = digests()
    monkeypatch.setattr(provenance, "code_of", lambda *modules: f"other code of {modules}")
    assert digests()[0] == one and digests()[1] != config


def test_sources_are_what_an_import_runs() -> None:
    names = {
        str(path.relative_to(provenance.PACKAGE))
        for path in provenance.sources("retimbre.systems.cyclegan.train")
    }
    assert {"systems/cyclegan/train.py", "training/fit.py", "nn/spectral/unet.py", "audio/chroma.py"} <= names
    assert not any(
        name.startswith(("evaluation", "listening", "metrics", "vocoders", "cli")) for name in names
    )
    assert names.isdisjoint({"params.py", "section.py", "errors.py", "progress.py", "tracking.py"})
    wavenet = {path.name for path in provenance.sources("retimbre.vocoders.wavenet.vocoder")}
    assert "wavenet.cpp" in wavenet, "files beside the code that it names"
    resynthesis = {path.name for path in provenance.sources("retimbre.systems.resynthesis.train")}
    assert "basic_pitch.safetensors" in resynthesis, "weights too"


def test_weights_that_a_module_names_are_part_of_its_digest(tmp_path):
    module, known = "retimbre.nn.transcriber.network", set()
    for n, last in enumerate((b"", b"\xff")):
        package = tmp_path / str(n) / "retimbre"
        shutil.copytree(ROOT / "src/retimbre", package, ignore=shutil.ignore_patterns("__pycache__"))
        with (package / "nn/transcriber/basic_pitch.safetensors").open("ab") as file:
            file.write(last)  # they are no text
        known.add(provenance.code_of(module, root=package))
    assert len(known) == 2
