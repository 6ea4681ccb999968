"""Answers as a table, and the frozen rules that leave listeners out (their words: questions.EXCLUSION)."""

from collections.abc import Iterable, Mapping
from typing import Any

import pandas

from retimbre.listening.bundle import Key
from retimbre.listening.questions import CONTROL_FAILURES, REPEAT_DIFFERENCE
from retimbre.listening.responses import Record

RATED = ("content", "likeness", "quality", "style", "similar")  # questions with ratings from 1 to 5
ENOUGH = 5  # answers before "all the same" means anything
FAILS = (  # question, system or control, whether a rating is against what is heard
    ("content", "unrelated", lambda v: v >= 4),
    ("content", "copy", lambda v: v <= 2),
    ("likeness", "copy", lambda v: v >= 4),
    ("likeness", "unrelated", lambda v: v <= 2),
    ("likeness", "oracle", lambda v: v <= 2),
    ("quality", "anchor", lambda v: v == 5),
)
REASONS = ("control pages", "repeated pages", "too fast", "all the same")


def answer_table(records: Iterable[Record], key: Mapping[str, Key], pages: Mapping[str, Any]) -> pandas.DataFrame:
    """One row per answer on a clip, with what the clip was.

    Columns: session, block, page, trial, question, slot, value, rt_ms, repeat_of, system, item, direction, stratum, rival (the other
    version of a preference page, else ""). ``pages``: what the browser was given.
    """
    rows = []
    for record in records:
        if record.trial == 0:
            continue
        clips = dict(pages[record.page]["clips"])
        for answer in record.answers:
            known = key[answer.token]
            rival = ""
            if record.block == "preference":
                other = "2" if answer.slot == "1" else "1"
                rival = key[clips[other]].system
            rows.append(
                (record.session, record.block, record.page, record.trial, answer.question, answer.slot, answer.value, record.rt_ms)
                + (record.repeat_of, known.system, known.item, known.direction, known.stratum, rival)
            )
    columns = ["session", "block", "page", "trial", "question", "slot", "value", "rt_ms", "repeat_of"]
    return pandas.DataFrame(rows, columns=[*columns, "system", "item", "direction", "stratum", "rival"])


def listeners(records: Iterable[Record]) -> pandas.DataFrame:
    """What listeners said about themselves, one row per session: musician, device, headphones_pass, simulated."""
    rows: dict[str, dict[str, Any]] = {}
    for record in records:
        row = rows.setdefault(record.session, {"musician": "", "device": "", "headphones_pass": None, "simulated": False})
        row["simulated"] |= record.simulated
        row["headphones_pass"] = record.headphones_pass if record.headphones_pass is not None else row["headphones_pass"]
        if record.trial == 0:
            row |= {a.question: a.value for a in record.answers if a.question in ("musician", "device")}
    return pandas.DataFrame.from_dict(rows, orient="index")


def repeats(table: pandas.DataFrame) -> pandas.DataFrame:
    """Ratings that were given twice: session, question, first, second."""
    rated = table[table.question.isin(RATED)]
    again = rated[rated.repeat_of.notna()]
    first = rated[["session", "trial", "question", "slot", "value"]]
    pairs = again.merge(first, left_on=["session", "repeat_of", "question", "slot"], right_on=["session", "trial", "question", "slot"])
    return pandas.DataFrame({"session": pairs.session, "question": pairs.question, "first": pairs.value_y, "second": pairs.value_x})


def screen(table: pandas.DataFrame, clip_s: float) -> dict[str, list[str]]:
    """session -> the reasons (REASONS) for which it is left out; empty for those that are kept."""
    found: dict[str, list[str]] = {}
    pairs = repeats(table)
    for session, own in table.groupby("session"):
        reasons = []
        failures = 0
        for question, system, wrong in FAILS:
            values = own[(own.question == question) & (own.system == system)].value
            failures += sum(bool(wrong(v)) for v in values)
        if failures >= CONTROL_FAILURES:
            reasons.append("control pages")
        twice = pairs[pairs.session == session]
        if len(twice) and (twice["first"] - twice["second"]).abs().mean() > REPEAT_DIFFERENCE:
            reasons.append("repeated pages")
        if own.drop_duplicates("trial").rt_ms.median() < 1000 * clip_s:
            reasons.append("too fast")
        ratings = own[own.question.isin(RATED)].value
        choices = own[own.question == "preference"].slot
        if any(len(values) >= ENOUGH and values.nunique() == 1 for values in (ratings, choices)):
            reasons.append("all the same")
        found[str(session)] = reasons
    return found
