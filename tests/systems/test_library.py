"""Models by place: the project's, those that ship with the package, and a folder's."""

import json

import numpy as np
import pytest
import soundfile

import retimbre
from retimbre.cli import main
from retimbre.errors import RetimbreError
from retimbre.systems import library
from retimbre.vocoders.params import Rendering
from tests.toys.models import CONFIG, RATE, melody, write_cyclegan, write_models, write_resynthesis


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder to work in; ``orchestra``, of violin, flute and guitar, comes with the package."""
    shipped = tmp_path / "package/orchestra"
    write_cyclegan(write_models(shipped), config=CONFIG | {"domains": ["violin", "guitar"]})
    (shipped / "metrics.json").write_text('{"all": {"skill": 0.5}, "targets": {"violin": {"skill": 0.77}}}')
    monkeypatch.setattr(library, "SHIPPED", shipped.parent)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_project_is_searched_before_what_ships(place, monkeypatch):
    assert str(library.Retimbre.load().find("guitar")) == "cyclegan of orchestra", "no project is needed"
    write_models(place / "data/models")
    assert str(library.Retimbre.load().find("guitar")) == "cyclegan of data/models"
    write_resynthesis(place / "data/models")
    find = library.Retimbre.load().find
    assert str(find("guitar")) == "resynthesis of data/models"
    assert str(find("violin")) == "cyclegan of orchestra"
    assert str(library.Retimbre.load(system="cyclegan").find("piano")) == "cyclegan of data/models"
    assert str(library.Retimbre.load("orchestra").find("guitar")) == "cyclegan of orchestra"
    assert library.Retimbre.load().targets == ["piano", "guitar", "violin"]
    with pytest.raises(RetimbreError, match=r"choose piano, guitar \(data/models\) or violin, guitar \(orch"):
        find("harp")
    with pytest.raises(RetimbreError, match=r"choose violin, guitar \(orchestra\)"):
        library.Retimbre.load("orchestra").find("piano")
    with pytest.raises(RetimbreError, match="data/models/pix2pix has no trained pix2pix"):
        library.Retimbre.load(system="pix2pix").find("guitar")
    with pytest.raises(
        RetimbreError, match=r"^elsewhere does not exist.* come with the package \(orchestra\)\."
    ):
        library.places("elsewhere")
    (place / "data/empty").mkdir()
    with pytest.raises(RetimbreError, match="data/empty has no trained system: train one with `dvc repro`"):
        library.places("data/empty")
    monkeypatch.setattr(library, "SHIPPED", place / "none")
    assert [str(found) for found in library.places()] == ["data/models"]
    monkeypatch.chdir(place / "package")
    with pytest.raises(RetimbreError, match="^data/models does not exist.*: run `dvc repro`"):
        library.places()


def test_the_output_says_whose_models_made_it_and_the_projects_rendering_is_for_its_own(place, capsys):
    """``params.yaml`` asks for a network that the shipped models need not have."""
    soundfile.write("song.wav", melody(0.5), RATE)
    (place / "package/orchestra/vocoder/wavenet/config.json").unlink()
    main(["transfer", "song.wav", "--to", "violin"])
    assert "song-violin.wav  (by cyclegan of orchestra, 0.5 s, " in capsys.readouterr().out
    found = library.Retimbre(tuple(library.places()), rendering=Rendering(vocoder="wavenet"))
    assert found.system_for("violin").vocoder.kind == "griffin_lim"


def test_list_shows_instruments_systems_and_their_scores(place, capsys):
    write_resynthesis(write_models(place / "data/models"))
    (place / "metrics").mkdir()
    (place / "metrics/evaluation.json").write_text(json.dumps({"resynthesis": {"skill": 0.868}, "copy": {}}))
    main(["transfer", "--list"])
    own, shipped = capsys.readouterr().out.split("orchestra:\n")
    assert own.startswith("data/models:\n  resynthesis: piano, guitar\n  cyclegan: piano, guitar\n")
    assert "skill" in own and "0.868" in own and "copy" not in own
    assert shipped == "  cyclegan: violin, guitar\n        skill\nviolin   0.77\n"
    main(["transfer", "--list", "--models", "orchestra"])
    assert capsys.readouterr().out == "orchestra:\n" + shipped


def test_one_object_for_many_calls_reads_a_system_once(place):
    kept = retimbre.Retimbre.load()
    x = melody(0.5)
    once, twice = (kept.transfer(x, RATE, "violin") for _ in range(2))
    assert np.array_equal(once, twice) and once.shape == x.shape
    assert np.array_equal(once, retimbre.transfer(x, RATE, to="violin", models="orchestra"))
    assert kept.system_for("violin") is kept.system_for("guitar"), "of one system"
