"""A run's page, opened from disk in a real browser without a network: phone, desktop, light, dark."""

import numpy as np
import pandas
import pytest

from retimbre.evaluation.report import charts, figures
from retimbre.evaluation.report import page as report
from retimbre.evaluation.report.media import Medium, sound, spectrum_picture
from retimbre.evaluation.report.pairs import MEGABYTES, Pair, Picture, Recording
from retimbre.evaluation.report.pianoroll import overlap, svg_paths
from retimbre.evaluation.report.rainbowgram import rainbow_picture, rainbowgram
from retimbre.evaluation.report.summary import Answer
from retimbre.evaluation.results.statistics import Interval
from retimbre.evaluation.results.table import add_skill, make_table
from retimbre.metrics.notes import Transcription
from tests.toys.browser import chromium, fits, needed

pytestmark = needed

RATE, SECONDS = 16000, 2.0
SIZES = {"phone": (360, 740), "desktop": (1280, 900)}
SYSTEMS = {
    "copy": (1.0, 0.0, 9.5),
    "eq_match": (0.9, 0.1, 8.5),
    "oracle": (0.8, 0.95, 5.5),
    "unrelated": (0.1, 0.9, 15.0),
    "nmf": (0.5, 0.6, 9.0),
    "cyclegan": (0.75, 0.85, 7.5),
    "vocoder_source_phase": (0.84, 0.8, 6.5),
}
# Contrast of every element's own text, as a reader's eye gets it: colours are painted on a canvas, ancestors
# first.
CONTRAST = """() => {
  const canvas = Object.assign(document.createElement("canvas"), { width: 1, height: 1 });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const painted = colours => {
    context.fillStyle = "#fff"; context.fillRect(0, 0, 1, 1);
    for (const colour of colours) { context.fillStyle = colour; context.fillRect(0, 0, 1, 1); }
    return [...context.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const luminance = rgb => {
    const [r, g, b] = rgb.map(v => v / 255).map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const found = [];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
    if (!own || !element.checkVisibility() || ["SCRIPT", "OPTION"].includes(element.tagName)) continue;
    const behind = [];
    for (let e = element; e; e = e.parentElement) behind.unshift(getComputedStyle(e).backgroundColor);
    const style = getComputedStyle(element);
    const ink = element instanceof SVGElement ? style.fill : style.color;
    const [a, b] = [luminance(painted(behind)), luminance(painted([...behind, ink]))];
    const name = element.className.baseVal ?? element.className;
    const text = `${element.tagName} ${name}: ${element.textContent.trim().slice(0, 30)}`;
    found.push({ text, ratio: (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05) });
  }
  return found;
}"""


def recording(name, frequency_hz, pitch, source):
    rng = np.random.default_rng(len(name))
    time = np.arange(int(RATE * SECONDS)) / RATE
    audio = 0.2 * np.sin(2 * np.pi * frequency_hz * time) + 0.001 * rng.standard_normal(len(time))
    notes = Transcription(np.array([[0.2, 1.0], [1.2, 1.8]]), np.array([60.0, pitch]), np.zeros((1, 88)))
    rainbow = rainbowgram(audio, RATE)
    db = rng.uniform(-60, 0, (84, 126))
    cqt, mel = spectrum_picture(db, 0.0, 60.0), spectrum_picture(db[:80], 0.0, 60.0)
    phases = rainbow_picture(rainbow, float(rainbow.level_db.max()))
    roll = svg_paths(overlap(notes, source), 48, 72)
    pictures = [
        Picture("cqt", f"Constant-Q spectrum of {name}", [(0.0, "C1"), (0.5, "C4")], cqt),
        Picture("mel", f"Mel spectrum of {name}", [(0.5, "1 kHz")], mel),
        Picture("rainbow", f"Rainbowgram of {name}", [(0.0, "C2")], phases),
        Picture("roll", f"Piano roll of {name}", [(0.5, "C4")], None, roll, (200, 250)),
    ]
    values = {} if name in ("source", "target") else {"content_note_f1": 0.5, "skill": 0.25}
    return Recording(name, sound(audio, RATE), pictures, values)


DIRECTIONS = ("piano_to_guitar", "guitar_to_piano")
STRATA = [("mono", "in"), ("poly", "out")]


def results():
    rng = np.random.default_rng(0)
    metrics = ("content_note_f1", "style_beyond_eq", "feature_lsd")
    rows = [
        {
            "system": system,
            "direction": direction,
            "item": f"tune{i}",
            "stratum": STRATA[i][0],
            "range": STRATA[i][1],
            "metric": metric,
            "value": value + 0.01 * rng.normal(),
        }
        for system, numbers in SYSTEMS.items()
        for direction in DIRECTIONS
        for i in range(2)
        for metric, value in zip(metrics, numbers, strict=True)
    ]
    return add_skill(make_table(rows))


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    notes = Transcription(np.array([[0.2, 1.0], [1.2, 1.8]]), np.array([60.0, 64.0]), np.zeros((1, 88)))
    recordings = [
        recording(*row, notes)
        for row in (
            *(("source", 220, 64.0), ("cyclegan", 225, 66.0), ("nmf", 330, 62.0)),
            *(("vocoder_source_phase", 240, 64.0), ("target", 220, 64.0)),
        )
    ]
    pairs = [
        Pair(f"tune{i}", d, SECONDS, recordings, *STRATA[i], float(i), ("worst", "best")[i])
        for d in DIRECTIONS
        for i in range(2)
    ]
    near = {
        s: (Interval(x, x - 0.02, x + 0.02, 4), Interval(y, y - 0.02, y + 0.02, 4))
        for s, (y, x, _) in SYSTEMS.items()
    }
    others = {s: x for s, (_, x, _) in SYSTEMS.items() if s != "eq_match"}
    differences = {s: Interval(x - 0.1, x - 0.2, x, 4) for s, x in others.items()}
    history = pandas.DataFrame({"step": [1, 2, 3], "loss/cycle": [1.0, 0.5, 0.3], "loss/identity": 0.5})
    drawn = {
        "scatter": charts.scatter(near, "timbre", "content"),
        "forest": charts.forest(differences, "beyond EQ", "up"),
        "curve": figures.curves(history),
    }
    shown = {
        name: [report.Chart(name, figures.to_svg(figure, name, f"Chart of {name}"), name)]
        for name, figure in drawn.items()
    }
    summary = [Answer("What was tried?", "Little.")]
    contents = report.Contents(summary, pairs, 0, shown["scatter"], shown["forest"], curves=shown["curve"])
    path = tmp_path_factory.mktemp("page") / "report.html"
    report.write_report(path, results(), contents, {"seed": 1})
    return path


@pytest.fixture(scope="module")
def browser():
    with chromium() as opened:
        yield opened


class Opened:
    """The page, and what went wrong on it."""

    def __init__(self, browser, path, size, scheme):
        width, height = SIZES[size]
        self.context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, offline=True
        )
        self.page, self.problems, self.asked = self.context.new_page(), [], []
        said = self.problems.append
        self.page.on("console", lambda m: said(m.text) if m.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("requestfailed", lambda request: self.problems.append(request.url[:80]))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(path.as_uri())


@pytest.fixture
def opened(browser, path, request):
    opened = Opened(browser, path, *request.param)
    yield opened
    opened.context.close()


def scroll_through(page):
    """To the end, as a reader does: what comes near is loaded."""
    page.evaluate("""async () => {
      for (let y = 0; y < document.body.scrollHeight; y += innerHeight) {
        scrollTo(0, y);
        await new Promise(done => requestAnimationFrame(() => setTimeout(done)));
      } }""")


EVERYWHERE = pytest.mark.parametrize(
    "opened", [(s, c) for s in SIZES for c in ("light", "dark")], indirect=True, ids="-".join
)
DESKTOP = pytest.mark.parametrize("opened", [("desktop", "light")], indirect=True, ids="-".join)
PHONE = pytest.mark.parametrize("opened", [("phone", "light")], indirect=True, ids="-".join)


@EVERYWHERE
def test_opens_without_errors_requests_or_sideways_scrolling(opened):
    page = opened.page
    page.check("#all")
    page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    assert fits(page)
    scroll_through(page)
    sizes = page.evaluate(
        "Promise.all([...document.images].map(i => i.decode()"
        ".then(() => [i.naturalWidth, i.clientWidth, i.alt])))"
    )
    assert len(sizes) == 60 and all(natural > 0 and shown > 100 and alt for natural, shown, alt in sizes)
    assert opened.problems == []
    assert all(url.startswith(("file:", "data:", "blob:")) for url in opened.asked)


@EVERYWHERE
def test_text_has_contrast(opened):
    opened.page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    found = opened.page.evaluate(CONTRAST)
    assert len(found) > 200
    assert [x for x in found if x["ratio"] < 4.5] == []


@EVERYWHERE
def test_dark_page_is_dark_and_charts_follow(opened):
    dark = opened.page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    colours = opened.page.evaluate(
        "[getComputedStyle(document.body).backgroundColor, "
        "getComputedStyle(document.querySelector('svg.chart text')).fill]"
    )
    level = [sum(map(float, c[c.index("(") + 1 : -1].split(",")[:3])) for c in colours]
    assert (level[0] < 150) == dark and (level[1] > 550) == dark


@EVERYWHERE
def test_colours_can_be_switched(opened):
    """Against what the system asks for, and back."""
    page, ground = opened.page, "getComputedStyle(document.body).backgroundColor"
    before = page.evaluate(ground)
    seen = []
    for colours in ("light", "dark"):
        page.select_option("#colours select", colours)
        seen.append(page.evaluate(ground))
    assert seen[0] == "rgb(255, 255, 255)" and seen[1] == "rgb(20, 24, 29)"
    page.select_option("#colours select", label="automatic")
    assert page.evaluate(ground) == before


def rows(page):
    return page.eval_on_selector_all(
        "#results > .scroll tbody tr:not(.group)", "all => all.filter(a => a.checkVisibility()).length"
    )


@PHONE
def test_a_few_systems_are_shown_and_a_switch_shows_all(opened):
    page = opened.page
    assert rows(page) == 5 and not page.locator("[data-system=vocoder_source_phase]").first.is_visible()
    assert page.inner_text("label:has(#all)").strip() == "All 7 systems"
    page.focus("#all")
    page.keyboard.press("Space")
    assert rows(page) == 7 and page.locator("[data-system=vocoder_source_phase]").first.is_visible()
    page.keyboard.press("Space")
    assert rows(page) == 5
    page.select_option("#filter [name=system]", "vocoder_source_phase")  # asking for one shows it
    assert page.locator("[data-system=vocoder_source_phase]").first.is_visible()


@DESKTOP
def test_sounds_are_read_when_they_come_near_and_every_one_plays(opened):
    page, ready = opened.page, "[...document.querySelectorAll('audio')].filter(a => a.src).length"
    assert page.evaluate(ready) < 15 < page.locator("audio").count()
    page.check("#all")
    scroll_through(page)
    page.wait_for_function("[...document.querySelectorAll('#pairs audio')].every(a => a.duration > 0)")
    lengths = page.evaluate("[...document.querySelectorAll('#pairs audio')].map(a => a.duration)")
    assert len(lengths) == 20 and lengths == pytest.approx([SECONDS] * 20, abs=0.1)
    assert page.locator("script[type^='audio/'], script[type^='image/']").count() == 0, (
        "nothing is kept twice"
    )


@DESKTOP
def test_one_sound_at_a_time(opened):
    opened.page.locator("#pairs").scroll_into_view_if_needed()
    opened.page.wait_for_function("document.querySelectorAll('#pairs audio[src]').length > 1")
    playing = opened.page.evaluate("""async () => {
      const [a, b] = document.querySelectorAll("#pairs audio[src]"); a.muted = b.muted = true;
      await a.play(); await b.play(); await new Promise(r => setTimeout(r, 50));
      return [a.paused, b.paused]; }""")
    assert playing == [True, False]


def test_a_page_of_full_size_opens_in_a_second(browser, tmp_path):
    """As many sounds and pictures as a page may carry, of typical size."""
    rng, path = np.random.default_rng(0), tmp_path / "report.html"
    kinds = ("cqt", "mel", "rainbow")
    pairs = []
    for i in range(int(1e6 * MEGABYTES / (7 * 4 / 3 * (18_000 + 3 * 7_000)))):
        images = [[Medium("image/webp", rng.bytes(7_000)) for _ in kinds] for _ in SYSTEMS]
        recordings = [
            Recording(
                name,
                Medium("audio/mpeg", rng.bytes(18_000)),
                [Picture(kind, kind, [], x) for kind, x in zip(kinds, found, strict=True)],
            )
            for name, found in zip(SYSTEMS, images, strict=True)
        ]
        pairs.append(Pair(f"tune{i}", DIRECTIONS[i % 2], 8.0, recordings))
    report.write_report(path, results(), report.Contents(pairs=pairs), {"seed": 1})
    assert 0.9 * MEGABYTES < path.stat().st_size / 1e6 < MEGABYTES + 0.5
    page = browser.new_page()
    cpu = page.context.new_cdp_session(page)
    cpu.send("Performance.enable", {"timeDomain": "threadTicks"})  # what else the machine does counts nothing
    page.goto(path.as_uri())
    found = {m["name"]: m["value"] for m in cpu.send("Performance.getMetrics")["metrics"]}
    assert found["TaskDuration"] < 1.0
    page.close()


def visible(page):
    return page.eval_on_selector_all(
        "article.pair", "all => all.filter(a => a.checkVisibility()).map(a => a.id)"
    )


@PHONE
def test_filters_and_sorts_by_keyboard(opened):
    page, keyboard = opened.page, opened.page.keyboard
    assert len(visible(page)) == 4 and page.inner_text("#filter output") == "4 of 4 pairs"
    page.focus("#filter input[name=text]")
    keyboard.type("tune1")
    assert visible(page) == ["piano_to_guitar.tune1", "guitar_to_piano.tune1"]
    keyboard.press("Tab")  # on to the directions
    assert page.evaluate("document.activeElement.name") == "direction"
    keyboard.type("guitar")
    assert visible(page) == ["guitar_to_piano.tune1"] and page.inner_text("#filter output") == "1 of 4 pairs"
    page.focus("#filter input[name=text]")
    keyboard.type("x")
    assert visible(page) == [] and page.is_visible("#nothing")
    for _ in "tune1x":
        keyboard.press("Backspace")
    page.select_option("#filter [name=direction]", "")
    page.focus("#filter [name=sort]")
    keyboard.type("best")
    assert visible(page) == [f"{d}.{item}" for item in ("tune1", "tune0") for d in DIRECTIONS]
    page.focus("#filter [name=system]")
    keyboard.type("cyclegan")
    names = page.eval_on_selector_all(
        "article.pair [data-system]",
        "all => [...new Set(all.filter(a => a.checkVisibility()).map(a => a.dataset.system))]",
    )
    assert names == ["source", "cyclegan", "target"]
    page.focus("#filter [name=mel]")
    keyboard.press("Space")
    assert not page.locator("[data-picture=mel]").first.is_visible()
    assert page.locator("[data-picture=cqt]").first.is_visible()


@PHONE
def test_link_to_a_pair_that_is_filtered_away_shows_it(opened):
    page = opened.page
    page.fill("#filter input[name=text]", "tune1")
    page.locator("#extremes a", has_text="tune0").first.click()
    page.wait_for_function("document.querySelectorAll('article.pair[hidden]').length === 0")
    assert page.evaluate(
        "Math.abs(document.querySelector(':target').getBoundingClientRect().top) < innerHeight"
    )


@PHONE
def test_first_column_stays_while_a_table_scrolls_in_its_box(opened):
    left = opened.page.evaluate("""() => { const box = document.querySelector("#results .scroll");
      box.scrollLeft = 150;
      const both = [box.querySelector("tbody th[scope=row]"), box];
      const [name, edge] = both.map(e => e.getBoundingClientRect().left);
      return [box.scrollLeft, name - edge]; }""")
    assert left[0] > 50 and 0 <= left[1] <= 2


@DESKTOP
def test_everything_that_one_can_reach_by_tab_shows_it(opened):
    opened.page.keyboard.press("Tab")
    assert opened.page.inner_text(":focus") == "Skip to the results"
    style = opened.page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert style == "solid"


def test_without_a_script_all_pairs_are_there(browser, path):
    context = browser.new_context(java_script_enabled=False, offline=True)
    page = context.new_page()
    page.goto(path.as_uri())
    assert page.locator("article.pair").count() == 4 and page.locator("article.pair").last.is_visible()
    assert page.locator("noscript").inner_text() and not page.locator("#filter").is_visible()
    page.check("#all")
    assert rows(page) == 7
    context.close()


@DESKTOP
def test_prints(opened):
    opened.page.emulate_media(media="print")
    assert not opened.page.locator("audio").first.is_visible()
    assert not opened.page.locator("#filter").is_visible()
    opened.page.set_viewport_size({"width": 718, "height": 1000})  # A4 without margins
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= 718
    assert opened.page.locator("#results table").first.evaluate("t => t.getBoundingClientRect().right") <= 718
    pdf = opened.page.pdf(format="A4")
    assert pdf.startswith(b"%PDF") and len(pdf) > 20_000
