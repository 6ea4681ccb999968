"""Systems by name: their folders, configurations of one, and what using one imports."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from retimbre import params
from retimbre.audio.features import spectrum_of
from retimbre.errors import RetimbreError
from retimbre.systems import catalogue
from retimbre.systems.base import Change, Coded, Spectral, Streams, System
from tests.toys import ROOT
from tests.toys.features import data_of, model_params, run_of, write_features
from tests.toys.models import RATE, melody, write_models, write_resynthesis
from tests.toys.project import smoke

DEFAULTS = ", ".join(catalogue.DEFAULTS)  # as messages name them
CYCLEGAN = ROOT / "src/retimbre/systems/cyclegan"
USED = [
    "retimbre.systems.catalogue",
    "retimbre.systems.streaming",
    "retimbre.systems.controls",
    *(f"retimbre.systems.{name}.system" for name in catalogue.names()),
    *(f"retimbre.vocoders.{name}.vocoder" for name in ("inverter", "istft", "wavenet", "excited")),
]
NO_TRAINING = """
import importlib, sys
sys.path.insert(0, sys.argv[1])

def check(used):
    heavy = ("retimbre.training", "lightning_fabric", "mlflow", "dvc")
    if found := [name for name in sys.modules if name.startswith(heavy)]:
        sys.exit(f"{used} imports {', '.join(found)}")
"""


def test_names_begin_with_the_defaults_and_each_says_what_it_is():
    assert catalogue.names()[: len(catalogue.DEFAULTS)] == catalogue.DEFAULTS
    assert set(catalogue.names()) >= {"cyclegan", "pix2pix"} and "baselines" not in catalogue.names()
    assert all(len(catalogue.about(name)) > 20 for name in catalogue.names())
    with pytest.raises(RetimbreError, match=f"^'umtm' is not a system: choose {DEFAULTS}, "):
        catalogue.trainer("umtm", None)
    assert catalogue.about("umtm") == ""  # rows of results that no code here makes any more


def test_nobody_else_names_the_cyclegan():
    """But its folder, cut and pix2pix, which build on it, the catalogue, the params and its stage."""
    allowed = ("systems/cyclegan/", "systems/cut/", "systems/pix2pix/", "systems/catalogue.py", "params.py")
    library = ROOT / "src/retimbre"
    naming = [
        name
        for path in library.rglob("*")
        if path.suffix in (".py", ".j2", ".js", ".css")
        and not (name := path.relative_to(library).as_posix()).startswith(allowed)
        and "cyclegan" in path.read_text(encoding="utf-8")
    ]
    assert naming == []
    scripts = [
        path.name for path in (ROOT / "stages").glob("*.py") if "cyclegan" in path.read_text(encoding="utf-8")
    ]
    assert scripts == ["train.py"]


def test_the_cyclegan_is_read_in_one_folder():
    files = [path for path in CYCLEGAN.iterdir() if path.name != "__pycache__"]
    assert len(files) <= 6
    assert sum(len(path.read_text(encoding="utf-8").splitlines()) for path in files) < 900


def test_what_uses_models_imports_no_training():
    """One after the other in one process, which names the first that does."""
    script = f"{NO_TRAINING}\nfor name in {USED}:\n    importlib.import_module(name)\n    check(name)"
    done = subprocess.run([sys.executable, "-c", script, str(ROOT / "src")], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_transfer_imports_no_training(tmp_path):
    write_models(tmp_path / "models")
    soundfile.write(tmp_path / "song.wav", melody(0.3), RATE)
    words = ["transfer", "song.wav", "--to", "guitar", "--models", "models", "--vocoder"]
    script = f"{NO_TRAINING}\nfrom retimbre.cli import main\nfor kind in ('griffin_lim', 'wavenet'):\n"
    script += f"    main([*{words}, kind])\n    check(kind)"
    given = [sys.executable, "-c", script, str(ROOT / "src")]
    done = subprocess.run(given, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.count("(by cyclegan of models, ") == 2, done.stderr


def test_a_coded_change_hears_the_audio_as_a_spectral_system(tmp_path):
    write_resynthesis(write_models(tmp_path))
    system = catalogue.load("resynthesis", tmp_path, "source_phase")
    assert isinstance(system, Spectral) and isinstance(system, Streams) and isinstance(system.change, Coded)
    x = melody(1.0)
    spectrum_db = spectrum_of(x, system.change.features, "cqt")
    by_hand = system.change.decode(system.change.encode(x), spectrum_db, "guitar")
    assert np.array_equal(system.spectrum(x, "guitar"), by_hand) and by_hand.shape == spectrum_db.shape
    assert np.abs(system.spectrum(x, "piano") - by_hand).max() > 0.01, "another instrument"
    assert system.transfer(x, "guitar").shape == x.shape


def with_other(kind: str = "cyclegan", **changes: Any) -> dict[str, Any]:
    """Params in which ``other`` is a CycleGAN of other values."""
    values = smoke()
    return values | {"other": values["model"] | changes, "systems": {"other": kind}}


def test_a_section_may_be_a_configuration_of_a_system():
    p = params.parse(with_other(lambda_cycle=7))
    assert p.other.lambda_cycle == 7 != p.model.lambda_cycle and p.other.section == "other" != p.model.section
    assert catalogue.section_name("other") == "other" and catalogue.section_name("cyclegan") == "model"
    assert catalogue.trainer("other", p.other) == catalogue.trainer("cyclegan", p.model)
    assert params.flatten("other", p.other)["other.lambda_cycle"] == 7
    values = smoke(dataset={"paired_training": True})
    values |= {"other": values["pix2pix"], "systems": {"other": "pix2pix", "pix2pix": "pix2pix"}}
    assert params.parse(values).other.needs_pairs


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (with_other(lambda_cylce=1), "other.lambda_cylce is not a parameter: remove it or correct its name"),
        (with_other(generator="vnet"), "other.generator is 'vnet'"),
        (
            with_other(gan_loss="wgan_gp"),
            "other.lambda_gradient_penalty must be above 0 for gan_loss wgan_gp",
        ),
        (with_other(representation="mel"), "vocoder.representation must be the same as other.representation"),
        (with_other(kind="cyclegun"), "other is not a parameter"),
        (
            smoke() | {"systems": {"other": "cyclegun"}},
            f"systems.other is 'cyclegun': use some of {DEFAULTS}, ",
        ),
        (smoke() | {"systems": {"vocoder": "cyclegan"}}, "vocoder is something else: give it another name"),
        (smoke() | {"systems": {"pix2pix": "cyclegan"}}, "pix2pix is something else: give it another name"),
        (
            with_other(kind="pix2pix"),
            r"other.(lambda_cycle|lambda_identity|identity_until|pool_size) is not a parameter",
        ),
        (
            smoke() | {"systems": {"another": "cyclegan"}},
            "systems names another, which has no section here: add one",
        ),
        (
            smoke() | {"systems": {"cyclegan": "cyclegan"}},
            "systems names cyclegan, .* always trained: remove it",
        ),
        (
            smoke() | {"systems": {"pix2pix": "pix2pix"}},
            "pix2pix, which learns from pairs: set dataset.paired_training to true",
        ),
    ],
)
def test_what_cannot_be_trained_is_refused_in_one_sentence(values, sentence):
    with pytest.raises(RetimbreError, match=sentence) as refusal:
        params.parse(values)
    assert str(refusal.value).startswith("params.yaml: ") and str(refusal.value).count(". ") == 0


def test_a_configuration_is_trained_stored_and_loaded_under_its_name(tmp_path):
    """The code that reads it is the system's; a spectral one is stored without a vocoder."""
    p = params.parse(with_other()).other.model_copy(update=model_params(steps=2).model_dump())
    fit, module = catalogue.trainer("other", p)
    assert module == "retimbre.systems.cyclegan.train"
    model, _ = fit(data_of(write_features(tmp_path / "features")), p, run_of())
    assert isinstance(model, Change)
    catalogue.store("other", p, model, tmp_path / "models/other")
    assert catalogue.trained(tmp_path / "models") == ["other"]
    assert catalogue.targets_of("other", tmp_path / "models") == ["flat", "steep"]


def test_a_spectral_system_is_a_system_through_any_vocoder(tmp_path):
    write_models(tmp_path)
    system: System = catalogue.load("cyclegan", tmp_path, "istft")
    assert isinstance(system, Spectral) and isinstance(system, Streams)
    same = catalogue.load("cyclegan", tmp_path, system.vocoder)
    assert same.vocoder is system.vocoder
    x = melody(1.0)
    y = system.transfer(x, "guitar")
    assert (system.sample_rate, system.slow) == (RATE, False) and y.shape == x.shape and y.dtype == np.float32
    assert np.array_equal(y, same.transfer(x, "guitar"))
    assert catalogue.load("cyclegan", tmp_path, "wavenet").slow
    assert catalogue.trained(Path(tmp_path / "none")) == []
