"""Answers: checked against the study, stored once, undone whole, deleted for good."""

from pathlib import Path
from typing import Any

import pytest

from retimbre.errors import RetimbreError
from retimbre.listening import responses
from retimbre.listening.responses import Conflict, Misfit, Plan, Record, Store, Unknown

SESSION = "0123456789abcdef" * 2


def answers_of(plan: Plan, trial: int, order: int = 0) -> dict[str, Any]:
    """A valid record as the page sends it, as plain values."""
    page, block, _ = plan.place(order, trial)
    given = []
    for name, question in plan.asked(block).items():
        for slot in plan.rated(page):
            value = {"pair": slot, "rating": 3}.get(question["kind"]) or question["options"][0][0]
            given.append({"question": name, "slot": slot, "value": value})
            if question["kind"] == "pair":
                break
    return {
        "study_hash": plan.hash, "session": SESSION, "trial": trial, "answers": given, "rt_ms": 9000,
        "plays": dict.fromkeys(plan.clips(page), 1), "utc": "2026-01-02T03:04:05.678Z",
        "agent": "chrome on computer", "headphones_pass": None, "simulated": False,
    }  # fmt: skip


def record(plan: Plan, number: int, **changes: Any) -> Record:
    return Record(**(answers_of(plan, number) | changes))


@pytest.fixture(scope="module")
def plan(built_once: Path) -> Plan:
    return Plan.load(built_once)


def test_every_page_of_every_order_can_be_answered(plan: Plan) -> None:
    for order in range(len(plan.orders)):
        for trial in range(len(plan.orders[order]) + 1):
            plan.check(Record(**answers_of(plan, trial, order)), order)


def test_what_does_not_belong_is_refused(plan: Plan) -> None:
    for changes in ({"study_hash": "0" * 16}, {"trial": 9999}, {"plays": {"Z": 1}}):
        with pytest.raises(Misfit):
            plan.check(record(plan, 1, **changes), 0)
    for trial in range(len(plan.orders[0]) + 1):
        good = answers_of(plan, trial)["answers"]
        for answers in (
            good + good,
            [*good[1:], good[0] | {"value": 9}],
            [*good[1:], good[0] | {"value": "xx"}],
            [*good[1:], good[0] | {"slot": "A"}],
            [*good[1:], good[0] | {"question": "other"}],
        ):
            with pytest.raises(Misfit):
                plan.check(record(plan, trial, answers=answers), 0)


def opened(folder: Path, *sessions: str) -> Store:
    """The store, in which the sessions were begun: SESSION has order 0, the others follow."""
    store = Store(folder, Plan.load(folder))
    assert [store.start(session) for session in (SESSION, *sessions)] == list(range(1 + len(sessions)))
    return store


def test_stored_once_and_conflicts_keep_the_first(built: Path) -> None:
    plan = Plan.load(built)
    first = record(plan, 1)
    with opened(built) as store:
        assert store.add(first) and not store.add(first)
        with pytest.raises(Conflict):
            store.add(record(plan, 1, rt_ms=1))
        with pytest.raises(Unknown):
            store.add(record(plan, 1, session="0" * 32))
        assert store.records() == [(0, first)]
    with Store(built, plan) as again:
        assert not again.add(first), "known after a restart"
        assert again.records() == [(0, first)]


def test_orders_are_given_evenly(built: Path) -> None:
    plan = Plan.load(built)
    with Store(built, plan) as store:
        given_orders = [store.start(f"{n:032x}") for n in range(2 * len(plan.orders))]
    assert sorted(given_orders) == sorted([*range(len(plan.orders))] * 2)


def test_what_fails_in_the_middle_is_undone_whole(built: Path) -> None:
    plan = Plan.load(built)
    with opened(built) as store:
        with pytest.raises(Misfit), store.writing():
            store.add(record(plan, 1))
            store.add(record(plan, 2, plays={"Z": 1}))
        assert store.records() == []


def test_a_damaged_file_is_said(built: Path) -> None:
    (built / "responses").mkdir()
    (built / responses.ANSWERS).write_text("not a database, and long enough to be read as one" * 30)
    with pytest.raises(RetimbreError, match=r"answers.sqlite cannot be used .*: restore it from a copy.$"):
        Store(built, Plan.load(built))


def test_a_record_of_another_version_is_said(built: Path) -> None:
    with opened(built) as store:
        store.database.execute("INSERT INTO pages VALUES (?, 1, '{}')", (SESSION,))
        with pytest.raises(RetimbreError, match=r"answers.sqlite holds a record that this version does not"):
            store.records()


def test_delete_takes_one_listener_away_for_good(built: Path) -> None:
    plan, other = Plan.load(built), "f" * 32
    theirs = Record(**answers_of(plan, 1, order=1) | {"session": other})
    with opened(built, other) as store:
        for mine in (record(plan, 1), record(plan, 2), theirs):
            store.add(mine)
        assert store.delete(SESSION) == 2
        assert store.records() == [(1, theirs)]
        with pytest.raises(RetimbreError, match="has no session nobody: give the code"):
            store.delete("nobody")
    assert SESSION.encode() not in (built / responses.ANSWERS).read_bytes(), "overwritten, not only unlinked"


def test_the_table_has_a_row_per_answer_and_nothing_about_the_person(built: Path) -> None:
    plan = Plan.load(built)
    with opened(built) as store:
        for trial in (0, 1):
            store.add(record(plan, trial))
    table = responses.read_answers(built, plan)
    assert tuple(table) == responses.EXPORT_COLUMNS
    assert len(table) == sum(len(answers_of(plan, trial)["answers"]) for trial in (0, 1))
    assert not {"ip", "name", "email", "address"} & set(table)
    first = f"{plan.study},{plan.hash},{SESSION},0,about,about,0,musician,,,yes,"
    assert table.to_csv(index=False).splitlines()[1].startswith(first)
    assert set(table.token[table.trial == 1]) <= set(plan.clips(plan.orders[0][0][0]).values())
