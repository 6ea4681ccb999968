"""Rows of the generation study at tiny sizes: killed and continued, shown on a page, heard by listeners."""

import io
import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import numpy as np
import pandas
import pytest
import soundfile
from scipy.signal import correlate

from retimbre import cli
from retimbre.errors import RetimbreError
from retimbre.evaluation.report import media
from retimbre.listening import bundle
from retimbre.synthesis import notes as sets
from retimbre.synthesis.base import Notes
from retimbre.synthesis.measures.train import fit_listener
from retimbre.training.devices import make_fabric
from retimbre.training.fit import Run
from studies.generation import cell, data, listening, report, study
from tests.listening.conftest import serving
from tests.synthesis.test_gansynth import SMALL
from tests.synthesis.test_unconditional import SHARED
from tests.toys import ROOT
from tests.toys.forks import run_until_killed
from tests.toys.notes import toy_notes
from tests.toys.project import empty_store

SAMPLES = 8192
SIZES = {"bins": 128, "batch_sizes": [2], "stable_steps": [3, 2, 1], "transition_steps": [2, 4]}
ROWS = {
    "real_test": {},
    "parametric": {"system": "parametric", "params": {"bands": 24, "frames": 8}},
    "gansynth": {"system": "gansynth", "params": SMALL | SIZES},
    "wavegan": {"system": "wavegan", "params": SHARED | {"steps": 8, "post_filter": 0}},
}
EVERY = 3  # steps from checkpoint to checkpoint
# A cell that ends in a step of its training.
KILLED = """
import os, runpy, signal, sys
from importlib import import_module

module, name, death = sys.argv[1:4]
trainer = getattr(import_module(module), name)
train = trainer.step

def step(self, batch, number):
    if number == int(death):
        os.kill(os.getpid(), signal.SIGKILL)
    return train(self, batch, number)

trainer.step = step
sys.argv = sys.argv[4:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def some(notes: Notes, picked: np.ndarray) -> Notes:
    fields = (notes.audio, notes.pitch, notes.velocity, notes.instrument)
    return Notes(*(x[picked] for x in fields), notes.instruments, notes.sample_rate)


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The file of rows of a study whose notes are there, a listener that has hardly learned, and all models.
    Read only.
    """
    folder = tmp_path_factory.mktemp("study")
    path = folder / "rows.yaml"
    of = {name: {"text": f"This is {name}.", "params": {}} | row for name, row in ROWS.items()}
    for row in of.values():
        row["params"] = row["params"] | {"samples": SAMPLES}
    path.write_text(json.dumps({"rows": of}))
    notes = notes_beside(path)
    notes.folder.mkdir(parents=True)
    every, n = toy_notes(24, SAMPLES), np.arange(24)
    for split, picked in (("train", n >= 0), ("validation", n < 4), ("test", n % 4 < 2)):
        sets.save(notes.folder, split, some(every, picked))
    (notes.folder / "instruments.json").write_text(json.dumps(every.instruments))
    fit_listener(every, Run(1, make_fabric("cpu")), 2)[0].save(notes.heard_by)
    (folder / "store.db").write_bytes(empty_store())
    with surroundings(folder):
        for row in study.read(path=path).values():
            if row.system:
                cell.trained(row, notes, published=False)
        yield path


@contextmanager
def surroundings(folder: Path) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("DVC_ROOT", str(folder))
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'store.db'}")
        yield


def notes_beside(rows: Path) -> data.Data:
    return data.Data(data.settings({}), SAMPLES, rows.parent)


@pytest.mark.parametrize(
    ("name", "trainer", "death"), [("gansynth", "GanSynthTrainer", 10), ("wavegan", "WassersteinTrainer", 4)]
)
def test_a_killed_row_ends_with_the_same_bytes(
    name: str, trainer: str, death: int, once: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    """GANSynth's in the middle of its second transition, with a checkpoint in it."""
    folder = Path(shutil.copytree(once.parent, tmp_path / "study"))
    rows = folder / "rows.yaml"
    row, file = study.read(path=rows)[name], Path("models", name, "generator.safetensors")
    scratch = notes_beside(rows).scratch
    whole = (scratch / file).read_bytes()
    shutil.rmtree(scratch / "models" / name)
    if name == "gansynth":
        assert [row.params.progress(step) % 1 > 0 for step in (8, 9, 10)] == [True] * 3
    module = {"gansynth": "retimbre.synthesis.gansynth.train"}.get(name, "retimbre.synthesis.adversarial")
    words = [name, "--rows", str(rows), "--set", f"machine.checkpoint_every={EVERY}"]
    command = [str(ROOT / "studies/generation/cell.py"), *words]
    with surroundings(folder):
        run_until_killed(folder, KILLED, module, trainer, str(death), *command)
        assert not (scratch / file).exists()
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", command)
        cell.main()
    reached = death // EVERY * EVERY
    assert f"{name}: continuing at step {reached} of {row.params.steps}" in capsys.readouterr().out
    assert (scratch / file).read_bytes() == whole
    assert study.result_of(row, folder / "results")["steps"] == row.params.steps


def test_listeners_hear_any_row(once: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    """From the models to an analysis: notes, a frozen study, its server, answers."""
    names, output, place = ["gansynth", "wavegan", "parametric"], tmp_path / "notes", tmp_path / "reports"
    command = ["listening.py", *names, "--items", "6", "-o", str(output), "--rows", str(once)]
    monkeypatch.setattr(sys, "argv", command)
    listening.main()
    assert "retimbre listen build --params" in capsys.readouterr().out
    table = pandas.read_csv(output / "outputs.csv")
    assert table.system.value_counts().to_dict() == dict.fromkeys(["target", *names], 8)
    asked = table[table.system == "target"].pitch.to_numpy()
    for name in ("gansynth", "parametric"):  # the listener of wavegan's has hardly learned
        assert (table[table.system == name].pitch.to_numpy() == asked).all()
    heard = [soundfile.read(output / path)[0] for path in table.path[table.system == "wavegan"]]
    assert len({x.tobytes() for x in heard}) == 8, "no note twice"
    files = ["--params", str(output / "params.yaml"), "--place", str(place)]
    for words in (["build", "--evaluation", str(output)], ["simulate", "--listeners", "6"]):
        cli.main(["listen", *words, *files])
    built = place / "notes"
    assert f"then `retimbre listen serve --study {built}`" in capsys.readouterr().out
    frozen = bundle.read_frozen(built)
    assert [block["name"] for block in frozen["blocks"]] == ["quality", "preference"]
    protocol = (built / "protocol.md").read_text()
    assert "2 pages per block and condition" in protocol and "example from" not in protocol
    assert "paired_comparison" not in (built / "webmushra.yaml").read_text()
    with serving(built) as port, urlopen(f"http://127.0.0.1:{port}/study.json") as reply:
        served = json.load(reply)
        with urlopen(f"http://127.0.0.1:{port}/audio/{served['level']}.wav") as sound:
            level, rate = soundfile.read(io.BytesIO(sound.read()))
    assert len(level) == round(0.5 * rate) and np.abs(level).max() > 0.01
    assert not any(name in json.dumps(served) for name in [*names, "target", "anchor"])
    cli.main(["listen", "analyse", "--draws", "100", "--evaluation", str(output), *files])
    result = json.loads((built / "analysis.json").read_text())["without_exclusions"]
    rated = {row["system"] for row in result["ratings"]["quality"]["systems"]}
    assert rated == {*names, "target", "anchor"}
    pairs = {(row["system"], row["rival"]) for row in result["preference"]["pairs"]}
    assert {("gansynth", "wavegan"), ("gansynth", "target"), ("wavegan", "parametric")} <= pairs
    assert ("parametric", "target") not in pairs, "baselines are heard beside systems"


def test_a_row_without_a_model_names_the_command_that_makes_it(once: Path, monkeypatch) -> None:
    """At once: notes and network of the published sizes, which are not there, are not made for it."""
    monkeypatch.setattr(sys, "argv", ["listening.py", "wavegan", "--published", "--rows", str(once)])
    before = set(once.parent.rglob("*"))
    command = f"run.py --only wavegan --again --published --rows={once}"
    with surroundings(once.parent), pytest.raises(RetimbreError, match=f"train it with `python .*{command}"):
        listening.main()
    assert set(once.parent.rglob("*")) == before


def test_recordings_are_drawn_among_those_of_the_pitch(tmp_path: Path) -> None:
    """Of twelve instruments, by which they are sorted."""
    notes, instrument = data.Data(data.settings({}), 2, tmp_path), np.repeat(np.arange(12), 40)
    pitch = np.tile(np.arange(40, 80), 12)
    notes.folder.mkdir(parents=True)
    (notes.folder / "instruments.json").write_text("[]")
    audio = np.stack([pitch, instrument], 1).astype(np.float32)
    sets.save(notes.folder, "train", Notes(audio, pitch, np.full(480, 100), instrument, (), notes.rate))
    wanted = np.arange(79, 39, -1)
    found, pitches = listening.notes_of(study.Row("real_train", "", {}), notes, wanted, published=False)
    assert (found[:, 0] == wanted).all() and (pitches == wanted).all()
    assert len(set(found[:, 1])) > 6


def heard_as(sound: bytes, audio: np.ndarray) -> float:
    """Correlation of a sound as it decodes with audio (N,), at the lag where they fit best."""
    decoded = soundfile.read(io.BytesIO(sound))[0]
    both = correlate(decoded, audio) / (np.linalg.norm(decoded) * np.linalg.norm(audio))
    return float(np.abs(both).max())


def test_every_player_of_the_page_plays_its_note(once: Path) -> None:
    """From the disk, by keyboard."""
    from tests.toys import browser

    if browser.BROWSER is None:
        pytest.skip("no Chromium found: install one or name it in RETIMBRE_BROWSER")
    rows, notes = study.read(path=once), notes_beside(once)
    del rows["gansynth"]  # as parametric
    missing = study.Row("specgan", "specgan", {}, SAMPLES, "It is not trained.")
    path = report.write({**rows, "specgan": missing}, {SAMPLES: notes}, False, ["--set=a=b c"])
    assert path == once.parent / "reports/generation.html"
    grids = {name: report.grid(row, notes, published=False) for name, row in rows.items()}
    with browser.chromium() as opened, browser.fresh_page(opened, offline=True) as page:
        page.goto(path.as_uri())
        page.evaluate("document.querySelectorAll('audio').forEach(a => { a.loop = true; })")  # no note ends
        assert "run.py --only specgan --again '--set=a=b c' makes them" in page.inner_text("#specgan")
        for name, grid in grids.items():
            audio = grid.audio.reshape(-1, SAMPLES)
            labels = page.eval_on_selector_all(f"#{name} button", "all => all.map(b => b.ariaLabel)")
            pitches = grid.pitches.ravel() if grid.pitches is not None else range(1, 19)
            assert [int(label.split()[-1]) for label in labels] == list(pitches)
            page.focus(f"#{name} button")
            for n, x in enumerate(audio):
                assert page.evaluate("document.activeElement.ariaLabel") == labels[n]
                page.keyboard.press("Enter")
                page.wait_for_function("document.activeElement.ariaPressed === 'true'")
                sound = page.evaluate("""async () => {
                  const file = await fetch(document.activeElement.nextElementSibling.src);
                  return [...new Uint8Array(await file.arrayBuffer())]; }""")
                assert bytes(sound) == media.sound(x, notes.rate).data, labels[n]
                # What has hardly been trained is noise, of which an MP3 keeps the loud parts.
                assert heard_as(bytes(sound), x) > (0.9 if name in ("real_test", "parametric") else 0.5)
                page.keyboard.press("ArrowRight")
                if n % 6 == 5:
                    page.keyboard.press("ArrowDown")
                    for _ in range(5):
                        page.keyboard.press("ArrowLeft")
        page.keyboard.press("Enter")
        pressed = "document.querySelectorAll('[aria-pressed=true]').length"
        page.wait_for_function(f"{pressed} === 1")  # one sound at a time
        page.keyboard.press("Space")
        page.wait_for_function(f"{pressed} === 0")
        page.evaluate("document.querySelectorAll('img').forEach(load)")
        sizes = page.evaluate(
            "Promise.all([...document.images].map(i => i.decode().then(() => i.naturalWidth)))"
        )
        assert len(sizes) == 18 * len(grids) and min(sizes) > 10 and browser.fits(page)
