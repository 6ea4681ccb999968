"""Answers: what one is, whether it fits the study, and a file that loses none that was acknowledged.

One line of ``responses.jsonl`` is one page of one listener, all its answers together. A line is on the disk before anybody is
told that it is stored; a line that was cut off by a crash was never acknowledged and is taken away when the file is opened.
"""

import csv
import fcntl
import hashlib
import io
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr, ValidationError

from retimbre.errors import RetimbreError
from retimbre.listening.questions import EXAMPLE, HEADPHONE_TRIALS, ORIGINAL, RATING_MAX, RATING_MIN, SLIDER_MAX, SLIDER_MIN
from retimbre.paths import write_atomically

FORMAT = "retimbre-listening-1"
MAX_IMPORT_BYTES = 20_000_000
EXPORT_COLUMNS = (
    "study", "study_hash", "session", "order", "page", "block", "trial", "question", "slot", "token", "value", "rt_ms", "plays",
    "repeat_of", "utc", "agent", "headphones_pass", "simulated",
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
    """One answered page. No field can hold a name or an address; ``agent`` is a class of browser, not its full text."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    study: Name
    study_hash: Annotated[StrictStr, Field(pattern=r"^[0-9a-f]{16}$")]
    session: Session
    order: Annotated[StrictInt, Field(ge=0, le=100_000)]
    trial: Annotated[StrictInt, Field(ge=0, le=100_000)]  # 0: about the listener; 1, 2 ...: places in the order
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


class SessionRecord(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    session: Session
    order: Annotated[StrictInt, Field(ge=0)]


class DownloadedAnswers(BaseModel):
    """The file that the page's end offers."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    format: Annotated[StrictStr, Field(pattern=f"^{FORMAT}$")]
    study: Name
    study_hash: StrictStr
    session: Session
    order: StrictInt
    records: Annotated[list[Record], Field(max_length=10_000)]


class Misfit(ValueError):
    """A well-formed record that does not belong to the study, or contradicts one that is stored."""


class Conflict(Misfit):
    """The page was answered before, differently; the first answer stays."""


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
            raise RetimbreError(f"{path} does not exist: build the study with `retimbre listen build`.") from None
        except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError):
            raise RetimbreError(f"{path} is not a study: build it again with `retimbre listen build`.") from None

    def check(self, record: Record) -> None:
        """Raises Misfit when the record could not have come from this study's page."""
        if (record.study, record.study_hash) != (self.study, self.hash):
            raise Misfit(f"belongs to study {record.study} ({record.study_hash}), not to {self.study} ({self.hash})")
        if record.order >= len(self.orders):
            raise Misfit(f"has order {record.order} of {len(self.orders)}")
        if record.trial == 0:
            self._check_about(record)
            return
        order = self.orders[record.order]
        if record.trial > len(order):
            raise Misfit(f"has trial {record.trial} of {len(order)}")
        name, repeats = order[record.trial - 1]
        if (record.page, record.repeat_of) != (name, repeats):
            raise Misfit(f"has page {record.page} as trial {record.trial}, where the order has {name}")
        page = self.pages[name]
        if record.block != page["block"]:
            raise Misfit(f"has page {name} in block {record.block}")
        clips = dict(page["clips"])
        if set(record.plays) - set(clips):
            raise Misfit("has plays of clips that are not on the page")
        expected = set()
        judged = [slot for slot in clips if slot not in (ORIGINAL, EXAMPLE)]
        asked = {q["key"]: q for q in self.blocks[page["block"]]["questions"]}
        for key, question in asked.items():
            expected |= {(key, slot) for slot in judged} if question["kind"] != "pair" else {(key, "")}
        given = [(a.question, "" if asked.get(a.question, {}).get("kind") == "pair" else a.slot) for a in record.answers]
        if len(given) != len(set(given)) or set(given) != expected:
            raise Misfit(f"answers other questions than page {name} asks")
        for answer in record.answers:
            if answer.slot not in judged or answer.token != clips[answer.slot]:
                raise Misfit(f"answers on a clip that page {name} does not judge")
            self._check_value(asked[answer.question], answer, judged)

    def _check_about(self, record: Record) -> None:
        asked = {q["key"]: q for q in self.served["about"]}
        keys = [a.question for a in record.answers]
        if record.page != "about" or record.block != "about" or record.repeat_of is not None or record.plays:
            raise Misfit("has a page that is not the one about the listener as trial 0")
        if len(keys) != len(set(keys)) or set(keys) - {"headphones_right"} != set(asked):
            raise Misfit("answers other questions than the page about the listener asks")
        for answer in record.answers:
            if answer.slot or answer.token:
                raise Misfit("names a clip on the page about the listener")
            if answer.question == "headphones_right":
                if not isinstance(answer.value, int) or not 0 <= answer.value <= HEADPHONE_TRIALS:
                    raise Misfit(f"has {answer.value!r} right answers about tones")
            else:
                self._check_value(asked[answer.question], answer, [])

    @staticmethod
    def _check_value(question: dict[str, Any], answer: Answer, judged: list[str]) -> None:
        kind, value = question["kind"], answer.value
        fits = {
            "rating": isinstance(value, int) and RATING_MIN <= value <= RATING_MAX,
            "slider": isinstance(value, int) and SLIDER_MIN <= value <= SLIDER_MAX,
            "pair": value in judged and value == answer.slot,
            "choice": value in [option for option, _ in question["options"]],
        }[kind]
        if not fits:
            raise Misfit(f"answers {value!r} to {question['key']}")


def canonical(record: Record) -> str:
    """A record as one line of JSON."""
    return json.dumps(record.model_dump(), ensure_ascii=False, sort_keys=True)


def _digest(record: Record) -> bytes:
    return hashlib.sha256(canonical(record).encode()).digest()


class Store:
    """The answers of one study, on disk. One process at a time: opening takes a lock.

    Raises RetimbreError: locked by another process, or a line in the middle is damaged.
    """

    def __init__(self, folder: Path, plan: Plan):
        self.plan = plan
        place = folder / "responses"
        place.mkdir(parents=True, exist_ok=True)
        self.paths = {"responses": place / "responses.jsonl", "sessions": place / "sessions.jsonl"}
        self.lock = open(place / ".lock", "w")  # noqa: SIM115 - held as long as the store
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self.lock.close()
            raise RetimbreError(f"{place} is in use by another `retimbre listen`: stop it first.") from None
        try:
            for path in self.paths.values():
                repair(path)
            self.sessions = {s.session: s.order for s in _lines(self.paths["sessions"], SessionRecord)}
            self.seen: dict[tuple[str, int], bytes] = {}
            for record in _lines(self.paths["responses"], Record):
                self.seen[record.session, record.trial] = _digest(record)
                self.sessions.setdefault(record.session, record.order)
        except RetimbreError:
            self.close()
            raise

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        self.lock.close()

    def _append(self, name: str, lines: list[str]) -> None:
        """Lines on the disk, whole, before this returns; on an error the file is as it was."""
        path = self.paths[name]
        fresh = not path.exists()
        with path.open("ab") as file:
            size = file.seek(0, os.SEEK_END)
            try:
                file.write("".join(f"{line}\n" for line in lines).encode())
                file.flush()
                os.fsync(file.fileno())
            except OSError:
                os.truncate(path, size)
                raise
        if fresh:  # a new file's name must be on the disk too
            handle = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)

    def start(self, session: str) -> int:
        """Register a session; returns its order: the one that fewest sessions have."""
        counts = [0] * len(self.plan.orders)
        for order in self.sessions.values():
            counts[order % len(counts)] += 1
        order = counts.index(min(counts))
        self._append("sessions", [json.dumps({"session": session, "order": order})])
        self.sessions[session] = order
        return order

    def add(self, records: list[Record]) -> int:
        """Store records, all or none; those that are stored already are skipped. Returns how many were new.

        Raises Misfit (with Conflict for a page that was answered differently before).
        """
        fresh: dict[tuple[str, int], Record] = {}
        orders = dict(self.sessions)
        for record in records:
            self.plan.check(record)
            if orders.setdefault(record.session, record.order) != record.order:
                raise Misfit(f"has order {record.order}, and its session has {orders[record.session]}")
            key, digest = (record.session, record.trial), _digest(record)
            known = self.seen.get(key) or (_digest(fresh[key]) if key in fresh else None)
            if known is not None and known != digest:
                raise Conflict(f"trial {record.trial} of session {record.session} was answered before, differently")
            if known is None:
                fresh[key] = record
        if fresh:
            self._append("responses", [canonical(record) for record in fresh.values()])
        for key, record in fresh.items():
            self.seen[key] = _digest(record)
            self.sessions[record.session] = record.order
        return len(fresh)

    def delete(self, session: str) -> int:
        """Take a listener's answers away for good; returns how many pages that were. The file is replaced atomically."""
        kept = [r for r in _lines(self.paths["responses"], Record) if r.session != session]
        gone = len(self.seen) - len(kept)
        starts = [s for s in _lines(self.paths["sessions"], SessionRecord) if s.session != session]
        for name, lines in (("responses", [canonical(r) for r in kept]), ("sessions", [json.dumps(s.model_dump()) for s in starts])):
            if self.paths[name].exists():
                with write_atomically(self.paths[name]) as file:
                    file.write("".join(f"{line}\n" for line in lines))
        self.seen = {key: digest for key, digest in self.seen.items() if key[0] != session}
        self.sessions.pop(session, None)
        return gone

    def records(self) -> list[Record]:
        return list(_lines(self.paths["responses"], Record))


def repair(path: Path) -> None:
    """Cut an unfinished last line off: it was never acknowledged."""
    if not path.exists():
        return
    data = path.read_bytes()
    if data and not data.endswith(b"\n"):
        with path.open("r+b") as file:
            file.truncate(data.rfind(b"\n") + 1)
            os.fsync(file.fileno())


def _lines(path: Path, model: type[BaseModel]) -> Iterator[Any]:
    """The records of a file. Raises RetimbreError for a line that is not one."""
    if not path.exists():
        return
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                return  # still being written, or cut off
            try:
                yield model.model_validate_json(line)
            except (ValidationError, ValueError):
                raise RetimbreError(f"{path} is damaged in line {number}: restore it or take the line out.") from None


def read_records(folder: Path) -> list[Record]:
    """The stored answers, without taking the lock. Raises RetimbreError when there are none."""
    records = list(_lines(folder / "responses/responses.jsonl", Record))
    if not records:
        raise RetimbreError(f"{folder / 'responses/responses.jsonl'} holds no answers: serve the study, import answers or simulate some.")
    return records


def read_download(path: Path) -> list[Record]:
    """The records of a file that a listener saved. Raises RetimbreError in one sentence."""
    try:
        if path.stat().st_size > MAX_IMPORT_BYTES:
            raise RetimbreError(f"{path} is larger than {MAX_IMPORT_BYTES // 1_000_000} MB and no file of answers: leave it out.")
        found = DownloadedAnswers.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise RetimbreError(f"{path} does not exist: give the JSON files that listeners saved.") from None
    except IsADirectoryError:
        raise RetimbreError(f"{path} is a folder: give the JSON files that listeners saved.") from None
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(str(part) for part in problem["loc"]) or "the file"
        raise RetimbreError(f"{path} is not a file of saved answers ({place}: {problem['msg'].lower()}): ask for it again.") from None
    if any(r.session != found.session or r.order != found.order for r in found.records):
        raise RetimbreError(f"{path} mixes sessions: ask for it again.")
    return found.records


def import_files(paths: Iterable[Path], folder: Path) -> tuple[int, int]:
    """Merge saved answers into a study; returns (new pages, pages in the files). Files are checked before anything is written."""
    plan = Plan.load(folder)
    records: list[Record] = []
    origin: dict[tuple[str, int], Path] = {}
    for path in paths:
        for record in read_download(path):
            try:
                plan.check(record)
            except Misfit as misfit:
                raise RetimbreError(f"{path}: trial {record.trial} {misfit}: leave this file out.") from None
            origin[record.session, record.trial] = path
            records.append(record)
    with Store(folder, plan) as store:
        try:
            return store.add(records), len(records)
        except Misfit as misfit:
            raise RetimbreError(f"{', '.join(sorted({str(p) for p in origin.values()}))}: {misfit}: leave the file out.") from None


def flatten(records: Iterable[Record]) -> Iterator[dict[str, Any]]:
    """One row per answer, with the columns of ``EXPORT_COLUMNS``."""
    for record in records:
        common = record.model_dump(exclude={"answers", "plays"})
        plays = json.dumps(record.plays, sort_keys=True)
        for answer in record.answers:
            yield {**common, **answer.model_dump(), "plays": plays}


def to_csv(records: Iterable[Record]) -> str:
    """The answers as CSV."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, EXPORT_COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(flatten(records))
    return buffer.getvalue()
