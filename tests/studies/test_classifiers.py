"""The study of the classifiers: other sources from small archives in their true layout, and its tables."""

import csv
import io
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from retimbre.classifiers.bench import catalogue, windows
from retimbre.errors import RetimbreError
from studies.classifiers import data as prepared
from studies.classifiers import page, run
from studies.classifiers.data import Data, settings
from tests.toys import layouts, layouts_mirdata, layouts_own
from tests.toys.served import write_sums

FEW = {"dataset.train_minutes": 0, "dataset.validation_pieces": 1, "dataset.test_pieces": 3,
       "dataset.excerpt_s": 1.0, "machine.jobs": 1}  # fmt: skip


@pytest.fixture
def places(tmp_path, monkeypatch):
    """Everything that the study writes lies in the test's folder; the archives' clips last 1.1 s."""
    monkeypatch.setenv("RETIMBRE_DOWNLOADS", str(tmp_path / "downloads"))
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setattr(prepared, "SCRATCH", tmp_path / "scratch")
    monkeypatch.setattr(windows, "SHORTEST", windows.RATE // 2)
    for module in (page, run):
        monkeypatch.setattr(module, "RESULTS", tmp_path / "results")
    rng = np.random.default_rng(0)

    def clip(rate, channels=1, file_format="WAV", subtype="PCM_16", seconds=layouts.SECONDS):
        """Noise: the layouts' own clips repeat, which is a leak."""
        buffer, samples = io.BytesIO(), rng.normal(0, 0.1, (int(seconds * rate), channels))
        soundfile.write(buffer, samples, rate, format=file_format, subtype=subtype)
        return buffer.getvalue()

    for module in (layouts_mirdata, layouts_own):
        monkeypatch.setattr(module, "clip", clip)
    return tmp_path


def make(source, domains, folder: Path, **changes) -> Data:
    values = {"dataset.source": source, "dataset.domains": domains, "dataset.archives": str(folder)}
    found = Data(settings({**FEW, **values, **changes}))
    found.prepare()
    return found


@pytest.mark.parametrize("name", ["medley_solos_db", "irmas"])
def test_another_source_is_one_change(name, places):
    archives = places / name
    archives.mkdir()
    layout = layouts.build(name, archives)
    write_sums(archives)
    data = make(name, list(layout.domains), archives)
    assert data.classes == list(layout.domains) and data.sets == ["test", "train", "validation"]
    test = data.load("test")
    assert len(test.windows) == len(np.unique(test.recordings)) == 3 * len(layout.domains)
    run.write_truth(data)
    run.cell(data, "features_knn", 1, None)
    page.write(data.name)
    table = (places / "results" / name / "table.md").read_text(encoding="utf-8")
    assert "| `features_knn` |" in table and "other font" not in table
    assert (places / "results" / name / "accuracy.png").stat().st_size > 1000


def test_a_genre_against_own_folders(places):
    """The dissertation's chillify: clips of a published set, and the user's own of another style."""
    archives, own = places / "fma", places / "own"
    own.mkdir()
    archives.mkdir()
    layouts.build("fma", archives)
    write_sums(archives)
    rng = np.random.default_rng(0)
    for number in range(24):
        soundfile.write(own / f"{number}.wav", rng.normal(0, 0.1, 3 * 16000), 16000)
    data = make({"rock": "fma", "chill": "folder"}, ["rock", "chill"], archives,
                **{"dataset.folders": {"chill": str(own)}})  # fmt: skip
    assert data.name == "fma-folder" and data.classes == ["rock", "chill"]
    run.write_truth(data)
    run.cell(data, "features_logistic", 1, None)
    found = json.loads(page.place(data.name, "features_logistic", 1).read_text())
    assert found["test"]["auc"] > 0.9, "noise against tones"


def test_tags_of_magnatagatune(places, monkeypatch):
    archives = places / "magnatagatune"
    archives.mkdir()
    layouts.build("magnatagatune", archives)
    path = archives / "annotations_final.csv"
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    for row in rows:  # some clips of every split have no tag
        if any(album in row["mp3_path"] for album in ("piano_album-0", "piano_album-52", "album-62")):
            row.update({tag: "0" for tag in row if tag not in ("clip_id", "mp3_path")})
    path.write_bytes(layouts.table(rows, delimiter="\t", quoting=csv.QUOTE_ALL))
    write_sums(archives)
    data = make("magnatagatune", ["tagged", "untagged"], archives, **{"dataset.test_pieces": 2})
    assert {"guitar", "piano", "harp"} <= set(data.classes) and "guitars" not in data.classes, "merged before"
    train = data.load("train")
    assert train.labels.shape == (len(train.windows), len(data.classes))
    assert not train.labels.sum(1).all() and train.labels.sum(1).max() >= 2
    row = catalogue.ROWS["mel_1024_1024"]
    short = {"mel_1024_1024": replace(row, recipe=replace(row.recipe, steps=10))}
    monkeypatch.setattr(catalogue, "ROWS", short)
    run.write_truth(data)
    run.cell(data, "mel_1024_1024", 1, None)
    found = json.loads(page.place(data.name, "mel_1024_1024", 1).read_text())
    assert 0 <= found["test"]["macro_auc"] <= 1 and 0 <= found["test"]["micro_auc"] <= 1
    left = run.missing(data.name, 1, ["mel_1024_1024", "mel_256_256"])
    assert left == [("mel_256_256", 1, None)], "no curve of it"
    page.write(data.name)
    assert "pooled" in (places / "results/magnatagatune/table.md").read_text(encoding="utf-8")


def test_a_wrong_rate_and_a_missing_study_are_named(places):
    with pytest.raises(RetimbreError, match="the windows need 16000"):
        settings({"audio.sample_rate": 16100})
    with pytest.raises(RetimbreError, match="run `make classifiers` first"):
        page.write("soundfont")


def test_tables_say_what_results_say(places):
    """Two rows with a known difference: the claim is confirmed, the intervals hold it, pairs are counted."""
    rng, folder = np.random.default_rng(0), places / "results" / "soundfont"
    folder.mkdir(parents=True)
    labels = np.repeat(np.arange(4), 60)
    truth = {"labels": labels.tolist(), "recordings": (np.arange(240) // 5).tolist()}
    (folder / "truth.json").write_text(json.dumps({"classes": list("abcd"), "test": truth}))
    for row, share in (("convnet_all", 0.95), ("convnet_1d", 0.6)):
        for seed in (1, 2, 3):
            called = np.where(rng.random(240) < share, labels, (labels + 1) % 4)
            test = {"windows": called.tolist(), "recordings": called[::5].tolist(),
                    "auc": 0.9, "ece": 0.1, "macro_f1": 0.8}  # fmt: skip
            values = {"parameters": 1000, "seconds": 2.0, "test": test}
            (folder / f"{row}-{seed}.json").write_text(json.dumps(values))
    results = page.Results("soundfont")
    found = results.balanced(results.cells["convnet_all"], "test", "windows")
    assert found.low < 0.95 < found.high and found.high - found.low < 0.12
    said = page.order(results)
    assert said.count("confirmed") == 1 and "| +3" in said
    assert "Of 1 pairs of rows 1 differ" in page.pairs(results)
    assert "Right most often: `convnet_all`; what differs from one of these: `convnet_1d`." in page.pairs(
        results
    )


def test_the_committed_page_is_made_of_the_committed_results():
    assert os.path.exists(page.RESULTS / "soundfont/truth.json"), "run `make classifiers`"
    text = page.PAGE.read_text(encoding="utf-8")
    assert page.made(page.Results("soundfont")) in text, "`make classifiers` would write another page"


def test_cells_are_ordered_and_their_minutes_are_balanced():
    cells = run.cells(2, list(catalogue.ROWS))
    assert len(cells) == len(set(cells))
    assert [c for c in cells if c[0] == "features_knn"] == [("features_knn", 1, None)], "it draws nothing"
    assert ("convnet_all", 2, None) in cells
    shares = run.divided(cells, 3)
    assert sorted(map(str, sum(shares, []))) == sorted(map(str, cells))
    assert run.read_cell("convnet_all:2:16.0") == ("convnet_all", 2, 16.0)
    found = prepared.Set(windows.Windows(np.zeros((40, windows.SAMPLES), np.float32)),
                         np.repeat(np.arange(4), 10), np.arange(40))  # fmt: skip
    picked = run.trained_on(found, 0.5)
    assert np.bincount(found.labels[picked]).tolist() == [2, 2, 2, 2]
