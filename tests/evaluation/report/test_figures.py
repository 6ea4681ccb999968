"""Figures: the same bytes again, one scale for all panels, SVG that takes over a page's colours."""

import re
from xml.etree import ElementTree

import numpy as np
import pandas

from retimbre.evaluation.report import charts, figures
from retimbre.evaluation.results.rows import group_of
from retimbre.evaluation.results.statistics import Interval

CONTROLS = ("copy", "eq_match", "oracle", "unrelated")
SYSTEMS = (*CONTROLS, "cepstral", "gram", "cyclegan", "cyclegan_griffin_lim", "vocoder_griffin_lim")


def scatter():
    points = {
        s: (Interval(i / 9, i / 9 - 0.02, i / 9 + 0.02, 5), Interval(0.5, 0.4, 0.6, 5))
        for i, s in enumerate(SYSTEMS)
    }
    return charts.scatter(points, "timbre", "content")


def test_same_picture_same_bytes():
    assert figures.to_png(scatter(), 60) == figures.to_png(scatter(), 60)
    assert figures.to_svg(scatter(), "a", "A") == figures.to_svg(scatter(), "a", "A")


def test_svg_has_no_colour_of_its_own_and_unique_names():
    svg = figures.to_svg(scatter(), "one", 'A "label" & more')
    root = ElementTree.fromstring(svg)
    assert root.get("role") == "img" and root.get("aria-label") == 'A "label" & more' and root.get("viewBox")
    assert set(re.findall(r"#[0-9a-f]{6}", svg)) <= {"#000000", "#ffffff"}
    assert "var(--ink)" in svg and "var(--blue)" in svg
    ids = re.findall(r' id="([^"]+)"', svg)
    assert len(ids) == len(set(ids)) and all(i.startswith("one-") for i in ids)
    wanted = re.findall(r'href="#([^"]+)"', svg) + re.findall(r"url\(#([^)]+)\)", svg)
    assert wanted and set(wanted) == set(ids)
    texts = "".join(root.itertext())
    assert all(name.replace("_", " ") in texts for name in SYSTEMS) and "DejaVu" not in svg


def test_no_two_systems_look_alike_and_colour_is_not_alone():
    looks = charts.markers(SYSTEMS)
    assert len(set(looks.values())) == len(SYSTEMS)
    assert {looks[s][1] for s in SYSTEMS if group_of(s) == "systems"} == {figures.BLUE}


def test_forest_marks_are_hollow_where_nothing_was_shown():
    differences = {"copy": Interval(0.2, 0.1, 0.3, 5), "cyclegan": Interval(0.0, -0.1, 0.1, 5)}
    axis = charts.forest(differences, "notes kept", "up").axes[0]
    marks = [line for line in axis.lines if line.get_marker() in figures.MARKERS]
    faces = {float(line.get_ydata()[0]): line.get_markerfacecolor() for line in marks}
    assert faces[1.0] == "none" and faces[0.0] != "none"
    assert axis.get_xlabel().endswith("(right is better)")


def test_training_curves_name_their_units_and_leave_gaps_out():
    history = pandas.DataFrame(
        {"step": [1, 2, 3], "inverter/l1_db": [3.0, None, 1.0], "loss/a": [1.0, None, None]}
        | {"both/lsd": [0.3, 0.2, 0.1], "validation/feature_lsd_ab": 5.0}
    )
    axes = figures.curves(history).axes
    units = {axis.get_title(): axis.get_ylabel() for axis in axes}
    assert units == {"inverter": "dB", "loss": "value", "both": "value", "validation": "dB"}
    seen = {axis.get_title(): axis.lines[0].get_xdata() for axis in axes}
    assert np.array_equal(seen["inverter"], [1, 3]) and len(seen["loss"]) == 1


def test_a_panel_of_several_units_names_them_and_its_legend_covers_no_curve():
    history = pandas.DataFrame({"step": [1, 2], "excited/nll_bits": [5.0, 4.0], "excited/spectral_db": 3.0})
    figure = figures.curves(history)
    (axis,) = figure.axes
    assert axis.get_ylabel() == "bits per sample, dB"
    assert axis.get_legend().get_window_extent().y1 < axis.get_window_extent().y0


def test_confusion_counts():
    table = pandas.DataFrame({"actual": ["a", "a", "b"], "predicted": ["a", "b", "b"]})
    texts = [t.get_text() for t in figures.confusion(table).axes[0].texts]
    assert texts == ["1\n50%", "1\n50%", "0\n0%", "1\n100%"]
