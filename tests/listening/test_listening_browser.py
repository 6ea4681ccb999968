"""A person's path in a real browser: from consent to stored answers, on a desk, on a phone, by keyboard."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from retimbre.listening import analysis, bundle, responses
from tests.listening.conftest import RATE, make_settings, serving
from tests.toys import browser
from tests.toys.browser import WINDOWS, fits, playwright

pytestmark = browser.needed
expect = playwright.expect
# Clips play 16 times as fast as for a person; everything else is the page as it is served.
FAST = """const play = HTMLMediaElement.prototype.play;
HTMLMediaElement.prototype.play = function () { this.playbackRate = 16; return play.call(this); };"""


@pytest.fixture(scope="module")
def chromium() -> Iterator["playwright.Browser"]:
    with browser.chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def short_once(tmp_path_factory: pytest.TempPathFactory, evaluation: Path) -> Path:
    """Two items, one system, every kind of question."""
    blocks = ["content", "timbre", "preference", "multi"]
    chosen = make_settings(
        systems=["cyclegan"], baselines=[], items=2, blocks=blocks, listeners=4, contact="lab@example.org"
    )
    return bundle.build(evaluation, chosen, RATE, tmp_path_factory.mktemp("short"))


@pytest.fixture
def short(short_once: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(short_once, tmp_path / "study"))


@pytest.fixture
def page(chromium: "playwright.Browser", request: pytest.FixtureRequest) -> Iterator["playwright.Page"]:
    with browser.fresh_page(chromium, viewport=WINDOWS[getattr(request, "param", "desk")]) as tab:
        tab.add_init_script(FAST)
        yield tab


def hear_all(page: "playwright.Page") -> None:
    """Play every clip of the page to its end; answers must be closed until then."""
    players = page.locator(".player")
    for n in range(players.count()):
        assert page.locator("#fields fieldset:not(:disabled)").count() == 0, (
            "answers are open before every clip was heard"
        )
        assert page.locator("#jspsych-survey-html-form-next").is_disabled()
        players.nth(n).locator("button").click()
        page.wait_for_selector(f".player:nth-child({n + 1}).heard")


def walk(page: "playwright.Page", until: int = 10**9) -> int:
    """Go on to the end page, or until so many pages are answered; returns how many were."""
    answered = 0
    while True:
        title = page.locator("main h1").first.element_handle()
        if answered >= until:
            return answered
        if page.locator("#stored").count():
            return answered
        assert fits(page)
        if page.locator("#jspsych-html-button-response-btngroup").count():
            page.locator("#jspsych-html-button-response-btngroup button").click()
        else:
            hear_all(page)
            asked = page.locator("#fields fieldset").count()
            assert page.locator("#fields input:checked").count() == 0, "an answer is given by default"
            answered += asked > 0
            for tick in page.locator("#fields [type=checkbox]").all():
                tick.check()
            for group in page.locator("#fields fieldset:has([type=radio])").all():
                assert page.locator("#jspsych-survey-html-form-next").is_disabled()
                group.locator("[type=radio]").nth(answered % 2).check()
            for slider in page.locator(".slider input").all():
                slider.focus()
                page.keyboard.press("ArrowRight")
            page.locator("#jspsych-survey-html-form-next").click()
        title.wait_for_element_state("hidden")  # the next page has taken its place


def stop(page: "playwright.Page") -> None:
    page.locator("#stop").click()
    page.locator("#stopping").get_by_role("button", name="Stop").click()


def address(port: int) -> str:
    return f"http://127.0.0.1:{port}/"


def records_of(folder: Path) -> list[responses.Record]:
    with responses.Store(folder, responses.Plan.load(folder)) as store:
        return [record for _, record in store.records()]


@pytest.mark.parametrize("page", WINDOWS, indirect=True)
def test_from_consent_to_stored_answers_and_their_analysis(page: "playwright.Page", short: Path) -> None:
    plan = responses.Plan.load(short)
    with serving(short) as port:
        page.goto(address(port))
        expect(page.locator("#jspsych-survey-html-form-next")).to_be_disabled()
        answered = walk(page)
        expect(page.locator("#stored")).to_have_text("All your answers are stored.")
        code = page.locator("#code").inner_text()
        page.reload()
        expect(page.locator("main h1")).to_have_text("Thank you")
    found = records_of(short)
    assert {r.session for r in found} == {code}
    assert sorted(r.trial for r in found) == list(range(len(plan.orders[0]) + 1)) and answered == len(found)
    for record in found:
        assert all(n >= 1 for n in record.plays.values()) and record.agent.startswith("chrome on ")
        if record.trial:
            assert record.plays.keys() == plan.clips(plan.place(0, record.trial)[0]).keys()
    result = analysis.analyse(short, draws=100)
    assert result["simulated"] is False and result["listeners"]["all"] == 1
    assert result["listeners"]["excluded"]["too fast"] == 1, "clips at 16 times their speed"
    assert (
        result["without_exclusions"]["answers"] > 0
        and "Nobody is kept" in (short / "analysis.html").read_text()
    )


def test_stopping_keeps_what_was_answered_and_a_closed_page_goes_on(
    page: "playwright.Page", short: Path
) -> None:
    with serving(short) as port:
        page.goto(address(port))
        walk(page, until=3)
        page.reload()
        expect(page.locator("main h1")).to_have_text("Welcome back")
        page.get_by_role("button", name="Go on").click()
        walk(page, until=1)
        page.locator("#stop").click()
        page.get_by_role("button", name="Go on").last.click()
        assert page.locator("#stored").count() == 0
        stop(page)
        expect(page.locator("#stored")).to_have_text("All your answers are stored.")
        assert "You stopped after" in page.locator("main").inner_text()
    assert sorted(r.trial for r in records_of(short)) == [0, 1, 2, 3]


def test_answers_wait_for_a_server_that_went_away(page: "playwright.Page", short: Path) -> None:
    with serving(short) as port:
        page.goto(address(port))
        walk(page, until=2)
        while page.evaluate("Answers.waiting().length"):
            page.wait_for_timeout(20)
    walk(page, until=2)  # nobody is there to take them
    assert len(records_of(short)) == 2
    with serving(short, port):
        page.evaluate("dispatchEvent(new Event('online'))")
        stop(page)
        expect(page.locator("#stored")).to_have_text("All your answers are stored.")
    assert sorted(r.trial for r in records_of(short)) == [0, 1, 2, 3]


def test_without_a_server_nobody_begins(page: "playwright.Page", short: Path) -> None:
    with serving(short) as port:
        page.goto(address(port))
        page.wait_for_selector("#agree")
    page.locator("#agree").check()
    page.locator("#jspsych-survey-html-form-next").click()
    expect(page.locator("main h1")).to_have_text("Not yet")
    with serving(short, port):
        page.locator("#retry").click()
        expect(page.locator("main h1")).to_have_text("About you")


def test_the_keyboard_is_enough(page: "playwright.Page", short: Path) -> None:
    """Consent and one page of questions without a mouse: Tab, space, arrows, Enter."""
    with serving(short) as port:
        page.goto(address(port))
        page.wait_for_selector("#agree")
        page.keyboard.press("Tab")
        page.keyboard.press("Space")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        expect(page.locator("main h1")).to_have_text("About you")
        focused = page.evaluate("document.activeElement.tagName")
        assert focused == "H1", "the new page's heading has the focus"
        page.keyboard.press("Tab")  # from the heading to the first answer: Stop stands before the page
        page.keyboard.press("Space")
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Tab")
        page.keyboard.press("Space")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        expect(page.locator("main h1")).to_have_text("Set the volume")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        expect(page.locator(".player .state")).to_have_text("heard")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        expect(page.locator("main h1")).to_have_text("Practice")
    answers = {a.question: a.value for a in records_of(short)[0].answers}
    assert answers == {"musician": "no", "device": "headphones"}
