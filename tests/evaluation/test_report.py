"""The report: one file, nothing from outside, playable sound, labelled pictures, escaped names."""

import base64
import io
from html.parser import HTMLParser

import numpy as np
import pandas
import pytest
import soundfile

from retimbre.evaluation import figures, report
from retimbre.evaluation.table import add_skill, make_table

RATE = 16000
VOID = {"meta", "link", "img", "br"}


class Page(HTMLParser):
    """Elements with their attributes, the text, and whether tags are balanced."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.open, self.text = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)

    def all(self, tag):
        return [attrs for name, attrs in self.elements if name == tag]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    rng = np.random.default_rng(0)
    values = {"copy": (1.0, 0.0, 9.5), "oracle": (0.8, 0.95, 5.5), "cyclegan": (0.75, 0.85, 7.5)}
    metrics = ("content_note_f1", "style_beyond_eq", "feature_lsd")
    rows = [
        {"system": s, "direction": d, "item": f"tune{i}", "stratum": "mono", "metric": m, "value": v + 0.01 * rng.normal()}
        for s, numbers in values.items()
        for d in ("piano_to_guitar", "guitar_to_piano")
        for i in range(3)
        for m, v in zip(metrics, numbers, strict=True)
    ]
    tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)
    db = rng.uniform(-60, 0, (84, 63))
    recordings = [report.Recording("source", tone, db), report.Recording("cyclegan", 0.1 * tone, db), report.Recording("target", tone)]
    example = report.Example("tune <1> & co", "piano_to_guitar", recordings, RATE, 0.0, 60.0, 256, 12, "mono")
    curves = {"CycleGAN": [{"step": 10, "loss/cycle": 1.0}, {"step": 20, "loss/cycle": 0.5, "loss/identity": 0.1}], "empty": []}
    confusion = pandas.DataFrame({"actual": ["piano", "guitar"], "predicted": ["piano", "piano"]})
    path = tmp_path_factory.mktemp("report") / "deep" / "report.html"
    params = {"seed": 1, "model": {"lambda_cycle": 4}}
    report.write_report(path, add_skill(make_table(rows)), [example], curves, params, ["Beware."], confusion, ["piano", "guitar"])
    return Page(path.read_text(encoding="utf-8"))


def test_stands_alone(page):
    assert page.open == []
    for _tag, attrs in page.elements:
        for name in ("src", "href"):
            assert attrs.get(name, "data:").startswith(("data:", "#"))
    text = "".join(page.text)
    assert "url(" not in text and "@import" not in text


def test_links_lead_somewhere(page):
    targets = {attrs.get("id") for _, attrs in page.elements}
    assert all(a["href"][1:] in targets for a in page.all("a"))


def test_sound_is_playable_and_level(page):
    players = page.all("audio")
    assert [p["aria-label"].split(",")[0] for p in players] == ["source", "cyclegan", "target"]
    for player in players:
        assert "controls" in player
        audio, rate = soundfile.read(io.BytesIO(base64.b64decode(player["src"].split(",")[1])))
        assert rate == RATE and len(audio) == RATE
        assert np.sqrt(np.mean(audio**2)) == pytest.approx(0.1, rel=0.01)


def test_pictures_are_labelled_png(page):
    pictures = page.all("img")
    assert len(pictures) == 4  # scatter, board, confusion, one training
    assert all(p["alt"] and base64.b64decode(p["src"].split(",")[1]).startswith(b"\x89PNG") for p in pictures)


def test_table_shows_controls_both_directions_and_columns_explained(page):
    text = " ".join("".join(page.text).split())
    assert len(page.all("table")) == 3
    assert [a for a in page.all("tr") if a.get("class") == "control"]
    assert "piano → guitar" in text and "guitar → piano" in text
    for column in ("notes kept", "beyond EQ", "skill"):
        assert text.count(column) >= 4  # three tables and the legend
    assert "Beware." in text and "lambda_cycle: 4" in text
    assert "tune <1> & co" in text  # escaped in the source, or the parser would have seen a tag


def test_readable_by_keyboard_phone_and_in_the_dark(page):
    assert any("width=device-width" in m.get("content", "") for m in page.all("meta"))
    assert page.all("html")[0]["lang"] == "en"
    assert all(d["tabindex"] == "0" and d["aria-label"] for d in page.all("div") if d.get("class") == "scroll")
    style = "".join(page.text)
    assert "prefers-color-scheme: dark" in style and "@media print" in style and ":focus-visible" in style


def test_same_input_same_file(tmp_path):
    table = make_table([{"system": "copy", "direction": "a_to_b", "item": "x", "metric": "feature_lsd", "value": 9.0}])
    for name in ("one", "two"):
        report.write_report(tmp_path / name, table, [], {"t": [{"step": 1, "loss/a": 1.0}, {"step": 2, "loss/a": 0.5}]}, {})
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_numbers():
    shown = [report.number(x) for x in (0.8531, 12.34, 1239.7, 0.001234, -1.239, 0, float("nan"))]
    assert shown == ["0.853", "12.3", "1240", "0.001", "−1.24", "0", "–"]
    assert report.number(0.8531, 2) == "0.85"


def test_board_has_one_scale():
    panels = {"source": np.full((84, 20), -10.0), "target": np.full((84, 30), -50.0), "cyclegan": np.zeros((84, 20))}
    board = figures.spectrum_board(panels, 0.0, 60.0, 0.016, 12)
    images = [image for axis in board.axes for image in axis.get_images()]
    assert {image.get_clim() for image in images} == {(-60.0, 0.0)}
    assert any(axis.get_ylabel() == "level (dB)" for axis in board.axes)


def test_confusion_counts():
    table = pandas.DataFrame({"actual": ["a", "a", "b"], "predicted": ["a", "b", "b"]})
    texts = [t.get_text() for t in figures.confusion(table, ["a", "b"]).axes[0].texts]
    assert texts == ["1\n50%", "1\n50%", "0\n0%", "1\n100%"]
