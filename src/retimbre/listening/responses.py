"""Answers: what one is, whether it fits the study, and a database that loses none that was acknowledged.

A record is one page of one listener, all its answers together. It is on the disk before anybody is told
that it is stored: SQLite with a synced journal takes an unfinished write back after a crash.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import pandas
from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr

from retimbre.errors import RetimbreError
from retimbre.listening.questions import EXAMPLE, ORIGINAL, RATING_MAX, RATING_MIN, SLIDER_MAX, SLIDER_MIN

ANSWERS = Path("responses/answers.sqlite")  # in the study's folder
TABLES = """
    PRAGMA synchronous = EXTRA;
    PRAGMA secure_delete = ON;
    CREATE TABLE IF NOT EXISTS sessions (session TEXT PRIMARY KEY, place INTEGER NOT NULL);
    CREATE TABLE IF NOT EXISTS pages (
        session TEXT NOT NULL, trial INTEGER NOT NULL, record TEXT NOT NULL, PRIMARY KEY (session, trial)
    );
"""
EXPORT_COLUMNS = (
    "study", "study_hash", "session", "order", "page", "block", "trial", "question", "slot", "token", "value",
    "rt_ms", "plays", "repeat_of", "utc", "agent", "headphones_pass", "simulated",
)  # fmt: skip

Name = Annotated[StrictStr, Field(pattern=r"^[a-z0-9_-]{1,40}$")]
Token = Annotated[StrictStr, Field(pattern=r"^([0-9a-f]{16})?$")]
Session = Annotated[StrictStr, Field(pattern=r"^[0-9a-f]{32}$")]
SlotName = Annotated[StrictStr, Field(pattern=r"^[A-Za-z0-9]{0,8}$")]


class Answer(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    question: Name
    slot: SlotName
    token: Token
    value: Annotated[StrictInt, Field(ge=-1000, le=1000)] | Annotated[StrictStr, Field(max_length=40)]


class Record(BaseModel):
    """Answered page. No field can hold a name or an address; ``agent`` is a kind of browser, not its text."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    study: Name
    study_hash: Annotated[StrictStr, Field(pattern=r"^[0-9a-f]{16}$")]
    session: Session
    order: Annotated[StrictInt, Field(ge=0, le=100_000)]
    trial: Annotated[
        StrictInt, Field(ge=0, le=100_000)
    ]  # 0: about the listener; 1, 2 ...: places in the order
    page: Name
    block: Name
    repeat_of: Annotated[StrictInt, Field(ge=1, le=100_000)] | None
    answers: Annotated[list[Answer], Field(min_length=1, max_length=40)]
    rt_ms: Annotated[StrictInt, Field(ge=0, le=604_800_000)]
    plays: Annotated[dict[SlotName, Annotated[StrictInt, Field(ge=0, le=10_000)]], Field(max_length=20)]
    utc: Annotated[StrictStr, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z$")]
    agent: Annotated[StrictStr, Field(pattern=r"^[A-Za-z0-9 ._-]{0,60}$")]
    headphones_pass: bool | None
    simulated: bool


class Misfit(ValueError):
    """Well-formed record that does not belong to the study."""


class Unknown(Misfit):
    """Record of a session that was never begun, or was deleted."""


class Conflict(Misfit):
    """Record of a page that was answered before, differently; the first answer stays."""


class Plan:
    """What the browser was given (``site/study.json``), to check answers against."""

    def __init__(self, served: dict[str, Any]):
        self.served, self.study, self.hash = served, served["study"], served["study_hash"]
        self.orders, self.pages, self.blocks = served["orders"], served["pages"], served["blocks"]

    @classmethod
    def load(cls, folder: Path) -> "Plan":
        """Raises RetimbreError when ``folder`` holds no built study."""
        path = folder / "site/study.json"
        try:
            return cls(json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            raise RetimbreError(
                f"{path} does not exist: build the study with `retimbre listen build`."
            ) from None
        except (ValueError, KeyError, TypeError):
            raise RetimbreError(
                f"{path} is not a study: build it again with `retimbre listen build`."
            ) from None

    def rated(self, page: str) -> dict[str, str]:
        """slot -> token of the clips of a page that are rated."""
        return {slot: token for slot, token in self.pages[page]["clips"] if slot not in (ORIGINAL, EXAMPLE)}

    def check(self, record: Record) -> None:
        """Raises Misfit when the record could not have come from this study's page."""
        if (record.study, record.study_hash) != (self.study, self.hash):
            raise Misfit(
                f"belongs to study {record.study} ({record.study_hash}), not to {self.study} ({self.hash})"
            )
        if record.order >= len(self.orders):
            raise Misfit(f"has order {record.order} of {len(self.orders)}")
        order = [("about", None), *self.orders[record.order]]
        if record.trial >= len(order):
            raise Misfit(f"has trial {record.trial} of {len(order) - 1}")
        page, repeats = order[record.trial]
        about = record.trial == 0
        block = "about" if about else self.pages[page]["block"]
        if (record.page, record.block, record.repeat_of) != (page, block, repeats):
            raise Misfit(f"has page {record.page} as trial {record.trial}, where the order has {page}")
        if set(record.plays) - ({slot for slot, _ in self.pages[page]["clips"]} if not about else set()):
            raise Misfit("has plays of clips that are not on the page")
        rated = {"": ""} if about else self.rated(page)
        asked = {q["key"]: q for q in (self.served["about"] if about else self.blocks[block]["questions"])}
        given = {question: [a for a in record.answers if a.question == question] for question in asked}
        if sum(map(len, given.values())) != len(record.answers):
            raise Misfit(f"answers other questions than page {page} asks")
        for name, answers in given.items():
            slots = sorted(answer.slot for answer in answers)
            if len(slots) != 1 if asked[name]["kind"] == "pair" else slots != sorted(rated):
                raise Misfit(f"answers {name} of page {page} too often or not at all")
            for answer in answers:
                if rated.get(answer.slot) != answer.token:
                    raise Misfit(f"answers on a clip that page {page} does not ask about")
                if not _fits(asked[name], answer):
                    raise Misfit(f"answers {answer.value!r} to {name}")


def _fits(question: dict[str, Any], answer: Answer) -> bool:
    """Whether the answer is one that the question offers."""
    match question["kind"]:
        case "rating":
            return answer.value in range(RATING_MIN, RATING_MAX + 1)
        case "slider":
            return answer.value in range(SLIDER_MIN, SLIDER_MAX + 1)
        case "pair":
            return answer.value == answer.slot
    return answer.value in [value for value, _ in question["options"]]


class Store:
    """Answers of one study, on disk; several processes may use it at the same time.

    Raises RetimbreError when the file is damaged.
    """

    def __init__(self, folder: Path, plan: Plan):
        self.plan, self.path = plan, folder / ANSWERS
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # The server's event loop may run in another thread than the one that opens; only one uses the store.
        self.database = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        try:
            self.database.executescript(TABLES)
        except sqlite3.DatabaseError as error:
            self.database.close()
            raise RetimbreError(f"{self.path} cannot be used ({error}): restore it from a copy.") from None

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *error: object) -> None:
        self.database.close()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Transaction: on the disk whole when the block ends, undone when it fails; blocks may nest."""
        if self.database.in_transaction:
            yield
            return
        self.database.execute("BEGIN IMMEDIATE")
        with self.database:
            yield

    def start(self, session: str) -> int:
        """Register a session; returns its order: the one that fewest sessions have."""
        with self.writing():
            counts = dict.fromkeys(range(len(self.plan.orders)), 0)
            counts |= dict(self.database.execute("SELECT place, count(*) FROM sessions GROUP BY place"))
            order = min(counts, key=counts.__getitem__)
            self.database.execute("INSERT INTO sessions VALUES (?, ?)", (session, order))
        return order

    def add(self, record: Record) -> bool:
        """Store a record; returns whether it is new. Raises Misfit (Unknown, Conflict)."""
        self.plan.check(record)
        key, text = (record.session, record.trial), record.model_dump_json()
        with self.writing():
            known = self.database.execute("SELECT place FROM sessions WHERE session = ?", key[:1]).fetchone()
            if known is None:
                raise Unknown("no such session")
            if known != (record.order,):
                raise Misfit(f"has order {record.order}, and its session has {known[0]}")
            new = self.database.execute("INSERT OR IGNORE INTO pages VALUES (?, ?, ?)", (*key, text)).rowcount
            stored = "SELECT record FROM pages WHERE session = ? AND trial = ?"
            if not new and self.database.execute(stored, key).fetchone() != (text,):
                raise Conflict(
                    f"trial {record.trial} of session {record.session} was answered before, differently"
                )
        return bool(new)

    def delete(self, session: str) -> int:
        """Take a listener's answers away for good; returns how many pages that were.

        Raises RetimbreError when there is no such session.
        """
        with self.writing():
            if not self.database.execute("DELETE FROM sessions WHERE session = ?", (session,)).rowcount:
                raise RetimbreError(
                    f"{self.path} has no session {session}: give the code that the listener was shown."
                )
            return self.database.execute("DELETE FROM pages WHERE session = ?", (session,)).rowcount

    def records(self) -> list[Record]:
        rows = self.database.execute("SELECT record FROM pages ORDER BY rowid")
        return [Record.model_validate_json(text) for (text,) in rows]


def read_records(folder: Path, plan: Plan) -> list[Record]:
    """Stored answers. Raises RetimbreError: none there, or one that does not belong to the study."""
    path, records = folder / ANSWERS, []
    if path.exists():
        with Store(folder, plan) as store:
            records = store.records()
    if not records:
        raise RetimbreError(f"{path} holds no answers: serve the study or simulate some.")
    for record in records:
        try:
            plan.check(record)
        except Misfit as misfit:
            raise RetimbreError(f"{path}: trial {record.trial} of {record.session} {misfit}.") from None
    return records


def to_table(records: Iterable[Record]) -> pandas.DataFrame:
    """Table with a row per answer and the columns ``EXPORT_COLUMNS``."""
    rows = []
    for record in records:
        common = record.model_dump(exclude={"answers"}) | {"plays": json.dumps(record.plays, sort_keys=True)}
        rows += [common | answer.model_dump() for answer in record.answers]
    return pandas.DataFrame(rows, columns=list(EXPORT_COLUMNS)).astype({"repeat_of": "Int64"})
