"""``params.yaml`` and ``profiles/``: valid, alike, and refused in one sentence when they are not."""

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ruamel.yaml import YAML

from retimbre import params
from retimbre.errors import RetimbreError
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
    "infinite": ({"model.lambda_cycle": float("inf")}, "model.lambda_cycle is inf: input should be a finite number"),
    "negative": ({"vocoder.inverter_steps": -1}, "vocoder.inverter_steps is -1"),
    "unknown choice": ({"model.generator": "vnet"}, "model.generator is 'vnet'"),
    "unknown discriminator": ({"model.discriminator": "judge"}, "model.discriminator is 'judge': use one of full_spectrum, patch,"),
    "a discriminator twice": ({"model.discriminator": ["patch", "patch"]}, "model.discriminator is \\['patch', 'patch'\\]"),
    "no discriminator": ({"model.discriminator": []}, "model.discriminator is \\[\\]"),
    "WGAN-GP without GP": ({"model.gan_loss": "wgan_gp"}, "model.lambda_gradient_penalty must be above 0"),
    "smooth hinge": ({"model.gan_loss": "hinge", "model.label_smoothing": 0.1}, "model.label_smoothing: gan_loss hinge has no label"),
    "content of mel": (
        {"model.representation": "mel", "vocoder.representation": "mel", "model.lambda_content": 1},
        "model.lambda_content folds CQT bins",
    ),
    "content of odd bins": (
        {"model.lambda_content": 1, "features.cqt_bins": 84, "features.cqt_bins_per_octave": 13},
        "model.lambda_content needs features.cqt_bins_per_octave",
    ),
    "pix2pix without pairs": ({"model.method": "pix2pix"}, "set dataset.paired_training to true"),
    "one domain": ({"dataset.domains": ["piano"]}, "dataset.domains is"),
    "a domain twice": ({"dataset.domains": ["piano", "piano"]}, "dataset.domains names a domain twice"),
    "domain that is no name": ({"dataset.domains": ["piano", "../x"]}, "dataset.domains.1 is '../x'"),
    "folder without entry": ({"dataset.source": "folder", "dataset.folders": {"piano": "/p"}}, "dataset.folders has no entry for 'guitar'"),
    "unknown source": ({"dataset.source": "itunes"}, "dataset.source names 'itunes': use one of soundfont, folder, fma"),
    "unknown source of a domain": ({"dataset.source": {"piano": "maestro", "guitar": 3}}, "dataset.source names 3: use one of"),
    "domain without source": ({"dataset.source": {"piano": "maestro"}}, "dataset.source has no entry for 'guitar'"),
    "videos without entry": ({"dataset.source": {"piano": "youtube", "guitar": "urmp"}}, "dataset.youtube has no entry for 'piano'"),
    "pairs of a source without them": (
        {"dataset.source": {"piano": "soundfont", "guitar": "guitarset"}, "dataset.paired_training": True},
        "dataset.paired_training: only source soundfont",
    ),
    "too many downloads": ({"dataset.downloads": 99}, "dataset.downloads is 99"),
    "hop and octaves": ({**TWELVE, "features.hop_length": 250}, "features.hop_length must be a multiple of 64 .* use 192 or 256"),
    "hop and window": ({"features.stft_n_fft": 256}, "features.stft_n_fft must be at least twice"),
    "bins above Nyquist": ({**TWELVE, "features.cqt_bins": 108}, "features.cqt_bins: the highest filter"),
    "two representations": ({"vocoder.representation": "mel"}, "vocoder.representation must be the same as model.representation"),
    "the old name of the default audio": ({"evaluate.route": "griffin_lim"}, "evaluate.route is now vocoder.kind"),
    "a kind that is not made": (
        {"vocoder.kind": "source_phase", "vocoder.kinds": ["griffin_lim"]},
        "vocoder.kinds must name vocoder.kind \\(source_phase\\)",
    ),
    "a kind twice": ({"vocoder.kinds": ["source_phase", "source_phase"]}, "vocoder.kinds names a kind twice"),
    "window of istft": ({"vocoder.istft_n_fft": 256}, "vocoder.istft_n_fft must be at least twice features.hop_length \\(512\\)"),
    "crop of istft": (
        {**TWELVE, "vocoder.istft_crop_frames": 16, "features.hop_length": 128},
        "vocoder.istft_crop_frames must be at least 32",
    ),
    "pieces of wavenet_excited": ({"vocoder.excited_segment_frames": 19}, "vocoder.excited_segment_frames must be at least 20"),
    "halvings of unet": ({"model.generator": "unet", "model.generator_blocks": 9}, "model.generator_blocks counts the halvings"),
}


def values() -> dict[str, Any]:
    return yaml.safe_load(PARAMS.read_text(encoding="utf-8"))


def keys(mapping: dict[str, Any]) -> dict[str, Any]:
    """The keys of params, two levels; free mappings (folders) count as one value."""
    return {key: list(value) if isinstance(value, dict) else None for key, value in mapping.items()}


def test_the_default_is_valid() -> None:
    loaded = params.load("seed", "model", path=PARAMS)
    assert vars(loaded).keys() == {"seed", "model"}, "only what was asked for"
    assert loaded.model.lambda_cycle == values()["model"]["lambda_cycle"]


def test_kinds_of_vocoder_that_are_not_trained_have_no_rules() -> None:
    changes = {"wavenet_crop_frames": 2, "istft_n_fft": 256, "istft_crop_frames": 16, "excited_segment_frames": 1}
    given = values()
    given["vocoder"] |= changes | {"kind": "griffin_lim", "kinds": ["griffin_lim", "source_phase"]}
    assert params.parse(given).vocoder.wavenet_crop_frames == 2
    for kind, key in (("wavenet", "wavenet_crop_frames"), ("istft", "istft_n_fft"), ("wavenet_excited", "wavenet_crop_frames")):
        given["vocoder"]["kinds"] = ["griffin_lim", kind]
        with pytest.raises(RetimbreError, match=f"vocoder.{key}"):
            params.parse(given)


def test_smoke_and_gpu_profiles_exist() -> None:
    assert {path.stem for path in PROFILES} >= {"smoke", "gpu"}


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.stem)
def test_profiles_are_valid_and_have_the_same_keys_in_the_same_order(path: Path) -> None:
    params.read(path)
    profile = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert keys(profile) == keys(values())
    assert list(profile) == list(values())


@pytest.mark.parametrize("path", [PARAMS, *PROFILES], ids=lambda path: path.stem)
def test_dvc_and_python_read_the_same_values(path: Path) -> None:
    """DVC reads YAML 1.2, PyYAML 1.1: 2e-4 is a number for one and a text for the other."""
    text = path.read_text(encoding="utf-8")
    assert YAML(typ="safe").load(text) == yaml.safe_load(text)
    assert not re.findall(r": \d+\.0+\s*(?:#.*)?$", text, re.MULTILINE), "10.0 and 10 are different keys of the run cache"


@pytest.mark.parametrize(("changes", "sentence"), BROKEN.values(), ids=BROKEN)
def test_refusals_name_the_key(changes: dict[str, Any], sentence: str) -> None:
    broken = copy.deepcopy(values())
    for name, value in changes.items():
        *section, key = name.split(".")
        (broken[section[0]] if section else broken)[key] = value
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
    del broken["vocoder"]["wavenet_layers"]
    with pytest.raises(RetimbreError, match="vocoder.wavenet_layers is missing"):
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
    flat = params.flatten("model", loaded.model)
    assert flat["model.lambda_cycle"] == loaded.model.lambda_cycle
    assert len(flat) == len(values()["model"])


def test_the_margin_of_the_excitation_is_the_networks_own():
    from retimbre.params.together import EXCITATION_MARGIN
    from retimbre.vocoders.excited.network import MARGIN

    assert EXCITATION_MARGIN == MARGIN
