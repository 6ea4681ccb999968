"""Answers: checked against the study, stored once, undone whole, deleted for good."""

from pathlib import Path
from typing import Any

import pytest

from retimbre.errors import RetimbreError
from retimbre.listening import responses
from retimbre.listening.responses import Conflict, Misfit, Plan, Record, Store, Unknown

SESSION = "0123456789abcdef" * 2


def answers_of(plan: Plan, trial: int, order: int = 0, choice: int = 0) -> dict[str, Any]:
    """A valid record as the page sends it, as plain values."""
    common = {
        "study": plan.study, "study_hash": plan.hash, "session": SESSION, "order": order, "trial": trial, "rt_ms": 9000,
        "utc": "2026-01-02T03:04:05.678Z", "agent": "chrome on computer", "headphones_pass": None, "simulated": False,
    }  # fmt: skip
    if trial == 0:
        given = [
            {"question": q["key"], "slot": "", "token": "", "value": q["options"][choice][0]}
            for q in plan.served["about"]
        ]
        return common | {"page": "about", "block": "about", "repeat_of": None, "answers": given, "plays": {}}
    name, repeats = plan.orders[order][trial - 1]
    page = plan.pages[name]
    judged = [(slot, token) for slot, token in page["clips"] if slot not in "AE"]
    given = []
    for question in plan.blocks[page["block"]]["questions"]:
        for slot, token in judged[choice : choice + 1] if question["kind"] == "pair" else judged:
            value = (
                slot
                if question["kind"] == "pair"
                else 3
                if question["kind"] == "rating"
                else question["options"][choice][0]
            )
            given.append({"question": question["key"], "slot": slot, "token": token, "value": value})
    plays = {slot: 1 for slot, _ in page["clips"]}
    return common | {
        "page": name,
        "block": page["block"],
        "repeat_of": repeats,
        "answers": given,
        "plays": plays,
    }


def record(plan: Plan, number: int, **changes: Any) -> Record:
    return Record(**(answers_of(plan, number) | changes))


@pytest.fixture(scope="module")
def plan(built_once: Path) -> Plan:
    return Plan.load(built_once)


def test_every_page_of_every_order_can_be_answered(plan: Plan) -> None:
    for order in range(len(plan.orders)):
        for trial in range(len(plan.orders[order]) + 1):
            plan.check(Record(**answers_of(plan, trial, order)))


def test_what_does_not_belong_is_refused(plan: Plan) -> None:
    for changes in (
        {"study": "other"},
        {"study_hash": "0" * 16},
        {"order": 99},
        {"trial": 9999},
        {"page": "p9999"},
        {"block": "elsewhere"},
        {"repeat_of": 1},
        {"plays": {"Z": 1}},
    ):
        with pytest.raises(Misfit):
            plan.check(record(plan, 1, **changes))
    good = answers_of(plan, 1)["answers"]
    for answers in (
        good + good,
        [good[0] | {"value": 9}],
        [good[0] | {"value": "xx"}],
        [good[0] | {"token": "f" * 16}],
        [good[0] | {"slot": "A"}],
        [good[0] | {"question": "other"}],
    ):
        with pytest.raises(Misfit):
            plan.check(record(plan, 1, answers=answers))


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
        with pytest.raises(Misfit, match="order"):
            store.add(Record(**answers_of(plan, 2, order=1)))
        with pytest.raises(Unknown):
            store.add(record(plan, 1, session="0" * 32))
        assert store.records() == [first]
    with Store(built, plan) as again:
        assert not again.add(first), "known after a restart"
    assert responses.read_records(built, plan) == [first]


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
            store.add(record(plan, 2, block="elsewhere"))
        assert store.records() == []


def test_a_damaged_file_is_said(built: Path) -> None:
    (built / "responses").mkdir()
    (built / responses.ANSWERS).write_text("not a database, and long enough to be read as one" * 30)
    with pytest.raises(RetimbreError, match=r"answers.sqlite cannot be used .*: restore it from a copy.$"):
        Store(built, Plan.load(built))


def test_delete_takes_one_listener_away_for_good(built: Path) -> None:
    plan, other = Plan.load(built), "f" * 32
    theirs = Record(**answers_of(plan, 1, order=1) | {"session": other})
    with opened(built, other) as store:
        for mine in (record(plan, 1), record(plan, 2), theirs):
            store.add(mine)
        assert store.delete(SESSION) == 2
        assert store.records() == [theirs]
        with pytest.raises(RetimbreError, match="has no session nobody: give the code"):
            store.delete("nobody")
    assert SESSION.encode() not in (built / responses.ANSWERS).read_bytes(), "overwritten, not only unlinked"


def test_the_table_has_a_row_per_answer_and_nothing_about_the_person(plan: Plan) -> None:
    records = [record(plan, 0), record(plan, 1)]
    table = responses.to_table(records)
    assert tuple(table) == responses.EXPORT_COLUMNS and len(table) == sum(len(r.answers) for r in records)
    assert not {"ip", "name", "email", "address"} & set(table)
    assert (
        table.to_csv(index=False)
        .splitlines()[1]
        .startswith(f"{plan.study},{plan.hash},{SESSION},0,about,about,0,")
    )
