"""Answers: checked against the study, stored once, kept through a crash, merged and deleted."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as fuzz
from hypothesis import strategies as st

from retimbre.errors import RetimbreError
from retimbre.listening import responses
from retimbre.listening.responses import Conflict, Misfit, Plan, Record, Store

SESSION = "0123456789abcdef" * 2


def answers_of(plan: Plan, trial: int, order: int = 0, choice: int = 0) -> dict[str, Any]:
    """A valid record as the page sends it, as plain values."""
    common = {
        "study": plan.study, "study_hash": plan.hash, "session": SESSION, "order": order, "trial": trial, "rt_ms": 9000,
        "utc": "2026-01-02T03:04:05.678Z", "agent": "chrome on computer", "headphones_pass": None, "simulated": False,
    }  # fmt: skip
    if trial == 0:
        given = [{"question": q["key"], "slot": "", "token": "", "value": q["options"][choice][0]} for q in plan.served["about"]]
        return common | {"page": "about", "block": "about", "repeat_of": None, "answers": given, "plays": {}}
    name, repeats = plan.orders[order][trial - 1]
    page = plan.pages[name]
    judged = [(slot, token) for slot, token in page["clips"] if slot not in "AE"]
    given = []
    for question in plan.blocks[page["block"]]["questions"]:
        for slot, token in judged[choice : choice + 1] if question["kind"] == "pair" else judged:
            value = slot if question["kind"] == "pair" else 3 if question["kind"] == "rating" else question["options"][choice][0]
            given.append({"question": question["key"], "slot": slot, "token": token, "value": value})
    plays = {slot: 1 for slot, _ in page["clips"]}
    return common | {"page": name, "block": page["block"], "repeat_of": repeats, "answers": given, "plays": plays}


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


def test_stored_once_and_conflicts_keep_the_first(built: Path) -> None:
    plan = Plan.load(built)
    with Store(built, plan) as store:
        first = record(plan, 1)
        assert store.add([first]) == 1 and store.add([first]) == 0
        with pytest.raises(Conflict):
            store.add([record(plan, 1, rt_ms=1)])
        with pytest.raises(Misfit, match="order"):
            store.add([Record(**answers_of(plan, 2, order=1))])
        assert store.records() == [first]
        with pytest.raises(RetimbreError, match="in use by another"):
            Store(built, plan)
    with Store(built, plan) as again:
        assert again.add([first]) == 0, "known after a restart"


def test_orders_are_given_evenly(built: Path) -> None:
    plan = Plan.load(built)
    with Store(built, plan) as store:
        given_orders = [store.start(f"{n:032x}") for n in range(2 * len(plan.orders))]
    assert sorted(given_orders) == sorted([*range(len(plan.orders))] * 2)


@fuzz(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_cut_at_any_byte_loses_only_the_unfinished_line(plan: Plan, tmp_path: Path, data: st.DataObject) -> None:
    records = [record(plan, trial) for trial in range(4)]
    lines = [(responses.canonical(r) + "\n").encode() for r in records]
    whole = b"".join(lines)
    cut = data.draw(st.integers(0, len(whole)))
    path = tmp_path / "responses" / "responses.jsonl"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(whole[:cut])
    complete = sum(cut >= sum(map(len, lines[: n + 1])) for n in range(4))
    with Store(tmp_path, plan) as store:
        assert store.records() == records[:complete]
        assert store.add(records) == 4 - complete
        assert store.records() == records
    assert path.read_bytes() == whole


def test_a_damaged_middle_is_said(built: Path) -> None:
    plan = Plan.load(built)
    path = built / "responses/responses.jsonl"
    path.parent.mkdir()
    path.write_text("not json\n" + responses.canonical(record(plan, 1)) + "\n")
    with pytest.raises(RetimbreError, match="is damaged in line 1"):
        Store(built, plan)
    path.unlink()
    Store(built, plan).close()  # the lock was let go


def saved(plan: Plan, trials: list[int]) -> dict[str, Any]:
    header = {"format": responses.FORMAT, "study": plan.study, "study_hash": plan.hash, "session": SESSION, "order": 0}
    return header | {"records": [answers_of(plan, t) for t in trials]}


def test_import_merges_and_can_be_repeated(built: Path, tmp_path: Path) -> None:
    plan = Plan.load(built)
    one, two = tmp_path / "1.json", tmp_path / "2.json"
    one.write_text(json.dumps(saved(plan, [0, 1, 2])))
    two.write_text(json.dumps(saved(plan, [0, 1, 2, 3, 4])))
    assert responses.import_files([one], built) == (3, 3)
    assert responses.import_files([one, two], built) == (2, 8)
    assert responses.import_files([two], built) == (0, 5)
    assert len(responses.read_records(built)) == 5


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda v: v | {"format": "x"}, "is not a file of saved answers"),
        (lambda v: v | {"session": "f" * 32}, "mixes sessions"),
        (lambda v: v | {"records": [v["records"][1] | {"page": "p0000"}]}, "trial 1 has page p0000"),
        (lambda v: v | {"records": [v["records"][1] | {"e-mail": "x@y"}]}, "is not a file of saved answers"),
        (lambda v: [v], "is not a file of saved answers"),
        (None, "does not exist"),
    ],
)
def test_bad_files_are_refused_whole(built: Path, tmp_path: Path, change: Any, sentence: str) -> None:
    plan = Plan.load(built)
    path = tmp_path / "a.json"
    if change is not None:
        path.write_text(json.dumps(change(saved(plan, [0, 1]))))
    with pytest.raises(RetimbreError, match=sentence) as refusal:
        responses.import_files([path], built)
    assert "\n" not in str(refusal.value)
    with pytest.raises(RetimbreError, match="holds no answers"):
        responses.read_records(built)


def test_conflicting_import_writes_nothing(built: Path, tmp_path: Path) -> None:
    plan = Plan.load(built)
    one, two = tmp_path / "1.json", tmp_path / "2.json"
    one.write_text(json.dumps(saved(plan, [1])))
    changed = copy.deepcopy(saved(plan, [1, 2]))
    changed["records"][0]["rt_ms"] = 5
    two.write_text(json.dumps(changed))
    responses.import_files([one], built)
    with pytest.raises(RetimbreError, match="answered before, differently"):
        responses.import_files([two], built)
    assert len(responses.read_records(built)) == 1


def test_delete_takes_one_listener_away(built: Path) -> None:
    plan = Plan.load(built)
    other = "f" * 32
    with Store(built, plan) as store:
        store.add([record(plan, 1), record(plan, 2), record(plan, 1, session=other)])
        assert store.delete(SESSION) == 2
        assert {r.session for r in store.records()} == {other}
        assert store.add([record(plan, 1)]) == 1
    assert SESSION in (built / "responses/responses.jsonl").read_text()


def test_csv_has_a_row_per_answer_and_nothing_about_the_person(plan: Plan) -> None:
    text = responses.to_csv([record(plan, 0), record(plan, 1)])
    lines = text.splitlines()
    assert lines[0].split(",") == list(responses.EXPORT_COLUMNS) and len(lines) == 1 + len(answers_of(plan, 0)["answers"]) + len(
        answers_of(plan, 1)["answers"]
    )
    assert not {"ip", "name", "email", "address"} & set(responses.EXPORT_COLUMNS)
