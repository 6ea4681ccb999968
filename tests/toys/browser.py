"""A real browser, and commands that serve a page to it.

Needs Chromium or Chrome; RETIMBRE_BROWSER names its program when it is not on the path.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.toys import ROOT

playwright = pytest.importorskip(
    "playwright.sync_api", reason="the Python driver of playwright is not installed"
)
NAMES = ("chromium", "chromium-browser", "google-chrome")
BROWSER = os.environ.get("RETIMBRE_BROWSER") or next(filter(None, map(shutil.which, NAMES)), None)
needed = pytest.mark.skipif(
    BROWSER is None, reason="no Chromium found: install one or name it in RETIMBRE_BROWSER"
)
WINDOWS = {"desk": {"width": 1280, "height": 800}, "phone": {"width": 360, "height": 740}}
HANGS_MS = 120_000  # only what hangs takes so long
playwright.expect.set_options(timeout=HANGS_MS)


@contextmanager
def chromium(*options: str) -> Iterator["playwright.Browser"]:
    """The browser, silent; ``options`` of its command line."""
    with playwright.sync_playwright() as driver:
        arguments = ["--no-sandbox", "--mute-audio", *options]
        browser = driver.chromium.launch(executable_path=BROWSER, args=arguments)
        yield browser
        browser.close()


@contextmanager
def fresh_page(browser: "playwright.Browser", **context: object) -> Iterator["playwright.Page"]:
    """A page in a context of its own; what it writes to the console as an error fails the test."""
    opened = browser.new_context(**context)
    opened.set_default_timeout(HANGS_MS)
    page, problems = opened.new_page(), []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on(
        "console",
        lambda m: problems.append(m.text) if m.type == "error" and "ERR_CONNECTION" not in m.text else None,
    )
    try:
        yield page
    finally:
        opened.close()
    assert not problems


@contextmanager
def serving(*words: str, **environment: str) -> Iterator[str]:
    """``retimbre`` with these words, on any free port; yields its address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "retimbre.cli", *words],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src"), "PYTHONUNBUFFERED": "1"} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        found = re.search(r"http://\S+", process.stdout.readline())
        assert found, process.communicate()[0]
        yield found.group()
    finally:
        process.terminate()
        process.communicate(timeout=HANGS_MS / 1000)


def fits(page: "playwright.Page") -> bool:
    """True when nothing sticks out of the window to the side."""
    return page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def until(page: "playwright.Page", condition: str) -> None:
    """Wait for a condition in JavaScript; playwright's own way evals, which the pages' policy forbids."""
    for _ in range(HANGS_MS // 20):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(20)
    raise AssertionError(f"it never came: {condition}")
