"""Answers: what one is, whether it fits the study, and a database that loses none that was acknowledged.

A record is one page of one listener, all its answers together. It is on the disk before anybody is told
that it is stored: SQLite with a synced journal takes an unfinished write back after a crash.
"""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import pandas
from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr, ValidationError

from retimbre.errors import RetimbreError
from retimbre.listening.questions import EXAMPLE, ORIGINAL, RATING_MAX, RATING_MIN, SLIDER_MAX, SLIDER_MIN

ANSWERS = Path("responses/answers.sqlite")  # in the study's folder
ABOUT = "about"  # page and block of the questions about the listener
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
SlotName = Annotated[StrictStr, Field(pattern=r"^[A-Za-z0-9]{0,8}$")]


class Answer(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    question: Name
    slot: SlotName
    value: Annotated[StrictInt, Field(ge=-1000, le=1000)] | Annotated[StrictStr, Field(max_length=40)]


class Record(BaseModel):
    """Answered page. No field can hold a name or an address; ``agent`` is a kind of browser, not its text."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    study_hash: Annotated[StrictStr, Field(pattern=r"^[0-9a-f]{16}$")]
    session: Annotated[StrictStr, Field(pattern=r"^[0-9a-f]{32}$")]
    trial: Annotated[StrictInt, Field(ge=0, le=100_000)]  # 0: about the listener; 1, 2 ...: in the order
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

    def place(self, order: int, trial: int) -> tuple[str, str, int | None]:
        """Page, block, and trial that is repeated, of a place in an order. Raises Misfit: no such place."""
        if trial == 0:
            return ABOUT, ABOUT, None
        if trial > len(self.orders[order]):
            raise Misfit(f"has trial {trial} of {len(self.orders[order])}")
        page, repeats = self.orders[order][trial - 1]
        return page, self.pages[page]["block"], repeats

    def clips(self, page: str) -> dict[str, str]:
        """slot -> token of what a page plays."""
        return {} if page == ABOUT else dict(self.pages[page]["clips"])

    def rated(self, page: str) -> dict[str, str]:
        """slot -> token of what a page asks about; {"": ""} for the page about the listener."""
        if page == ABOUT:
            return {"": ""}
        return {slot: token for slot, token in self.clips(page).items() if slot not in (ORIGINAL, EXAMPLE)}

    def asked(self, block: str) -> dict[str, dict[str, Any]]:
        """Questions of a block by their key."""
        asked = self.served["about"] if block == ABOUT else self.blocks[block]["questions"]
        return {question["key"]: question for question in asked}

    def check(self, record: Record, order: int) -> None:
        """Raises Misfit when the record could not have come from this study's page."""
        if record.study_hash != self.hash:
            raise Misfit(f"belongs to the study {record.study_hash}, not to {self.hash} ({self.study})")
        page, block, _ = self.place(order, record.trial)
        rated, asked = self.rated(page), self.asked(block)
        if record.plays.keys() - self.clips(page):
            raise Misfit(f"has plays of clips that page {page} does not have")
        if others := {answer.question for answer in record.answers} - asked.keys():
            raise Misfit(f"answers {min(others)}, which page {page} does not ask")
        for name, question in asked.items():
            answers = [answer for answer in record.answers if answer.question == name]
            slots = sorted(answer.slot for answer in answers)
            if len(slots) != 1 if question["kind"] == "pair" else slots != sorted(rated):
                raise Misfit(f"answers {name} of page {page} too often or not at all")
            for answer in answers:
                if answer.slot not in rated or not _fits(question, answer):
                    raise Misfit(f"answers {answer.value!r} to {name}")


def _fits(question: dict[str, Any], answer: Answer) -> bool:
    """True for an answer that the question offers."""
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
            raise self._unusable(error) from None

    def _unusable(self, error: Exception) -> RetimbreError:
        if isinstance(error, ValidationError):
            return RetimbreError(
                f"{self.path} holds a record that this version does not read: use the version that stored "
                "it, or restore the file from a copy if it is damaged."
            )
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        return RetimbreError(f"{self.path} cannot be used ({reason}): restore it from a copy.")

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
        key, text = (record.session, record.trial), record.model_dump_json()
        with self.writing():
            known = self.database.execute("SELECT place FROM sessions WHERE session = ?", key[:1]).fetchone()
            if known is None:
                raise Unknown("no such session")
            self.plan.check(record, *known)
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

    def records(self) -> list[tuple[int, Record]]:
        """Stored records, each with its session's order. Raises RetimbreError: damaged, another version."""
        query = "SELECT place, record FROM pages JOIN sessions USING (session) ORDER BY pages.rowid"
        try:
            return [(order, Record.model_validate_json(text)) for order, text in self.database.execute(query)]
        except (sqlite3.DatabaseError, ValidationError) as error:
            raise self._unusable(error) from None

    def table(self) -> pandas.DataFrame:
        """Table with a row per answer and the columns ``EXPORT_COLUMNS``.

        Raises RetimbreError when an answer does not belong to the study.
        """
        rows = []
        for order, record in self.records():
            try:
                self.plan.check(record, order)
            except Misfit as misfit:
                raise RetimbreError(
                    f"{self.path}: trial {record.trial} of {record.session} {misfit}."
                ) from None
            page, block, repeats = self.plan.place(order, record.trial)
            rated, common = self.plan.rated(page), record.model_dump(exclude={"answers"})
            common |= {"study": self.plan.study, "order": order, "page": page, "block": block}
            common |= {"repeat_of": repeats, "plays": json.dumps(record.plays, sort_keys=True)}
            rows += [common | a.model_dump() | {"token": rated[a.slot]} for a in record.answers]
        return pandas.DataFrame(rows, columns=list(EXPORT_COLUMNS)).astype({"repeat_of": "Int64"})


def read_answers(folder: Path, plan: Plan) -> pandas.DataFrame:
    """Table of the stored answers (:meth:`Store.table`). Raises RetimbreError when there are none."""
    if (folder / ANSWERS).exists():
        with Store(folder, plan) as store:
            table = store.table()
        if len(table):
            return table
    raise RetimbreError(f"{folder / ANSWERS} holds no answers: serve the study or simulate some.")
