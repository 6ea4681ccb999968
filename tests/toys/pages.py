"""The pages that people read, and the commands in them."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.toys import ROOT

PAGES = [ROOT / "README.md", *ROOT.glob("CONTRIBUTING.md"), *sorted((ROOT / "docs").rglob("*.md"))]
PROGRAMS = {"cd", "dvc", "git", "make", "pip", "python", "retimbre", "source", "torchrun"}
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Command(NamedTuple):
    """A command of a page. ``shown``: in a block, to be typed as it is, not named within a sentence."""

    words: tuple[str, ...]
    shown: bool

    def __str__(self) -> str:
        return shlex.join(self.words)


def split(line: str, shown: bool) -> Iterator[Command]:
    """The commands of a line of shell, without comment, variables and where output goes."""
    for part in re.split(r" && | \| ", line.split(" #")[0]):
        words = shlex.split(re.sub(r"^( *[A-Z_]+=\S*)+", "", part.split(" > ")[0]))
        yield Command((Path(words[0]).name, *words[1:]), shown)


def commands(page: Path) -> list[Command]:
    """Commands in blocks without a language or indented, in ``text`` blocks, and in the sentences."""
    text = page.read_text(encoding="utf-8")
    found = []
    for language, block in BLOCK.findall(text):
        for line in filter(str.strip, block.splitlines()):
            if not language or (language == "text" and line.split()[0] in PROGRAMS):
                found += split(line, shown=True)
    text = BLOCK.sub("", text)
    for line, program in re.findall(r"^    ((?:[A-Z_]+=\S* )*(\w+) .*)$", text, re.MULTILINE):
        if program in PROGRAMS:
            found += split(line, shown=True)
    for span in re.findall(r"`([^`\n]+)`", text):
        if " " in span and Path(span.split()[0]).name in PROGRAMS:
            found += split(span, shown=False)
    return found
