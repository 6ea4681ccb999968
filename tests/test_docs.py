"""README and docs/: figures are the committed ones, links lead somewhere, no page repeats another."""

import re
from collections import defaultdict
from pathlib import Path

import pytest

from studies.levers import run as levers
from tests.toys import ROOT
from tests.toys.pages import PAGES, commands
from tools import figures, house, repro

LONGEST = 250  # lines of a page
REPEATED = 12  # words in a row that are on two pages by no accident


def anchors(page: Path) -> set[str]:
    """Names of a page's headings, as code hosts make them."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


def links(page: Path) -> list[tuple[Path, str]]:
    """Paths and anchors within the repository that a page links to or shows."""
    text = page.read_text(encoding="utf-8")
    found = [
        link
        for pair in re.findall(r"\]\(([^)\s]+)\)|(?:src|href)=\"([^\"]+)\"", text)
        for link in pair
        if link
    ]
    own = [link.partition("#") for link in found if not re.match(r"https?:", link)]
    return [((page.parent / name).resolve() if name else page, anchor) for name, _, anchor in own]


@pytest.mark.parametrize("page", figures.PAGES)
def test_tables_are_those_of_the_committed_metrics(page: str):
    assert (ROOT / page).read_text(encoding="utf-8") == figures.written(page), "run `make figures`"


def test_the_table_of_other_sources_is_the_committed_one():
    text = (ROOT / "docs/systems/resynthesis.md").read_text(encoding="utf-8")
    measured = (ROOT / "studies/unseen/table.md").read_text(encoding="utf-8").splitlines()[1:]
    assert "\n".join(measured) in text, "studies/unseen wrote another table"


def test_the_levers_are_those_of_the_committed_trainings():
    assert levers.PAGE.read_text(encoding="utf-8") == levers.page(), "run `python studies/levers/run.py`"


def test_times_of_stages_are_the_recorded_ones():
    text = (ROOT / "docs/experiments.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([a-z]+)[@A-Z]*` \|[^|]*\| ([^|]*) \|", text, re.MULTILINE)
    seconds: dict[str, float] = defaultdict(float)
    for name, taken in repro.read_times(ROOT / "benchmarks/stage_times.json").items():
        seconds[name.partition("@")[0]] += taken
    expected = {name: repro.duration(taken) for name, taken in seconds.items()}
    assert {name: time for name, time in rows if name in expected} == expected, "`make times` wrote others"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path):
    for target, anchor in links(page):
        assert target.exists(), target
        assert not anchor or anchor in anchors(target), f"{target}#{anchor}"


def test_every_page_is_in_the_index_of_its_folder_or_of_all():
    for page in (page for page in PAGES if ROOT / "docs" in page.parents):
        indexes = (page.parent / "README.md", ROOT / "docs/README.md")
        index = {target for one in indexes if one.exists() for target, _ in links(one)}
        assert page in index or page == ROOT / "docs/README.md", page


def test_no_page_is_long():
    for page in PAGES:
        assert len(page.read_text(encoding="utf-8").splitlines()) <= LONGEST, page


def test_no_page_repeats_another():
    """Neither sentences nor commands; tables that a command makes (between comments) may quote a row."""
    where: dict[str, set[str]] = defaultdict(set)
    for page in PAGES:
        name = str(page.relative_to(ROOT))
        text = re.sub(r"<!-- .*?<!-- [^>]* -->", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        words = re.findall(r"[\w./=+-]+", text)
        for i in range(len(words) - REPEATED + 1):
            where[" ".join(words[i : i + REPEATED])].add(name)
        for command in commands(page):
            if command.shown and command.words[0] != "make":  # CONTRIBUTING and README have the same targets
                where[str(command)].add(name)
    repeated = {text: pages for text, pages in where.items() if len(pages) > 1}
    assert not repeated


def test_the_picture_of_the_house_shows_the_imports_and_its_table_every_room():
    rooms, text = house.house(), (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert [room for room in rooms if f"`{room}`" not in text.partition("## Adding")[0]] == []
    drawn = house.svg(rooms)
    assert house.PICTURE.read_text(encoding="utf-8") == drawn, "run `python tools/house.py`"
