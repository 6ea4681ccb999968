"""README and docs/: figures are the committed ones, links lead somewhere."""

import re
from pathlib import Path

import pytest

from retimbre.cli import Evaluation, table
from retimbre.systems.catalogue import DEFAULTS
from tests.toys import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
METRICS = Evaluation.model_validate_json((ROOT / "metrics/evaluation.json").read_bytes()).model_extra
OF_README = ("content_note_f1", "style_beyond_eq", "skill", "paired_lsd")  # columns of its table


def anchors(page: Path) -> set[str]:
    """Names of a page's headings, as code hosts make them."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


def test_the_readmes_figures_are_those_of_the_committed_metrics():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| \**`(\w+)`.*?\|((?: [-\d.]+ \|){4})$", text, re.MULTILINE)
    trained = [name for name in DEFAULTS if name in METRICS]
    assert trained and {"copy", "oracle", *trained} <= {name for name, _ in rows}
    for name, cells in rows:
        expected = [f"{METRICS[name][column]:.3g}" for column in OF_README]
        assert cells.strip(" |").split(" | ") == expected, name


def test_the_table_of_results_is_what_summary_prints_of_the_committed_metrics():
    text = (ROOT / "docs/results.md").read_text(encoding="utf-8")
    assert f"```text\n{table(METRICS, {})}\n" in text


OF_RESYNTHESIS = "skill skill_shifted style_beyond_eq paired_lsd paired_mrstft content_jaccard".split()
OF_RESYNTHESIS += "score_f1_of_true energy_lost energy_ghosts".split()


def test_the_figures_of_resynthesis_are_the_committed_ones():
    text = (ROOT / "docs/systems/resynthesis.md").read_text(encoding="utf-8").replace("**", "")
    section = text.split("## What it reaches")[1].split("\n## ")[0]
    rows = re.findall(r"^\| [^|]+ \|((?: [-\d.]+ \|){4})$", section, re.MULTILINE)
    assert len(rows) == len(OF_RESYNTHESIS)
    for metric, cells in zip(OF_RESYNTHESIS, rows, strict=True):
        expected = [METRICS[row][metric] for row in ("copy", "cyclegan", "resynthesis", "oracle")]
        assert cells.strip(" |").split(" | ") == [f"{value:.3g}" for value in expected], metric
    measured = (ROOT / "studies/unseen/table.md").read_text(encoding="utf-8").splitlines()[1:]
    assert "\n".join(measured) in text, "studies/unseen wrote the table of other sources"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path):
    for link in re.findall(r"\]\((?!https?:)([^)\s]+)\)", page.read_text(encoding="utf-8")):
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link
