"""The generation study: rows are valid, the page is made of the results, published sets become notes."""

from pathlib import Path

import numpy as np
import pytest

from retimbre import cli
from retimbre.audio.files import read_mono
from retimbre.errors import RetimbreError
from retimbre.synthesis import catalogue
from retimbre.synthesis.base import Notes
from studies.changes import changes
from studies.generation import data, gallery, page, run, study
from tests.toys import layouts

ROWS = study.read()


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row.system])
def test_a_row_is_valid_at_both_sizes(name: str) -> None:
    assert ROWS[name].params and study.read(published=True)[name].params


def test_rows_are_the_four_systems_and_their_controls_and_each_says_what_it_is() -> None:
    assert (
        list(ROWS)
        == (
            "real_train real_test parametric wavegan wavegan_nearest specgan tifgan_m tifgan_mtf "
            "gansynth gansynth_mel gansynth_phase gansynth_high gansynth_tones gansynth_tones_phase"
        ).split()
    )
    assert all(len(row.text) > 60 for row in ROWS.values())
    assert study.read(published=True)["gansynth"].samples == 64000


def test_the_page_is_made_of_the_results() -> None:
    before = page.PAGE.read_text(encoding="utf-8")
    assert before == page.written(ROWS), "run `make generation`"
    for path in study.RESULTS.glob("*.json"):
        assert study.result_of(ROWS[path.stem], study.RESULTS), (
            f"{path} is of other params: run the row again"
        )
        assert all((page.MEDIA / f"{path.stem}.{kind}").is_file() for kind in ("webp", "ogg")), path
    assert sum(path.stat().st_size for path in page.MEDIA.glob("*")) < 500_000


def test_a_row_that_failed_or_is_not_run_says_so(tmp_path: Path) -> None:
    study.write_result(ROWS["wavegan"], tmp_path, {"failed": "error: it diverged."})
    found = {name: study.result_of(row, tmp_path) for name, row in ROWS.items()}
    text = page.made(ROWS, found)
    assert "| `wavegan` | failed: error: it diverged. |" in text and "| `specgan` | not run |" in text
    other = study.Row("wavegan", "wavegan", {"channels": 1})
    assert study.result_of(other, tmp_path) is None


def test_wrong_params_are_named() -> None:
    with pytest.raises(RetimbreError, match="row parametric: bands: "):
        study.Row("parametric", "parametric", {"bands": 0, "frames": 4}).params  # noqa: B018


@pytest.mark.parametrize("source", ["nsynth", "speech_commands"])
def test_a_published_set_becomes_notes(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from retimbre.datasets.sources import nsynth

    monkeypatch.setenv("RETIMBRE_DOWNLOADS", str(tmp_path / "downloads"))
    archives = tmp_path / "archives"
    archives.mkdir()
    layout = layouts.build({"nsynth": "nsynth_gansynth"}.get(source, source), archives)
    if layout.histogram:
        monkeypatch.setattr(nsynth, "HISTOGRAM", layout.histogram)
    from tests.toys.served import write_sums

    write_sums(archives)
    p = data.settings({
        "dataset.source": source, "dataset.domains": list(layout.domains), "dataset.archives": str(archives),
    })  # fmt: skip
    found = data.Data(p, 4096, tmp_path)
    monkeypatch.setattr(found, "_train_listener", lambda: None)
    found.prepare()
    counts = {split: len(found.notes(split)) for split in ("train", "validation", "test")}
    expected = [split for _, _, split in layout.rows.values()]
    assert counts == {split: expected.count(split) for split in counts}
    notes = found.notes("train")
    assert notes.audio.shape == (len(notes), 4096) and np.abs(notes.audio).max() > 0.05
    if source == "nsynth":
        assert notes.instruments == layout.domains and set(notes.velocity) == {75}
        assert {*notes.pitch[notes.instrument == 0]} == set(range(60, 72))  # flutes
    else:
        assert notes.instruments == () and {*notes.pitch} == {0, 1}


def test_sample_makes_a_note_and_plays_a_file(tmp_path: Path, monkeypatch, capsys) -> None:
    from retimbre.datasets.scores.performance import PlayedNote, write_midi
    from retimbre.datasets.scores.soundfont import find_font
    from retimbre.synthesis import single_notes
    from retimbre.synthesis.parametric.params import Params
    from retimbre.synthesis.parametric.train import fit
    from retimbre.training.devices import make_fabric
    from retimbre.training.fit import Run

    monkeypatch.chdir(tmp_path)
    some = [note for note in single_notes.single_notes(["flute"]) if note.velocity == 100][:8]
    audio = single_notes.render(some, find_font(None), 4096, 16000)
    zeros = np.zeros(len(some), int)
    train = Notes(audio, np.array([note.pitch for note in some]), zeros + 100, zeros, ("flute",), 16000)
    model, _ = fit(train, Params(bands=24, frames=8), Run(1, make_fabric("cpu")))
    catalogue.store("parametric", model, catalogue.MODELS / "parametric")
    words = ["sample", "--system", "parametric", "-o", "note.wav", "--seed", "3"]
    cli.main([*words, "--pitch", "62"])
    note = read_mono("note.wav", 16000)
    assert note == pytest.approx(model.decode(model.latents(1, 3), [62])[0], abs=1e-4)
    write_midi(Path("song.mid"), [PlayedNote(0.0, 0.2, 62, 127), PlayedNote(0.5, 0.7, 64, 100)])
    cli.main([*words, "--to-midi", "song.mid", "--walk", "1"])
    assert len(read_mono("note.wav", 16000)) == 8000 + 4096
    grid = gallery.grid_of(model)
    assert grid.audio.shape == (3, 6, 4096)
    gallery.draw(tmp_path, "x", grid, 16000)
    assert (tmp_path / "x.webp").stat().st_size < 30_000 and (tmp_path / "x.ogg").stat().st_size < 30_000
    Path("song.mid").write_bytes(b"no MIDI")
    with pytest.raises(SystemExit):
        cli.main([*words, "--to-midi", "song.mid"])
    assert "song.mid cannot be read as a MIDI file" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        cli.main([*words, "--walk", "2"])
    assert "--walk is for MIDI files" in capsys.readouterr().err


def test_the_grid_shows_the_loudest_notes_that_there_are_and_words_from_the_first_to_the_last() -> None:
    rng = np.random.default_rng(0)
    pitch, velocity = np.repeat(np.arange(50, 80), 2), np.tile([25, 75], 30)
    notes = Notes(rng.normal(size=(60, 8)), pitch, velocity, np.repeat([0, 2], 30), ("a", "b", "c"), 4)
    grid = gallery.grid_of_notes(notes)
    assert grid.lines == ["a", "a", "c"] and grid.pitches[0].tolist() == [50, 50, 54, 60, 64, 64]
    assert grid.pitches[2].tolist() == [65, 65, 65, 65, 66, 72]
    assert (grid.audio[2, 5] == notes.audio[(pitch == 72) & (velocity == 75)][0]).all()
    words = Notes(notes.audio[:20], np.arange(20) % 10, np.full(20, 100), np.zeros(20, int), (), 4)
    assert gallery.grid_of_notes(words).pitches[0].tolist() == [0, 2, 4, 5, 7, 9]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("rows: {}", "rows.: Dictionary should have at least 1 item"),
        ("rows: {wavegan: }", "rows.wavegan: Input should be"),
        ("rows: {wavegan: {system: wavegan, parms: {}}}", "rows.wavegan.parms: Extra inputs"),
        ("rows: {a/b: {system: wavegan}}", "rows.a/b.*: String should match"),
        ("rows: {a: {system: wavegan, same: b}}", "a is the same as b, which is no row of it"),
        ("[1, 2]", "is no file of rows"),
        (None, "is no file of rows"),
    ],
)
def test_odd_files_of_rows_are_refused_in_a_sentence(text: str | None, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    if text:
        path.write_text(text)
    with pytest.raises(RetimbreError, match=f"mine.yaml.*{sentence}"):
        study.read(path=path)


@pytest.mark.parametrize("folder", [study.ROOT, study.HERE])
def test_other_rows_do_not_write_over_those_of_the_page(folder: Path, tmp_path: Path) -> None:
    assert study.place(tmp_path / "mine.yaml") == tmp_path and study.place(study.ROWS) == study.ROOT
    with pytest.raises(RetimbreError, match="mine.yaml would write over what the rows of .* made"):
        study.place(folder / "mine.yaml")


def test_odd_settings_are_refused_in_a_sentence(monkeypatch) -> None:
    with pytest.raises(RetimbreError, match="--set nsynth: write NAME=VALUE"):
        changes(["nsynth"])
    with pytest.raises(RetimbreError, match="dataset.source is tinysol: choose soundfont, "):
        data.settings({"dataset.source": "tinysol"})
    monkeypatch.setenv("DVC_ROOT", str(data.ROOT))  # as the run sets it
    monkeypatch.setattr("sys.argv", ["run.py", "--set", "seed=3"])
    with pytest.raises(RetimbreError, match="--set seed=3: results of these notes are of params.yaml alone"):
        run.main()
