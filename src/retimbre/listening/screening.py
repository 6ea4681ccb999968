"""Answers as a table, and the frozen rules that leave listeners out (their words: questions.EXCLUSION)."""

from typing import Any

import pandas

from retimbre.listening.questions import CONTROL_FAILURES, REPEAT_DIFFERENCE
from retimbre.listening.responses import Plan

RATED = ("content", "likeness", "quality", "style", "similar")  # questions with ratings from 1 to 5
ENOUGH = 5  # answers before "all the same" means anything
FAILS = (  # question, control, the ratings that are against what is heard
    ("content", "unrelated", (4, 5)),
    ("content", "copy", (1, 2)),
    ("likeness", "copy", (4, 5)),
    ("likeness", "unrelated", (1, 2)),
    ("likeness", "oracle", (1, 2)),
    ("quality", "anchor", (5,)),
)
REASONS = ("control pages", "repeated pages", "too fast", "all the same")


def with_clips(answers: pandas.DataFrame, key: pandas.DataFrame, plan: Plan) -> pandas.DataFrame:
    """Answers on clips (Store.table) with each clip's system, item, direction, stratum, rival.

    ``rival``: the other version of a preference page, else "".
    """
    table = answers[answers.trial > 0].join(key, on="token").reset_index(drop=True)

    def rival(row: Any) -> str:
        others = [t for t in plan.rated(row.page).values() if t != row.token]
        return key.system[others[0]] if row.question == "preference" else ""

    return table.assign(rival=[rival(row) for row in table.itertuples()])


def listeners(answers: pandas.DataFrame) -> pandas.DataFrame:
    """Listeners' words about themselves, by session: musician, device, headphones_pass, simulated."""
    about = answers[answers.trial == 0].pivot(index="session", columns="question", values="value")
    people = answers.groupby("session")[["headphones_pass", "simulated"]].first()
    return people.join(about.reindex(columns=["musician", "device"]))


def repeats(table: pandas.DataFrame) -> pandas.DataFrame:
    """Ratings that were given twice: session, first, second."""
    rated = table[table.question.isin(RATED)]
    first = rated[["session", "trial", "question", "value"]]
    again = rated[rated.repeat_of.notna()][["session", "repeat_of", "question", "value"]]
    pairs = again.rename(columns={"repeat_of": "trial"}).merge(
        first, on=["session", "trial", "question"], suffixes=("_second", "_first")
    )
    return pairs.rename(columns={"value_first": "first", "value_second": "second"})


def screen(table: pandas.DataFrame, clip_s: float) -> dict[str, list[str]]:
    """session -> the REASONS for which it is left out; empty for those that are kept."""
    found: dict[str, list[str]] = {}
    pairs = repeats(table)
    gaps = (pairs["first"] - pairs["second"]).abs().astype(float).groupby(pairs.session).mean()
    for session, own in table.groupby("session"):
        failures = sum(
            own.value[(own.question == question) & (own.system == control)].isin(wrong).sum()
            for question, control, wrong in FAILS
        )
        ratings, choices = own.value[own.question.isin(RATED)], own.slot[own.question == "preference"]
        broken = (
            failures >= CONTROL_FAILURES,
            gaps.get(session, 0.0) > REPEAT_DIFFERENCE,
            own.drop_duplicates("trial").rt_ms.median() < 1000 * clip_s,
            any(len(values) >= ENOUGH and values.nunique() == 1 for values in (ratings, choices)),
        )
        found[str(session)] = [reason for reason, is_so in zip(REASONS, broken, strict=True) if is_so]
    return found
