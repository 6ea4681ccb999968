"""One's own folders of audio through the stages, and a transfer with what was trained on them."""

import json
import re

import numpy as np
import pytest
import soundfile
import yaml

from retimbre import params
from retimbre.cli import main
from retimbre.errors import RetimbreError
from retimbre.systems import catalogue
from retimbre.systems.catalogue import DEFAULTS
from tests.toys import ROOT
from tests.toys.project import run_stages, smoke, under

STAGES = [
    *("download", "resample", "features", "content", "classifier", "vocoder inverter"),
    *(f"train {name}" for name in DEFAULTS),
    "evaluate",
]
RATE = 22050


def tune(kind: str, seed: int, seconds: float = 10.0) -> np.ndarray:
    """Notes of a made-up bell (decaying, inharmonic) or reed (sustained, odd partials), every half second."""
    rng = np.random.default_rng(seed)
    t = np.arange(int(0.5 * RATE)) / RATE
    notes = []
    for _ in range(int(seconds * 2)):
        f = 220 * 2 ** (rng.integers(0, 20) / 12)
        if kind == "bell":
            partials = enumerate((1, 2.76, 5.4))
            notes.append(sum(np.exp(-(4 + 3 * k) * t) * np.sin(2 * np.pi * f * r * t) for k, r in partials))
        else:
            odd = sum(np.sin(2 * np.pi * f * r * t) / r for r in (1, 3, 5, 7))
            notes.append(np.hanning(len(t)) ** 0.2 * odd)
    x = np.concatenate(notes)
    return (0.3 * x / np.abs(x).max()).astype(np.float32)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    for kind in ("bell", "reed"):
        (folder / kind / "more").mkdir(parents=True)
        for i in range(5):
            name, x = "more/d.flac" if i == 3 else f"{'abcde'[i]}.wav", tune(kind, i)
            soundfile.write(folder / kind / name, np.stack([x, x], 1) if i % 2 else x, RATE)
    (folder / "bell" / "broken.wav").write_bytes(b"RIFF, or so it says")
    dataset = {
        "source": "folder",
        "domains": ["bell", "reed"],
        "train_minutes": 0,
        "validation_pieces": 1,
        "test_pieces": 1,
        "folders": {kind: str(folder / kind) for kind in ("bell", "reed")},
        "max_unreadable_share": 0.3,
    }
    values = smoke(
        dataset=dataset,
        vocoders={"inverter": "features"},
        evaluate={"vocoders": {"cyclegan": ["source_phase", "griffin_lim"]}},
    )
    (folder / "params.yaml").write_text(yaml.safe_dump(values))
    return folder


def test_every_stage_and_a_transfer(workspace, capsys, monkeypatch):
    run_stages(workspace, *STAGES)
    assert "broken.wav" in capsys.readouterr().err
    metrics = json.loads((workspace / "metrics/evaluation.json").read_text())
    assert {"copy", "eq_match", "unrelated", *DEFAULTS, "cyclegan_griffin_lim"} <= set(metrics)
    assert "resynthesis_scrambled" in metrics
    assert metrics["copy"]["content_note_f1"] == 1.0
    names = {name for row in metrics.values() for name in row}
    assert not any(name.startswith(("paired", "feature_lsd", "skill")) for name in names), (
        "there is no true target"
    )
    assert "oracle" not in metrics
    page = (workspace / "data/evaluation/report.html").read_text()
    assert "bell → reed" in page and "reed → bell" in page
    clips = (workspace / "data/evaluation/audio").glob("*.source.flac")
    assert {path.name.split(".")[0] for path in clips} == {"bell_to_reed", "reed_to_bell"}

    song = workspace / "bell/a.wav"
    monkeypatch.chdir(workspace)
    main(["transfer", str(song), "--to", "reed", "-o", "out.wav"])
    assert f"(by {DEFAULTS[0]} of " in capsys.readouterr().out
    assert soundfile.info(workspace / "out.wav").frames == soundfile.info(song).frames


ONE = ["download", "resample", "features", "content"]


@pytest.fixture(scope="module")
def one_instrument(tmp_path_factory):
    """A project of one's own instrument, on the weights that ship, with few steps."""
    folder = tmp_path_factory.mktemp("mine")
    (folder / "recordings").mkdir()
    for i in range(3):
        soundfile.write(folder / f"recordings/{i}.wav", tune("reed", i, seconds=11.0), RATE)
    few = dict.fromkeys(("steps", "round_steps", "spectrum_steps", "joint_steps"), 2)
    changes = {
        "machine": {"jobs": 1},
        "dataset": {"excerpt_s": 4, "folders": {"mine": str(folder / "recordings")}},
        "resynthesis": {"rounds": 1, "batch_size": 2, **few},
        "vocoder": {"inverter": {"steps": 1, "batch_size": 2}},
    }
    (folder / "params.yaml").write_text(yaml.safe_dump(params.overlay(under("own_instrument"), changes)))
    run_stages(folder, *ONE)
    return folder


def test_an_own_instrument_on_the_weights_that_ship(one_instrument, capsys, monkeypatch):
    """A few steps from the shipped weights are near them, and far from what random weights give."""
    run_stages(one_instrument, "vocoder inverter", f"train {DEFAULTS[0]}")
    said = re.search(r"the training goes on from orchestra: mine as (\w+)", capsys.readouterr().out)
    own = catalogue.load(DEFAULTS[0], one_instrument / "data/models")
    shipped = catalogue.load(DEFAULTS[0], ROOT / "src/retimbre/weights/orchestra")
    assert own.targets == ["mine"]
    audio = tune("reed", 9, seconds=2.0)
    made, theirs = own.spectrum(audio, "mine"), shipped.spectrum(audio, said[1])
    assert np.abs(made - theirs).mean() < 0.5 * theirs.std()

    monkeypatch.chdir(one_instrument)
    main(["transfer", "recordings/0.wav", "--to", "mine", "-o", "out.wav"])
    assert f"(by {DEFAULTS[0]} of " in capsys.readouterr().out


def test_one_instrument_is_enough_for_no_other_stage(one_instrument):
    with pytest.raises(
        RetimbreError, match="^dataset.domains names one instrument, and cyclegan learns from 2"
    ):
        run_stages(one_instrument, "train cyclegan")


@pytest.mark.parametrize(
    "section, said",
    [
        ({"resynthesis": {"start_from": "orchester"}}, "resynthesis.start_from is 'orchester': name weights"),
        ({"vocoder": {"inverter": {"start_from": "piano"}}}, "vocoder.inverter.start_from is 'piano'"),
        ({"vocoder": {"representation": "mel"}, "resynthesis": {"representation": "mel"},
          "model": {"representation": "mel"}}, "vocoder.inverter.start_from is orchestra, whose networks"),
    ],
)  # fmt: skip
def test_starts_that_do_not_fit_are_refused(one_instrument, section, said):
    before = (one_instrument / "params.yaml").read_text()
    values = params.overlay(yaml.safe_load(before), section)
    stage = "vocoder inverter" if "vocoder" in section else f"train {DEFAULTS[0]}"
    try:
        (one_instrument / "params.yaml").write_text(yaml.safe_dump(values))
        with pytest.raises(RetimbreError, match=f"^{re.escape(said)}"):
            run_stages(one_instrument, stage)
    finally:
        (one_instrument / "params.yaml").write_text(before)
