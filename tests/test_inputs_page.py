"""The tables of docs/inputs.md: every case is made, and what is said has the words that the page gives."""

import os
import re

import numpy as np
import pytest
import soundfile

from retimbre.audio.files import survey
from retimbre.datasets.recordings.checking import Task, check
from retimbre.errors import RetimbreError
from retimbre.systems import batch, streaming
from tests.fuzz.cases import Same
from tests.toys import ROOT

RATE = 8000
TONE = 0.1 * np.sin(2 * np.pi * 440 * np.arange(3 * RATE) / RATE)
NOISE = np.random.default_rng(0).normal(0, 0.1, 3 * RATE)


def table(title: str) -> dict[str, str]:
    """Case to words, of the table below a heading."""
    page = (ROOT / "docs/inputs.md").read_text(encoding="utf-8")
    section = page.split(f"\n## {title}\n")[1].split("\n## ")[0]
    rows = [line.strip("|").split(" | ") for line in section.splitlines() if line.startswith("| ")]
    return {case.strip(): words.strip() for case, words in rows[1:]}


SAID, REFUSED = table("What is said about what was used"), table("What is refused")


def has(text: str, words: str) -> bool:
    """True for a text that has every `quoted` piece, in order."""
    return re.search(".*".join(map(re.escape, re.findall("`([^`]*)`", words))), text) is not None


@pytest.mark.parametrize("case", SAID)
def test_what_is_said(tmp_path, case):
    path = tmp_path / "a.flac"
    soundfile.write(path, NOISE if "cut off" in case else TONE, RATE)
    data = bytearray(path.read_bytes())
    if case == "a FLAC that was cut off":
        path.write_bytes(data[: len(data) // 2])
    elif case == "a header that states too much":
        data[22:26] = (30 * RATE).to_bytes(4, "big")
        path.write_bytes(data)
    elif case.startswith("opposite phase"):
        soundfile.write(path, np.stack([TONE, -TONE], 1), RATE)
    elif case == "an offset":
        soundfile.write(path, TONE + 0.3, RATE)
    notes = survey(path).notes
    if case == "opposite phase, in `transfer` without `--mono`":
        stereo, mono = (
            streaming.transfer_file(Same(), path, tmp_path / "out.wav", "guitar", mono=mono)[1].notes
            for mono in (False, True)
        )
        notes = [note for note in stereo if note not in mono]
    (note,) = notes
    assert has(note, SAID[case]), note


def write(path, audio, rate=RATE, **more):
    soundfile.write(path, audio, rate, **more)
    return path


def joined(path):
    one, two = (
        write(path.with_suffix(".x.wav"), a, format="WAV").read_bytes()
        for a in (TONE, np.stack([TONE] * 2, 1))
    )
    path.write_bytes(one + two)
    return path


def empty(path):
    path.touch()
    return path


def text(path):
    path.write_text("no audio " * 100)
    return path


def pipe(path):
    os.mkfifo(path)
    return path


SOURCES = {
    "no such file": lambda path: path,
    "a pipe, such as `<(…)`": pipe,
    "no bytes": empty,
    "a header, but no samples": lambda path: write(path, np.zeros(0)),
    "something else than audio": text,
    "`.raw`": lambda path: text(path.with_suffix(".raw")),
    "a rate beyond all use": lambda path: write(path, TONE, 3),
    "samples that are no numbers": lambda path: write(path, TONE * np.nan, subtype="FLOAT"),
    "joined files of different rates or channels": joined,
    "silence": lambda path: write(path, 0 * TONE),
    "less than 0.1 s": lambda path: write(path, TONE[:700]),
}
OUTPUTS = {"an output of another ending": "out.aiff", "an output in no folder": "none/out.wav"}
ARRAYS = {
    "an array the wrong way round": (np.zeros((2, RATE)), RATE),
    "an array of another type": (np.zeros(RATE, np.int64), RATE),
    "a rate that is none": (TONE, None),
}
SHORT, FOLDER = "in `download`: under 1.5 s", "a folder, without `-o`"


def test_every_row_has_its_case():
    assert set(REFUSED) == {*SOURCES, *OUTPUTS, *ARRAYS, SHORT, FOLDER}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(tmp_path, case):
    if case == SHORT:
        write(tmp_path / "a.wav", TONE[: RATE * 4 // 5])
        said = check(Task("a.wav", shortest_s=1.5), tmp_path).problem
        assert has(said, REFUSED[case]), said
        return
    with pytest.raises(RetimbreError) as caught:
        if case == FOLDER:
            batch.plan([tmp_path], ["guitar"])
        elif case in ARRAYS:
            streaming.transfer(Same(), *ARRAYS[case], "guitar")
        else:
            source = SOURCES[case](tmp_path / "a.wav") if case in SOURCES else write(tmp_path / "a.wav", TONE)
            streaming.transfer_file(Same(), source, tmp_path / OUTPUTS.get(case, "out.wav"), "guitar")
    said = str(caught.value)
    assert has(said, REFUSED[case]), said
    assert said.endswith(".") and "\n" not in said and not (tmp_path / "out.wav").exists()
