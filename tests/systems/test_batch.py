"""Many recordings and instruments in one call, and streams: what is made, passed over, refused and said."""

import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from retimbre.cli import main
from retimbre.errors import RetimbreError
from retimbre.systems.batch import plan
from tests.toys import ROOT
from tests.toys.models import RATE, melody, write_models


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return write_models(tmp_path_factory.mktemp("models"))


@pytest.fixture
def takes(tmp_path, monkeypatch):
    """A folder of good, bad, silent and odd files, to work beside."""
    monkeypatch.chdir(tmp_path)
    folder = Path("takes")
    (folder / "live/ä b").mkdir(parents=True)
    x = melody(0.6)
    soundfile.write(folder / "one.wav", x, RATE)
    soundfile.write(folder / "one.flac", np.stack([x, 0.5 * x], 1), RATE)
    soundfile.write(folder / "live/two.ogg", x, RATE)
    soundfile.write(os.fsencode(folder / "live/ä b" / os.fsdecode(b"caf\xe9.mp3")), x, 44100)
    soundfile.write(folder / "silent.wav", 0 * x, RATE)
    soundfile.write(folder / "short.wav", x[:800], RATE)
    (folder / "text.wav").write_text("no audio")
    (folder / "empty.mp3").touch()
    (folder / "cut.m4a").write_bytes(b"\0\0\0\x1cftypM4A ")
    (folder / "cover.jpg").write_bytes(b"\xff\xd8")
    (folder / ".hidden.wav").touch()
    return folder


GOOD = {
    "one.wav-guitar.flac",
    "one.flac-guitar.flac",
    "live/two-guitar.flac",
    "live/ä b/caf\udce9-guitar.flac",
}
BAD = {"silent.wav", "short.wav", "text.wav", "empty.mp3", "cut.m4a"}


def files(folder: Path) -> dict[str, int]:
    """Files below a folder, and when each was written."""
    return {str(p.relative_to(folder)): p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file()}


def test_a_folder_ends_with_every_good_file_made_and_every_bad_one_named(takes, models, capsys):
    """By two processes, and again by one."""
    words = ["transfer", "takes", "--to", "guitar", "-o", "takes/out", "--format", "flac"]
    words += ["--models", str(models)]
    with pytest.raises(SystemExit) as stop:
        main([*words, "--jobs", "2"])
    assert stop.value.code == 1
    said, made = capsys.readouterr(), files(takes / "out")
    assert set(made) == GOOD
    errors = [line for line in said.err.splitlines() if line.startswith("error: ")]
    assert {line.split()[1].removeprefix("takes/") for line in errors[:-1]} == BAD
    assert errors[-1].startswith("error: 5 of 9 could not be made, for the reasons above: ")
    assert said.out.splitlines()[-1] == "4 made, 5 failed"
    assert said.out.count("-guitar.flac  (by cyclegan of ") == 4

    with pytest.raises(SystemExit):
        main(words)
    said = capsys.readouterr().out
    assert said == "0 made, 4 there already (--overwrite makes them again), 5 failed\n"
    assert files(takes / "out") == made, "a second run does nothing"
    first = {name: (takes / "out" / name).read_bytes() for name in made}
    for name in BAD:
        (takes / name).unlink()
    main(words)
    assert capsys.readouterr().out == "0 made, 4 there already (--overwrite makes them again)\n"
    main([*words, "--overwrite"])
    assert capsys.readouterr().out.splitlines()[-1] == "4 made"
    again = files(takes / "out")
    assert again.keys() == made.keys() and all(again[name] > made[name] for name in made)
    assert {name: (takes / "out" / name).read_bytes() for name in made} == first


def test_several_instruments_in_one_go(takes, models, capsys):
    words = ["transfer", "takes/one.wav", "--models", str(models), "--to", "piano,guitar"]
    main([*words, "-o", "out"])
    assert set(files(Path("out"))) == {"one-piano.wav", "one-guitar.wav"}
    main(["transfer", "takes/one.wav", "--models", str(models), "--to", "guitar", "-o", "out/alone.wav"])
    alone, one = Path("out/alone.wav").read_bytes(), Path("out/one-guitar.wav").read_bytes()
    assert alone == one != Path("out/one-piano.wav").read_bytes()
    capsys.readouterr()
    for wrong, said in (
        ("piano,harp", "'harp' is no instrument of the trained systems: choose piano, guitar"),
        ("piano,../x", "'../x' is not the name of an instrument"),
        (",", "',' is not the name of an instrument"),
    ):
        with pytest.raises(SystemExit) as stop:
            main([*words[:-1], wrong, "-o", "new"])
        assert stop.value.code == 1 and said in capsys.readouterr().err and not Path("new").exists()


def planned(*inputs: str, to: str = "guitar", output: str | None = None, **more: str) -> dict[str, str]:
    """Outputs and their sources."""
    tasks = plan([Path(name) for name in inputs], to.split(","), output and Path(output), **more)
    return {str(task.target): str(task.source) for task in tasks}


def test_the_tree_is_kept_and_names_tell_formats_and_instruments_apart(takes):
    assert planned("takes/one.wav") == {"takes/one-guitar.wav": "takes/one.wav"}
    assert planned("takes/one.wav", output="new.mp3") == {"new.mp3": "takes/one.wav"}
    assert planned("takes/one.wav", output="takes") == {"takes/one-guitar.wav": "takes/one.wav"}
    assert planned("takes/one.wav", "no.wav", ending="ogg", to="x,y") == {
        "takes/one-x.ogg": "takes/one.wav", "takes/one-y.ogg": "takes/one.wav",
        "no-x.ogg": "no.wav", "no-y.ogg": "no.wav",
    }  # fmt: skip
    assert planned("takes/live", "takes/live/two.ogg", "takes/one.wav", output="out").items() >= {
        ("out/two-guitar.wav", "takes/live/two.ogg"), ("out/one-guitar.wav", "takes/one.wav"),
    }  # fmt: skip
    both = planned("takes/one.wav", "takes/one.flac", output="out")
    assert both == {"out/one.wav-guitar.wav": "takes/one.wav", "out/one.flac-guitar.wav": "takes/one.flac"}


def test_outputs_of_an_earlier_run_are_no_inputs(takes, capsys):
    """As in `retimbre transfer *.wav --to guitar`, given twice; nor is what lies in the output's folder."""
    found = planned("takes/one.wav", "takes/one-guitar.wav")
    assert found == {"takes/one-guitar.wav": "takes/one.wav"}
    assert "passed over takes/one-guitar.wav: it is what takes/one.wav becomes" in capsys.readouterr().err
    everything = planned("takes", output="out")
    (takes / "out").mkdir()
    soundfile.write("takes/out/old.wav", melody(0.2), RATE)
    assert len(planned("takes", output="takes/out")) == len(everything)
    assert len(planned("takes", output="elsewhere")) == len(everything) + 1


@pytest.mark.parametrize(
    ("inputs", "more", "said"),
    [
        ("takes", {}, "takes is a folder: give the folder to write to with -o."),
        (
            "takes",
            {"output": "takes/one.wav"},
            "takes/one.wav is one file, and several are to be made: give a f",
        ),
        ("takes/one.wav no.wav", {"output": "new.flac"}, "new.flac is one file, and several"),
        ("takes/one.wav", {"to": "x,y", "output": "new.wav"}, "new.wav is one file, and several"),
        ("takes", {"output": "takes/"}, "takes would be read and written: give another folder with -o."),
        ("other/one.wav takes/one.wav", {"output": "out"}, "would both be written to out/one.wav-guitar.wav"),
        ("bare", {"output": "out"}, "bare holds no recordings"),
        ("takes/one.wav", {"output": "takes/one.wav"}, "takes/one.wav is the input itself"),
        (
            "takes/one.wav",
            {"output": "x.wav", "ending": "mp3"},
            "x.wav does not end in .mp3: leave --format out",
        ),
    ],
)
def test_what_has_no_place_of_its_own_is_refused(takes, inputs, more, said):
    Path("bare").mkdir()
    with pytest.raises(RetimbreError) as caught:
        planned(*inputs.split(), **more)
    assert said in str(caught.value)


def test_standard_input_to_standard_output(models, tmp_path, monkeypatch, capsys):
    soundfile.write(tmp_path / "in.flac", melody(0.6), RATE)
    words = ["transfer", "-", "--to", "guitar", "--models", str(models), "-o"]
    done = subprocess.run(
        [sys.executable, "-m", "retimbre.cli", *words, "-"],
        input=(tmp_path / "in.flac").read_bytes(),
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        cwd=tmp_path,
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr
    midi = ["--midi", str(tmp_path / "out.mid")]
    main(["transfer", str(tmp_path / "in.flac"), *words[2:], str(tmp_path / "out.wav"), *midi])
    assert "out.mid  (the notes that were heard)" in capsys.readouterr().out
    assert done.stdout == (tmp_path / "out.wav").read_bytes(), "nothing but the WAV"
    assert b"standard output  (by cyclegan of " in done.stderr

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"no audio")))
    with pytest.raises(SystemExit) as stop:
        main([*words, str(tmp_path / "x.wav")])
    said = capsys.readouterr().err.splitlines()[-1]
    assert stop.value.code == 1 and said.startswith("error: standard input is not audio that can be read")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.flac", "out.mid", "out.wav"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "give recordings and --to INSTRUMENT: `retimbre transfer --list` shows"),
        (["a.wav"], "give recordings and --to INSTRUMENT"),
        (["-", "--to", "guitar"], "standard input (-) goes alone and has no name"),
        (["-", "a.wav", "--to", "guitar", "-o", "out"], "standard input (-) goes alone"),
        (["a.wav", "b.wav", "--to", "guitar", "-o", "-"], "standard output is one file, and several"),
        (["a.wav", "--to", "guitar", "-o", "-", "--format", "mp3"], "standard output does not end in .mp3"),
        (["a.wav", "b.wav", "--to", "guitar", "--midi", "x.mid"], "--midi is for one file on one instrument"),
        (["a.wav", "--to", "guitar", "--midi", "x.txt"], "x.txt must end in .mid"),
    ],
)
def test_calls_that_say_too_little_or_too_much(models, capsys, words, said):
    with pytest.raises(SystemExit) as stop:
        main(["transfer", *words, "--models", str(models)])
    assert stop.value.code == 1 and said in capsys.readouterr().err
