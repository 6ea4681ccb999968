"""The report: one file that stands alone, sound, labels, escaped names, sentences on missing data."""

import base64
import io
from html.parser import HTMLParser

import numpy as np
import pandas
import pytest
import soundfile

from retimbre.evaluation.bench.calibration import Calibration
from retimbre.evaluation.report import figures, legend
from retimbre.evaluation.report import page as report
from retimbre.evaluation.report.media import sound, webp
from retimbre.evaluation.report.pairs import Pair, Picture, Recording
from retimbre.evaluation.report.summary import Answer
from retimbre.evaluation.results.statistics import Interval
from retimbre.evaluation.results.table import add_skill, make_table

RATE = 16000
HISTORY = pandas.DataFrame({"step": [1, 2], "loss/a": [1.0, 0.5]})
VOID = {"meta", "link", "img", "br", "input", "rect", "path", "use"}
DIRECTIONS = ("piano_to_guitar", "guitar_to_piano")


class Page(HTMLParser):
    """Elements with their attributes, the text, and whether tags are balanced."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.open, self.text, self.media = [], [], [], {}
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        tag, attrs = self.elements[-1] if self.elements else ("", {})
        if tag == "script" and "id" in attrs and data.strip():
            self.media[attrs["id"]] = base64.b64decode(data)
        else:
            self.text.append(data)

    def all(self, tag):
        return [attrs for name, attrs in self.elements if name == tag]

    @property
    def words(self):
        return " ".join("".join(self.text).split())


def tone(level=0.3):
    return level * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)


def results_table(
    metrics=("content_note_f1", "style_beyond_eq", "feature_lsd"), pieces=3, directions=DIRECTIONS
):
    rng = np.random.default_rng(0)
    values = {"copy": (1.0, 0.0, 9.5), "eq_match": (0.9, 0.1, 8.5)}
    values |= {"oracle": (0.8, 0.95, 5.5), "cyclegan": (0.75, 0.85, 7.5)}
    rows = [
        {
            "system": system,
            "direction": direction,
            "item": f"tune{i}",
            "stratum": ("mono", "poly")[i % 2],
            "metric": metric,
            "value": value + 0.01 * rng.normal(),
        }
        for system, numbers in values.items()
        for direction in directions
        for i in range(pieces)
        for metric, value in zip(("content_note_f1", "style_beyond_eq", "feature_lsd"), numbers, strict=True)
        if metric in metrics
    ]
    return add_skill(make_table(rows))


def render(path, table, contents, **options):
    report.write_report(path, table, contents, {"seed": 1, "model": {"lambda_cycle": 4}}, **options)
    return Page(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    image = webp(np.zeros((2, 3, 3), np.uint8))
    pictures = [
        Picture("cqt", "Constant-Q spectrum of source", [(0.0, "C1")], image),
        Picture("roll", "Piano roll", [], paths={"kept": "M0 5h20v10h-20z"}),
    ]
    recordings = [
        Recording("source", sound(tone(), RATE), pictures),
        Recording("cyclegan", sound(tone(0.1), RATE), pictures, {"content_note_f1": 0.75}),
        Recording("target", sound(tone(0.2), RATE)),
    ]
    pairs = [
        Pair("tune <1> & co", "piano_to_guitar", 1.0, recordings, "mono", "in", 0.5, "best"),
        Pair("tune0", "guitar_to_piano", 1.0, recordings, "poly", "out", 0.1),
    ]
    chart = report.Chart("c", figures.to_svg(figures.curves(HISTORY), "c", "A <label>"), "Cap")
    answers = pandas.DataFrame({"actual": ["piano", "guitar"], "predicted": ["piano", "piano"]})
    contents = report.Contents(
        summary=[Answer("What was tried?", "Beware.")],
        pairs=pairs,
        left_out=3,
        curves=[chart],
        confusion=answers,
        real={"style_beyond_eq": Interval(0.93, 0.9, 0.97, 24)},
        calibration=Calibration({"a": False}, ("a: it is not so that copy is worst",), ""),
    )
    path = tmp_path_factory.mktemp("report") / "deep" / "report.html"
    return render(path, results_table(), contents)


def test_stands_alone(page):
    assert page.open == []
    for _tag, attrs in page.elements:
        for name in ("src", "href"):
            assert attrs.get(name, "data:").startswith(("data:", "#"))
    assert "@import" not in page.words and "url(h" not in page.words


def test_links_lead_somewhere_and_no_id_is_there_twice(page):
    ids = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    # The ranking of this table names tune0 to tune2; only pairs that are shown are linked to.
    assert all(a["href"][1:] in ids for a in page.all("a"))


def test_sound_is_playable_and_level(page):
    players = [p for p in page.all("audio") if "tune <1>" in p["aria-label"]]
    assert [p["aria-label"].split(",")[0] for p in players] == ["source", "cyclegan", "target"]
    levels = []
    for player in players:
        assert "controls" in player
        audio, rate = soundfile.read(io.BytesIO(page.media[player["data-medium"]]))
        assert rate == RATE and len(audio) == RATE
        levels.append(np.sqrt(np.mean(audio**2)))
    assert levels == pytest.approx([levels[0]] * 3, rel=0.01)
    assert levels[0] == pytest.approx(0.1, rel=0.06)  # the encoder takes off 5 % against clipping


def test_pictures_are_labelled(page):
    assert page.all("img") and all(p["alt"] for p in page.all("img"))
    drawings = [s for s in page.all("svg") if "aria-hidden" not in s]
    assert drawings and all(s["role"] == "img" and s["aria-label"] for s in drawings)
    assert any(s["aria-label"] == "A <label>" for s in drawings)


def test_table_shows_groups_controls_real_recordings_and_meanings(page):
    said = ("controls", "systems", "real recordings", "piano → guitar", "guitar → piano")
    for words in (*said, "Beware.", "lambda_cycle: 4", "0.930"):
        assert words in page.words
    for column in ("note F1", "beyond EQ", "skill"):
        assert page.words.count(column) >= 4  # three tables and the legend
    assert "tune <1> & co" in page.words  # escaped in the source, or the parser would have seen a tag
    assert all(t.get("scope") for t in page.all("th"))
    assert len(page.all("caption")) == len(page.all("table"))


def test_failed_calibration_is_said_on_top(page):
    assert "CALIBRATION FAILED" in page.words
    assert page.words.index("CALIBRATION FAILED") < page.words.index("Mean over")


def test_breakdown_by_texture_and_sentence_where_nothing_differs(page):
    assert "single line (4)" in page.words and "several voices (2)" in page.words
    assert "No breakdown by the target's range" in page.words and "No breakdown by texture" not in page.words
    assert "3 more pairs did not fit" in page.words


def test_readable_by_keyboard_phone_and_in_the_dark(page):
    assert any("width=device-width" in m.get("content", "") for m in page.all("meta"))
    assert page.all("html")[0]["lang"] == "en"
    boxes = [d for d in page.all("div") if d.get("class") == "scroll"]
    assert boxes and all(d["tabindex"] == "0" and d["aria-label"] for d in boxes)
    for rule in ("color-scheme: light dark", "@media print", ":focus-visible"):
        assert rule in page.words


def test_filter_offers_only_what_tells_pairs_apart(page):
    names = {s["name"] for s in page.all("select")}
    assert names == {"colours", "direction", "stratum", "range", "sort"}  # one system only
    (form,) = (f for f in page.all("form") if f["id"] == "filter")
    assert "hidden" in form  # without a script all pairs are there and no filter


def test_unpaired_run_without_pictures_says_what_is_missing(tmp_path):
    table = results_table(metrics=("content_note_f1",), pieces=1, directions=("bell_to_reed",))
    page = render(tmp_path / "report.html", table, report.Contents())
    missing = ("kept no pairs", "no differences to show", "nothing to draw", "no axes can be fitted")
    for words in (*missing, "No training history", "rank them by"):
        assert words in page.words
    assert not page.all("audio") and not page.all("img")
    assert "feature LSD" not in page.words and "bell → reed" in page.words


def test_same_input_same_file(tmp_path):
    """Encoders, too: what they write holds no serial number, no date and no version."""
    for name in ("one", "two"):
        chart = report.Chart("x", figures.to_svg(figures.curves(HISTORY), "x", "x"), "x")
        colours = np.random.default_rng(0).integers(0, 256, (84, 260, 3), np.uint8)
        recording = Recording("source", sound(tone(), RATE), [Picture("cqt", "x", [], webp(colours))])
        pairs = [Pair("tune", "piano_to_guitar", 1.0, [recording])]
        render(tmp_path / name, results_table(), report.Contents(pairs=pairs, curves=[chart]))
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_what_is_shown_in_two_places_is_carried_once(page):
    used = [attrs["data-medium"] for attrs in (*page.all("audio"), *page.all("img"))]
    assert len(used) == 10 and set(used) == set(page.media) and len(page.media) <= 4


def test_numbers():
    given = (0.8531, 12.34, 1239.7, 0.001234, -1.239, 0, float("nan"), -1e-9, 0.99996)
    shown = [legend.number(x) for x in given]
    assert shown == ["0.853", "12.3", "1240", "0.0012", "−1.24", "0", "–", "0", "1.00"]
    assert legend.number(0.8531, 2) == "0.85"


def test_time_ticks_are_round_and_on_the_axis():
    assert report.time_ticks(8.0) == [(0.0, "0 s"), (0.25, "2"), (0.5, "4"), (0.75, "6"), (1.0, "8")]
    assert all(0 <= place <= 1 for seconds in (0.7, 3.3, 61.0) for place, _ in report.time_ticks(seconds))


def test_versions_are_those_installed():
    assert report.versions()["numpy"] == np.__version__
