"""A person's path in a real browser: from consent to stored answers, on a desk and on a phone, with the keyboard, without a server."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from retimbre.listening import analysis, bundle, responses
from retimbre.params import Listening

playwright = pytest.importorskip("playwright.sync_api", reason="the Python driver of playwright is not installed")

BROWSER = os.environ.get("RETIMBRE_BROWSER") or shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium found: install one or name it in RETIMBRE_BROWSER")
ROOT = Path(__file__).parents[2]
WINDOWS = {"desk": {"width": 1280, "height": 800}, "phone": {"width": 360, "height": 740}}
# Clips play 16 times as fast as for a person; everything else is the page as it is served.
FAST = "const play = HTMLMediaElement.prototype.play; HTMLMediaElement.prototype.play = function () { this.playbackRate = 16; return play.call(this); };"
Shot = Callable[[str], None]


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """The study served by the real command; yields its address."""
    command = [sys.executable, "-m", "retimbre.cli", "listen", "serve", "--study", str(folder), "--port", "0"]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        found = re.search(r"http://\S+", process.stdout.readline())
        assert found, process.communicate()[0]
        yield found.group()
    finally:
        process.terminate()
        process.communicate(timeout=20)


@pytest.fixture(scope="module")
def chromium() -> Iterator["playwright.Browser"]:
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=BROWSER, args=["--no-sandbox", "--mute-audio"])
        yield browser
        browser.close()


@pytest.fixture
def short(tmp_path: Path, evaluation: Path, settings: Callable[..., Listening]) -> Path:
    """Two items, one system, four kinds of pages."""
    chosen = settings(
        systems=["cyclegan"], baselines=[], items=2, blocks=["content", "timbre", "preference", "multi"], listeners=4, headphone_check=True
    )
    return bundle.build(evaluation, chosen, 16000, tmp_path / "reports")


def hear_all(page: "playwright.Page") -> None:
    """Play every clip of the page to its end; answers must be closed until then."""
    players = page.locator(".player")
    for n in range(players.count()):
        assert page.locator("#fields fieldset:not(:disabled)").count() == 0, "answers are open before every clip was heard"
        assert page.locator("#jspsych-survey-html-form-next").is_disabled()
        players.nth(n).locator("button").click()
        playwright.expect(players.nth(n).locator(".state")).to_have_text(re.compile("^heard"), timeout=15000)


def fits(page: "playwright.Page") -> None:
    """Nothing sticks out of the window to the side."""
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def walk(page: "playwright.Page", shot: Shot = lambda name: None) -> int:
    """From consent to the end page; returns how many pages with questions were answered."""
    answered = 0
    seen: set[str] = set()
    page.wait_for_selector("main h1")
    while True:
        page.wait_for_selector("main h1")
        title = page.locator("main h1").first.inner_text()
        if page.locator("#stored").count():
            playwright.expect(page.locator("#stored")).to_have_text(re.compile("stored|browser only"), timeout=15000)
            shot("end")
            return answered
        fits(page)
        kind = re.sub(r"[^a-z]+", "-", title.lower()).strip("-")
        fresh = kind not in seen
        seen.add(kind)
        if page.locator("#jspsych-html-button-response-btngroup").count():
            if fresh:
                shot(f"{kind}-intro")
                seen.discard(kind)
            page.locator("#jspsych-html-button-response-btngroup button").click()
        else:
            if fresh:
                shot(f"{kind}-before")
            hear_all(page)
            if page.locator("#fields [type=radio]").count():
                assert page.locator("#fields input:checked").count() == 0, "an answer is given by default"
                answered += 1
            for tick in page.locator("#fields [type=checkbox]").all():
                tick.check()
            for group in page.locator("#fields fieldset").all():
                if group.locator("[type=radio]").count():
                    assert page.locator("#jspsych-survey-html-form-next").is_disabled()
                    group.locator("[type=radio]").nth(answered % 2).check()
            if page.locator(".slider").count():
                answered += 1
            for slider in page.locator(".slider input").all():
                slider.focus()
                page.keyboard.press("ArrowRight")
            if fresh:
                shot(f"{kind}-after")
            page.locator("#jspsych-survey-html-form-next").click()
        page.wait_for_timeout(30)  # the next page replaces this one at once, but not within the click
