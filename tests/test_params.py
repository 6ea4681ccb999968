"""``params.yaml`` and ``profiles/``: valid, alike, and refused in one sentence when they are not."""

import copy
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from dvc.utils.hydra import apply_overrides
from ruamel.yaml import YAML

from retimbre import params
from retimbre.errors import RetimbreError
from retimbre.evaluation.results.rows import BASELINES
from retimbre.section import Machine
from retimbre.systems.catalogue import DEFAULTS
from retimbre.vocoders.kinds import KINDS, STARTS_FROM
from retimbre.vocoders.params import Rendering
from tests.toys import ROOT

PARAMS = ROOT / "params.yaml"
PROFILES = sorted((ROOT / "profiles").glob("*.yaml"))
TWELVE = {"features.cqt_bins": 84, "features.cqt_bins_per_octave": 12}  # seven octaves
BROKEN = {  # what is set -> what the sentence must say
    "typo": ({"model.lambda_cylce": 3}, "model.lambda_cylce is not a parameter"),
    "no such section": ({"modle": {}}, "modle is not a parameter"),
    "text for a number": ({"model.lambda_cycle": "abc"}, "model.lambda_cycle is 'abc'"),
    "YAML 1.1 exponent": ({"model.learning_rate_generator": "2e-4"}, "write exponents as 2.0e-4"),
    "float for an integer": ({"model.steps": 10.5}, "model.steps is 10.5"),
    "boolean for a number": ({"classifier.steps": True}, "classifier.steps is True"),
    "infinite": (
        {"model.lambda_cycle": float("inf")},
        "model.lambda_cycle is inf: input should be a finite number",
    ),
    "negative": ({"vocoder.inverter.steps": -1}, "vocoder.inverter.steps is -1"),
    "unknown choice": ({"model.generator": "vnet"}, "model.generator is 'vnet'"),
    "unknown discriminator": (
        {"model.discriminator": "judge"},
        "model.discriminator is 'judge': use one of full_spectrum, patch,",
    ),
    "a discriminator twice": (
        {"model.discriminator": ["patch", "patch"]},
        "model.discriminator is \\['patch', 'patch'\\]",
    ),
    "no discriminator": ({"model.discriminator": []}, "model.discriminator is \\[\\]"),
    "WGAN-GP without GP": ({"model.gan_loss": "wgan_gp"}, "model.lambda_gradient_penalty must be above 0"),
    "smooth hinge": (
        {"model.gan_loss": "hinge", "model.label_smoothing": 0.1},
        "model.label_smoothing: gan_loss hinge has no label",
    ),
    "content of mel": (
        {"model.representation": "mel", "vocoder.representation": "mel", "model.lambda_content": 1},
        "model.lambda_content folds CQT bins",
    ),
    "content of odd bins": (
        {"model.lambda_content": 1, "features.cqt_bins": 84, "features.cqt_bins_per_octave": 13},
        "model.lambda_content needs features.cqt_bins_per_octave",
    ),
    "pix2pix without pairs": (
        {"systems": {"pix2pix": "pix2pix"}},
        "systems names pix2pix, .* set dataset.paired_training to true",
    ),
    "an unknown system": (
        {"systems": {"x": "wavegan2"}},
        f"systems.x is 'wavegan2': use some of {', '.join(DEFAULTS)}, ",
    ),
    "a list of systems": ({"systems": ["pix2pix"]}, "systems is .*: input should be a valid dictionary"),
    "a default system": (
        {"systems": {"cyclegan": "cyclegan"}},
        "systems names cyclegan, which has a stage of its own",
    ),
    "an unknown network": (
        {"vocoders.hifigan": "features"},
        "vocoders names 'hifigan': use some of inverter",
    ),
    "a network with another start": (
        {"vocoders.istft": "features"},
        "vocoders.istft is 'features': the network starts from models/vocoder/inverter",
    ),
    "a network without its start": (
        {"vocoders": {"istft": "models/vocoder/inverter"}},
        "vocoders names istft without inverter",
    ),
    "a kind that no network makes": (
        {"vocoders": {"inverter": "features"}},
        "evaluate.vocoders.resynthesis is istft, which needs istft",
    ),
    "more neighbours than candidates": ({"knn.neighbours": 30}, "knn.neighbours is 30, of"),
    "no domain": ({"dataset.domains": []}, "dataset.domains is"),
    "a domain twice": ({"dataset.domains": ["piano", "piano"]}, "dataset.domains names a domain twice"),
    "domain that is no name": ({"dataset.domains": ["piano", "../x"]}, "dataset.domains.1 is '../x'"),
    "folder without entry": (
        {"dataset.source": "folder", "dataset.folders": {"piano": "/p"}},
        "dataset.folders has no entry for 'guitar'",
    ),
    "unknown source": (
        {"dataset.source": "itunes"},
        "dataset.source names 'itunes': use one of soundfont, folder, fma",
    ),
    "unknown source of a domain": (
        {"dataset.source": {"piano": "maestro", "guitar": 3}},
        "dataset.source names 3: use one of",
    ),
    "domain without source": (
        {"dataset.source": {"piano": "maestro"}},
        "dataset.source has no entry for 'guitar'",
    ),
    "videos without entry": (
        {"dataset.source": {"piano": "youtube", "guitar": "urmp"}},
        "dataset.youtube has no entry for 'piano'",
    ),
    "pairs of a source without them": (
        {"dataset.source": {"piano": "soundfont", "guitar": "guitarset"}, "dataset.paired_training": True},
        "dataset.paired_training: only source soundfont",
    ),
    "too many downloads": ({"machine.downloads": 99}, "machine.downloads is 99"),
    "hop and octaves": (
        {**TWELVE, "features.hop_length": 250},
        "features.hop_length must be a multiple of 64 .* use 192 or 256",
    ),
    "hop and window": ({"features.stft_n_fft": 256}, "features.stft_n_fft must be at least twice"),
    "bins above Nyquist": ({**TWELVE, "features.cqt_bins": 108}, "features.cqt_bins: the highest filter"),
    "two representations": (
        {"vocoder.representation": "mel"},
        "vocoder.representation must be the same as resynthesis.representation",
    ),
    "two representations of systems": (
        {"vocoder.representation": "mel", "resynthesis.representation": "mel"},
        "vocoder.representation must be the same as model.representation",
    ),
    "window of istft": (
        {"vocoder.istft.n_fft": 256},
        "vocoder.istft.n_fft must be at least twice features.hop_length \\(512\\)",
    ),
    "crop of istft": (
        {**TWELVE, "vocoder.istft.crop_frames": 16, "features.hop_length": 128},
        "vocoder.istft.crop_frames must be at least 32",
    ),
    "width of istft": (
        {"vocoder.istft.channels": 8},
        "vocoder.istft.channels is 8, but the inverter .* has 192",
    ),
    "segments of excited": (
        {"vocoders.excited": "models/vocoder/inverter", "vocoder.excited.segment_frames": 19},
        "vocoder.excited.segment_frames must be at least 20",
    ),
    "mixture of codes": (
        {"vocoder.wavenet.output": "mol"},
        "vocoder.wavenet.output mol needs vocoder.wavenet.input scalar",
    ),
    "halvings of unet": (
        {"model.generator": "unet", "model.generator_blocks": 9},
        "model.generator_blocks counts the halvings",
    ),
}


def values() -> dict[str, Any]:
    return yaml.safe_load(PARAMS.read_text(encoding="utf-8"))


def profile(path: Path) -> dict[str, Any]:
    """``params.yaml`` with a profile laid over it."""
    return params.overlay(values(), yaml.safe_load(path.read_text(encoding="utf-8")))


def flat(mapping: dict[str, Any], place: str = "") -> dict[str, Any]:
    """All values by dotted name; mappings whose keys the user makes up count as one value."""
    found = {}
    for key, value in mapping.items():
        name = f"{place}{key}"
        joined = isinstance(value, dict) and value and name not in params.WHOLE
        found |= flat(value, f"{name}.") if joined else {name: value}
    return found


def test_the_default_is_valid() -> None:
    loaded = params.load("seed", "model", path=PARAMS)
    assert vars(loaded).keys() == {"seed", "model"}, "only what was asked for"
    assert loaded.model.lambda_cycle == values()["model"]["lambda_cycle"]


def test_networks_that_are_not_trained_have_no_rules() -> None:
    given = values()
    given["vocoders"] = {"inverter": "features"}
    given["evaluate"]["vocoders"] = {}
    given["vocoder"]["wavenet"]["crop_frames"] = 2
    given["vocoder"]["istft"] |= {"n_fft": 256, "crop_frames": 16}
    given["vocoder"]["excited"]["segment_frames"] = 1
    assert params.parse(given).vocoder.wavenet.crop_frames == 2
    starts = (("wavenet", "features", "crop_frames"), ("istft", "models/vocoder/inverter", "n_fft"))
    for name, start, key in (*starts, ("excited", "models/vocoder/inverter", "segment_frames")):
        given["vocoders"] = {"inverter": "features", name: start}
        with pytest.raises(RetimbreError, match=f"vocoder.{name}.{key}"):
            params.parse(given)


def test_what_left_the_default_comes_back_as_the_page_on_experiments_says(tmp_path: Path) -> None:
    text = (ROOT / "docs/experiments.md").read_text(encoding="utf-8")
    (rows,) = re.findall(r"^\*\*More rows:\*\*.*?(?=^\*\*)", text, re.MULTILINE | re.DOTALL)
    path = tmp_path / "params.yaml"
    shutil.copy(PARAMS, path)
    for options in re.findall(r"`(-S .*?)`", rows):  # each with those above it
        before = params.read(path)
        apply_overrides(path, [word for word in shlex.split(options) if word != "-S"])
        changed = params.read(path)
        assert changed != before, options
    assert set(changed.vocoders) == set(STARTS_FROM)
    assert set(changed.evaluate.vocoders["cyclegan"]) == set(KINDS)
    assert tuple(changed.baselines.systems) == BASELINES


def test_smoke_and_gpu_profiles_exist() -> None:
    assert {path.stem for path in PROFILES} >= {"smoke", "gpu"}


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.stem)
def test_a_profile_says_only_what_differs_and_what_comes_of_it_is_valid(path: Path) -> None:
    params.parse(profile(path))
    changes, default = flat(yaml.safe_load(path.read_text(encoding="utf-8"))), flat(values())
    assert set(changes) <= set(default), "no name of its own"
    assert not [name for name, value in changes.items() if default[name] == value], "only what differs"


def test_the_profile_command_keeps_comments_and_gives_what_the_overlay_gives(tmp_path: Path) -> None:
    for folder in ("tools", "profiles", "src"):
        (tmp_path / folder).symlink_to(ROOT / folder) if folder == "src" else shutil.copytree(
            ROOT / folder, tmp_path / folder
        )
    shutil.copy(PARAMS, tmp_path)
    command = [sys.executable, "tools/profile.py"]
    subprocess.run([*command, "smoke"], cwd=tmp_path, check=True, capture_output=True)
    written = (tmp_path / "params.yaml").read_text(encoding="utf-8")
    assert yaml.safe_load(written) == profile(ROOT / "profiles/smoke.yaml")
    assert "# of everything random" in written
    refused = subprocess.run([*command, "mars"], cwd=tmp_path, capture_output=True, text=True)
    assert (
        refused.returncode == 1
        and "there is no profile 'mars'" in refused.stderr
        and "Traceback" not in refused.stderr
    )


@pytest.mark.parametrize("path", [PARAMS, *PROFILES], ids=lambda path: path.stem)
def test_dvc_and_python_read_the_same_values(path: Path) -> None:
    """DVC reads YAML 1.2, PyYAML 1.1: 2e-4 is a number for one and a text for the other."""
    text = path.read_text(encoding="utf-8")
    assert YAML(typ="safe").load(text) == yaml.safe_load(text)
    assert not re.findall(r": \d+\.0+\s*(?:#.*)?$", text, re.MULTILINE), (
        "10.0 and 10 are different keys of the run cache"
    )


@pytest.mark.parametrize(("changes", "sentence"), BROKEN.values(), ids=BROKEN)
def test_refusals_name_the_key(changes: dict[str, Any], sentence: str) -> None:
    broken = copy.deepcopy(values())
    for name, value in changes.items():
        *sections, key = name.split(".")
        place = broken
        for section in sections:
            place = place[section]
        place[key] = value
    with pytest.raises(RetimbreError, match=sentence) as refusal:
        params.parse(broken)
    said = str(refusal.value)
    assert said.startswith("params.yaml: ") and said.endswith(".") and "\n" not in said


def test_missing_key_and_section() -> None:
    for name in ("model", "seed"):
        broken = values()
        del broken[name]
        with pytest.raises(RetimbreError, match=f"^params.yaml: {name} is missing"):
            params.parse(broken)
    broken = values()
    del broken["vocoder"]["wavenet"]["layers"]
    with pytest.raises(RetimbreError, match="vocoder.wavenet.layers is missing"):
        params.parse(broken)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"seed: [1\nmodel: {", "is not valid YAML in line"),
        (b"\xff\xfe\x00", "is not text in UTF-8"),
        (b"just a text", "must be a mapping of sections"),
        (b"", "must be a mapping of sections"),
    ],
)
def test_broken_files(tmp_path: Path, content: bytes, sentence: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_bytes(content)
    with pytest.raises(RetimbreError, match=sentence) as refusal:
        params.load("seed", path=path)
    assert str(path) in str(refusal.value)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(RetimbreError, match="does not exist: run this in the repository's root"):
        params.load("seed", path=tmp_path / "params.yaml")


def test_flat_names_are_those_of_dash_s() -> None:
    loaded = params.read(PARAMS)
    named = params.flatten("model", loaded.model)
    assert named["model.lambda_cycle"] == loaded.model.lambda_cycle
    assert len(named) == len(values()["model"])
    assert (
        params.flatten("vocoder", loaded.vocoder)["vocoder.wavenet.layers"] == loaded.vocoder.wavenet.layers
    )


def test_what_sections_repeat_of_the_networks_is_the_networks_own() -> None:
    from retimbre.vocoders.excited import network
    from retimbre.vocoders.excited import params as excited

    assert excited.MARGIN == network.MARGIN


def test_shipped_weights_are_inputs_of_the_trainings_that_start_from_them() -> None:
    """So that other weights make another key of a checkpoint."""
    default, own = (params.parse(x) for x in (values(), profile(ROOT / "profiles/own_instrument.yaml")))
    shipped = ROOT / "src/retimbre/weights/orchestra"
    assert own.resynthesis.inputs == (*default.resynthesis.inputs, str(shipped / "resynthesis"))
    assert default.vocoder.inverter.inputs == ()
    assert own.vocoder.inverter.inputs == (str(shipped / "vocoder/inverter"),)


def test_defaults_in_code_are_those_of_the_file() -> None:
    loaded = params.read(PARAMS)
    assert loaded.machine == Machine() and loaded.rendering == Rendering()
