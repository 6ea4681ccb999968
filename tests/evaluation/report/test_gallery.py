"""From results to what is shown: pairs, sound and pictures, examinations, sentences, missing parts."""

import io

import numpy as np
import pandas
import pytest
from PIL import Image

from retimbre.evaluation.bench.scoring import Output, Result, Scored, Scorer
from retimbre.evaluation.bench.testset import Clip, Item
from retimbre.evaluation.report import boards, gallery, media, pairs
from retimbre.evaluation.report.rainbowgram import octave_ticks
from retimbre.evaluation.results.table import add_skill, make_table
from tests.toys.models import FEATURES as CONFIG
from tests.toys.models import RATE

SECONDS = 1.5
TOPS = {"cqt": 0.0, "mel": 0.0}
VALUES = {"copy": 10.0, "cyclegan": 7.0, "oracle": 5.0, "vocoder_griffin_lim": 6.0}


def clip(hz):
    time = np.arange(int(RATE * SECONDS)) / RATE
    audio = 0.2 * np.sin(2 * np.pi * hz * time) * (time > 0.2)
    return Clip(audio.astype(np.float32), np.zeros((84, 1), np.float32))


@pytest.fixture(scope="module")
def scorer():
    return Scorer(None, CONFIG, "cqt", 0.0)  # no classifier is asked here


@pytest.fixture(scope="module")
def results(scorer):
    found = []
    for source, target in (("piano", "guitar"), ("guitar", "piano")):
        for i in range(4):
            true = clip(260 + 20 * i)
            item = Item(f"tune{i}", source, target, ("mono", "poly")[i % 2], clip(250), true, true, clip(500))
            for system in VALUES:
                if system.startswith("vocoder") and i == 3:
                    continue  # slow
                # Lengths differ a little.
                other = true.audio[: len(true.audio) - 100 * i]
                audio = item.source.audio if system == "copy" else other
                notes = scorer.transcribe(audio, RATE)
                found.append(Result(system, item, Output(audio, None, 0.1), Scored({}, np.zeros(4), notes)))
    return found


@pytest.fixture(scope="module")
def scores(results):
    rows = []
    for r in results:
        i = r.item
        key = {"system": r.system, "direction": i.direction, "item": i.piece, "stratum": i.stratum}
        worse = int(r.item.piece[-1]) if r.system == "cyclegan" else 0
        rows += [
            {**key, "metric": "feature_lsd", "value": VALUES[r.system] + worse},
            {**key, "metric": "content_note_f1", "value": 0.5},
        ]
    return add_skill(make_table(rows))


@pytest.fixture(scope="module")
def built(results, scores, scorer):
    return pairs.build_pairs(results, scores, scorer, TOPS, 1)


def test_first_best_and_worst_have_pictures_all_have_sound(built):
    shown, seen, left_out = built
    assert len(shown) == 8 and left_out == 0
    illustrated = {p.name for p in shown if any(r.pictures for r in p.recordings)}
    assert illustrated == {f"{d}.tune{i}" for d in ("piano_to_guitar", "guitar_to_piano") for i in (0, 3)}
    assert {p.name: p.badge for p in shown if p.badge} == {
        n: ("best" if n.endswith("0") else "worst") for n in illustrated
    }
    assert set(seen) == {"piano_to_guitar.tune0", "guitar_to_piano.tune0"}  # boards: the first ones only


def test_what_is_heard_of_a_pair(built):
    names = {p.name: [r.name for r in p.recordings] for p in built[0]}
    assert names["piano_to_guitar.tune0"] == ["source", "oracle", "cyclegan", "vocoder_griffin_lim", "target"]
    for other in ("tune1", "tune3"):  # without pictures; not played by every system: what is shown first
        assert names[f"piano_to_guitar.{other}"] == ["source", "oracle", "cyclegan", "target"]
    assert all(r.sound.kind == "audio/mpeg" for p in built[0] for r in p.recordings)
    drawn = {r.name for p in built[0] for r in p.recordings if r.pictures}
    assert drawn == {"source", "oracle", "cyclegan", "target"}
    values = {r.name: r.values for r in built[0][0].recordings}
    assert values["oracle"] == {"content_note_f1": 0.5, "skill": pytest.approx(1.0)}
    assert values["source"] == {}


def test_all_pictures_of_a_pair_have_one_size_and_four_kinds(built):
    sizes = {}
    for pair in built[0]:
        for r in pair.recordings:
            if r.pictures:
                assert [p.kind for p in r.pictures] == list(pairs.KINDS)
            for p in r.pictures:
                size = Image.open(io.BytesIO(p.image.data)).size if p.image else p.box
                sizes.setdefault((p.kind, pair.name if p.kind == "roll" else ""), set()).add(size)
                assert all(0 <= place <= 1 for place, _ in p.ticks) and p.alt
    assert all(len(found) == 1 for found in sizes.values())
    assert {size[1] for (kind, _), found in sizes.items() if kind == "cqt" for size in found} == {84}


def test_source_keeps_all_of_its_own_notes(built):
    source = built[0][0].recordings[0]
    assert "0 lost, 0 added" in source.pictures[-1].alt


def test_a_full_page_leaves_out_pairs_without_pictures_and_says_so(results, scores, scorer, monkeypatch):
    monkeypatch.setattr(pairs, "MEGABYTES", 0.0)
    shown, _, left_out = pairs.build_pairs(results, scores, scorer, TOPS, 1)
    assert left_out == 4 and len(shown) == 4 and all(p.recordings[0].pictures for p in shown)


def test_no_examples_no_pictures(results, scores, scorer):
    shown, seen, _ = pairs.build_pairs(results[:4], scores, scorer, TOPS, 0)
    assert not seen and not any(r.pictures or p.badge for p in shown for r in p.recordings)


def test_unpaired_items_have_no_target(results, scorer):
    item = results[0].item
    unpaired = Item(item.piece, "a", "b", "any", item.source, None, None, item.unrelated)
    scored = Scored({}, np.zeros(4), results[0].scored.notes)
    made = [Result("cyclegan", unpaired, Output(item.source.audio, None, 0.0), scored)]
    key = {"system": "cyclegan", "direction": "a_to_b", "item": item.piece}
    table = make_table([{**key, "metric": "style_beyond_eq", "value": 0.5}])
    ((pair,), _, _) = pairs.build_pairs(made, table, scorer, TOPS, 1)
    assert [r.name for r in pair.recordings] == ["source", "cyclegan"]
    assert (pair.rank, pair.range) == (0.5, "any")


def test_ticks_are_where_the_frequencies_are(scorer):
    assert octave_ticks(1.0, 7)[:2] == [(0.0, "C1"), (pytest.approx(1 / 7), "C2")]
    assert [label for _, label in octave_ticks(3.75, 1.5)] == ["C4", "C5"]
    bands = CONFIG.frequencies_hz("mel")
    for place, label in pairs.mel_ticks(bands):
        hz = float(label.split()[0]) * (1000 if "kHz" in label else 1)
        nearest = bands[min(len(bands) - 1, int(place * len(bands)))]
        assert abs(np.log2(nearest / hz)) < 0.3


def test_board_has_one_scale_and_every_axis_a_name(built, scorer):
    figure = boards.board(built[1]["piano_to_guitar.tune0"], SECONDS, scorer, "title", "cyclegan")
    spectra = [image for axis in figure.axes[:10] for image in axis.get_images()]
    assert {image.get_clim() for image in spectra} == {(-60.0, 0.0)}
    titles = ["source", "oracle", "cyclegan", "vocoder griffin lim", "target"]
    assert [axis.get_title() for axis in figure.axes[:5]] == titles
    assert all(figure.axes[5 * row].get_ylabel() for row in range(4))
    assert figure.axes[15].get_xlabel() == "time (s)"


def test_board_columns_start_with_the_source_and_end_with_the_target():
    names = ["source", "copy", "eq_match", "oracle", "gram", "cyclegan", "cyclegan_griffin_lim", "target"]
    ways = ["cyclegan", "cyclegan_griffin_lim"]
    assert boards.columns_of(names, "cyclegan") == ["source", "eq_match", *ways, "target"]
    assert boards.columns_of(names, "gram") == ["source", "copy", "eq_match", "gram", "target"]
    assert boards.columns_of(["source", "cyclegan"], None) == ["source", "cyclegan"]


def test_charts_of_results_and_of_nothing(scores, tmp_path):
    album = gallery.Album(tmp_path, [])
    names = [c.name for c in gallery.forests(scores, album, 100, 0)]
    assert names == []  # no equaliser in these results
    both = pandas.concat([scores, scores[scores.system == "oracle"].assign(system="eq_match")])
    names = [c.name for c in gallery.forests(both, album, 100, 0)]
    assert names == ["difference_content_note_f1", "difference_skill"]
    assert sorted(p.name for p in album.files) == [f"{name}.png" for name in names]
    assert all(p.is_file() for p in album.files)
    assert gallery.scatters(scores, album, 100, 0) == []  # no classifier
    assert gallery.training_charts(tmp_path, album) == []
    assert gallery.classifier_charts([], album) == ([], [])


def test_training_charts_one_for_each_kind(tmp_path):
    for name in ("cyclegan", "vocoder/istft"):
        (tmp_path / name).mkdir(parents=True)
        history = "step,loss/a,validation/feature_lsd\n1,0.5,\n2,0.25,9.5\n"
        (tmp_path / name / "history.csv").write_text(history)
    album = gallery.Album(tmp_path / "pictures", [])
    captions = [c.caption for c in gallery.training_charts(tmp_path, album)]
    kinds = ("loss", "validation")
    assert captions == [f"{name}: {kind}" for name in ("cyclegan", "vocoder istft") for kind in kinds]
    assert [p.name for p in album.files] == ["training_cyclegan.png", "training_vocoder_istft.png"]


def test_audio_of_rates_that_mp3_has_not_is_flac():
    assert [media.sound(np.zeros(2000), rate).kind for rate in (16000, 10000)] == ["audio/mpeg", "audio/flac"]
    assert media.sound(np.zeros(2000), 10000).data.startswith(b"fLaC")
