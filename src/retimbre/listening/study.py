"""What is heard: items, pages and orders of a study, drawn from params alone and frozen under a hash.

Nothing here listens to audio or looks at a metric: the draw depends on the seed and on which outputs exist.
A study's hash covers its params, items, words, pages, orders and rules, and every answer carries it.
"""

import hashlib
import json
import random
from dataclasses import asdict, dataclass, replace
from itertools import combinations, zip_longest
from pathlib import Path
from typing import Any

import pandas

from retimbre.errors import RetimbreError
from retimbre.listening import questions
from retimbre.listening.params import Listening
from retimbre.listening.questions import EXAMPLE, ORIGINAL, VERSION, Block

COLUMNS = ("direction", "source_domain", "target_domain", "item", "stratum", "system", "path", "sha256")
START_S, INTRO_S = 180.0, 15.0  # consent, level and practice; the page before each block
ANCHOR = "anchor"  # a real recording, low-passed and noisy; made by clips.py
HYPOTHESES = (
    "H1 (content): each system keeps notes and rhythm better than the best baseline does; two-sided test of "
    "the difference of means",
    "H2 (timbre): listeners name the wanted instrument more often than by chance (1 / number of answers); "
    "exact binomial test",
    "H3 (likeness): each system is rated nearer to the example's instrument than the best baseline is",
    "H4 (quality): the sound quality of each system differs from that of the best baseline; two-sided",
    "H5 (preference): each system is preferred to each baseline in other than half of the answers; exact "
    "binomial test, two-sided",
)
TESTS = (
    "identification: accuracy with the Wilson 95 % interval; the exact binomial test against chance decides",
    "preference: share of wins with the Wilson 95 % interval; where the two disagree, the exact binomial "
    "test decides; Bradley-Terry with bootstrap intervals when more than two versions are compared",
    "ratings: means with two-way cluster bootstrap intervals over listeners and items (2000 draws); a linear "
    "mixed model with crossed listener and item effects gives the contrasts to the best baseline, whose "
    "p-values are Holm-corrected over all blocks; an ordinal model is a check, not a test",
    "reliability: Krippendorff's alpha (ordinal), correlation of repeated pages, intraclass correlation",
    "validity of metrics: Spearman correlation of every objective metric with the human means, per system "
    "and item and per system",
    "subgroups (musicians, direction, stratum, headphones) are exploratory",
    "every result is given with and without the exclusions; the one with exclusions counts",
)


@dataclass(frozen=True)
class Item:
    name: str  # <direction>.<piece>
    direction: str
    source_domain: str
    target_domain: str
    stratum: str
    example: str  # the item whose real recording is the example of the wanted instrument


@dataclass(frozen=True)
class Slot:
    slot: str
    system: str
    item: str


@dataclass(frozen=True)
class Page:
    page: str
    block: str
    condition: str
    slots: tuple[Slot, ...]


Order = tuple[tuple[str, int | None], ...]  # (page, trial that it repeats)


@dataclass(frozen=True)
class Study:
    name: str
    params: dict[str, Any]
    items: tuple[Item, ...]
    practice: str  # the item that the practice page plays
    practice_other: str  # and the one whose source is its "other music on the first instrument"
    real: str  # target, or unrelated where the data has no paired target
    blocks: tuple[Block, ...]
    pages: tuple[Page, ...]
    orders: tuple[Order, ...]  # one per listener

    @property
    def of_notes(self) -> bool:
        """True where notes are heard that were made from noise: they have neither source nor direction."""
        return self.params["preset"] == "notes"

    @property
    def original(self) -> str:
        """The system that is heard first and that other versions of an item are cut like."""
        return self.real if self.of_notes else "source"

    def frozen(self) -> dict[str, Any]:
        """Everything that is fixed before anybody listens, as plain values."""
        plain = json.loads(json.dumps(asdict(self)))
        hypotheses = HYPOTHESES[3:] if self.of_notes else HYPOTHESES
        rules = {"exclusion": questions.EXCLUSION, "hypotheses": hypotheses, "tests": TESTS}
        return plain | {name: list(texts) for name, texts in rules.items()}

    @property
    def hash(self) -> str:
        """SHA-256 of :meth:`frozen`, 16 hex digits."""
        return fingerprint(self.frozen())

    @property
    def minutes(self) -> float:
        """Estimated length of the longest order."""
        answer_s = {block.name: block.answer_s for block in self.blocks}
        heard_s = self.params["clip_s"] + 0.5
        seconds = {p.page: len(p.slots) * heard_s + answer_s[p.block] for p in self.pages}
        longest = max(sum(seconds[page] for page, _ in order) for order in self.orders)
        return (START_S + INTRO_S * len(self.blocks) + longest) / 60


def fingerprint(frozen: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(frozen, sort_keys=True, ensure_ascii=False).encode()).hexdigest()[:16]


def read_outputs(folder: Path) -> pandas.DataFrame:
    """Table of the outputs that ``evaluate`` wrote into ``folder``: COLUMNS, ``item`` with its direction.

    Raises RetimbreError: no table, a column missing, a path outside the folder, one output twice.
    """
    path, again = folder / "outputs.csv", "make it again with `dvc repro --force evaluate`"
    try:
        table = pandas.read_csv(path, dtype=str, keep_default_na=False)
    except FileNotFoundError:
        raise RetimbreError(f"{path} does not exist: make it with `dvc repro evaluate`.") from None
    except ValueError:  # pandas' errors of parsing and of decoding
        raise RetimbreError(f"{path} is not a table in UTF-8: {again}.") from None
    if missing := [c for c in COLUMNS if c not in table.columns]:
        raise RetimbreError(f"{path} has no column {missing[0]}: {again}.")
    inside = folder.resolve()
    if outside := [p for p in table.path if not (folder / p).resolve().is_relative_to(inside)]:
        raise RetimbreError(f"{path} names {outside[0]}, which is outside its folder: {again}.")
    table["item"] = table.direction + "." + table["item"]
    for row in table[table.duplicated(["system", "item"])].itertuples():
        raise RetimbreError(f"{path} has {row.system} for {row.item} twice: {again}.")
    return table[list(COLUMNS)]


def latin_row(index: int, n: int) -> list[int]:
    """Row ``index`` of a balanced Latin square of 0 .. n - 1.

    Over n rows (2n when n is odd) everything stands everywhere, and after everything else, equally often
    (Williams 1949).
    """
    row, low, high = [], 0, 0
    for place in range(n):
        if place < 2 or place % 2:
            value, low = low, low + 1
        else:
            high += 1
            value = n - high
        row.append((value + index) % n)
    return row[::-1] if n % 2 and index % (2 * n) >= n else row


def _draw_items(
    outputs: pandas.DataFrame, needed: list[str], real: str, params: Listening
) -> tuple[list[Item], list[str]]:
    """Items of the study in random order, and the names of the two that the practice page plays."""
    digests = outputs.pivot(index="item", columns="system", values="sha256")
    complete = digests.dropna(subset=needed).index
    about = outputs.drop_duplicates("item").set_index("item").loc[complete]
    rng = random.Random(f"{params.seed} items")
    directions = sorted(set(outputs.direction))
    items: list[Item] = []
    practice: list[str] = []
    for number, direction in enumerate(directions):
        share = params.items // len(directions) + (number < params.items % len(directions))
        own = about[about.direction == direction]
        cells = [rng.sample(list(cell.index), len(cell)) for _, cell in own.groupby("stratum")]
        pool = [item for turn in zip_longest(*cells) for item in turn if item is not None]
        if len(pool) < max(share, 2):
            lacking = digests[needed].isna().stack()
            gap = next((f": {item} lacks {system}" for item, system in lacking[lacking].index), "")
            raise RetimbreError(
                f"outputs.csv has {len(pool)} complete items of {direction} and listening.items needs "
                f"{max(share, 2)}{gap}: lower listening.items or evaluate more test pieces."
            )
        for place, name in enumerate(pool[:share]):
            # The example must be other music than the clip, and another clip than the unrelated control.
            others = pool[place + 1 :] + pool[:place]
            taken = digests.at[name, "unrelated"] if "unrelated" in needed else None
            fit = [n for n in others if digests.at[n, real] != taken]
            if not fit:
                raise RetimbreError(
                    f"outputs.csv has no example of other music for {name}: evaluate three test pieces."
                )
            o = about.loc[name]
            items.append(Item(name, direction, o.source_domain, o.target_domain, o.stratum, fit[0]))
        practice = practice or (pool[share:] + pool[:share])[:2]
    rng.shuffle(items)
    return items, practice


def _pages(
    items: list[Item], blocks: list[Block], compared: list[str], real: str, params: Listening
) -> list[Page]:
    """Every page that any listener may get, sorted by a number that does not tell what it plays."""
    found: list[tuple[str, str, tuple[Slot, ...]]] = []
    for block in blocks:
        rng = random.Random(f"{params.seed} slots {block.name}")
        versions = [*compared, *block.controls]
        for item in items:
            if block.name.startswith("to_") and block.name != f"to_{item.target_domain}":
                continue
            heard = {ORIGINAL: ("source", item.name), EXAMPLE: (real, item.example)}
            context = [Slot(slot, *heard[slot]) for slot in block.context]

            def add(condition: str, played: dict[str, str], block=block, item=item, context=context) -> None:
                slots = (*context, *(Slot(slot, system, item.name) for slot, system in played.items()))
                found.append((block.name, condition, slots))

            if block.name == "preference":
                for a, b in combinations(versions, 2):
                    if {a, b} & set(params.systems):
                        add(f"{a}|{b}", {"1": a, "2": b})
                        add(f"{a}|{b}", {"1": b, "2": a})
            elif block.name == "multi":
                mixed = rng.sample(versions, len(versions))
                add("all", {str(n): version for n, version in enumerate(mixed, 1)})
            else:
                for version in versions:
                    add(version, {VERSION: version})
    numbers = random.Random(f"{params.seed} pages").sample(range(1, len(found) + 1), len(found))
    pages = (Page(f"p{number:04d}", *page) for number, page in zip(numbers, found, strict=True))
    return sorted(pages, key=lambda page: page.page)


def _apart(pages: list[Page], rng: random.Random) -> list[Page]:
    """A random order with few neighbours that play the same item."""

    def same_neighbours(order: list[Page]) -> int:
        return sum(a.slots[-1].item == b.slots[-1].item for a, b in zip(order, order[1:], strict=False))

    return min((rng.sample(pages, len(pages)) for _ in range(30)), key=same_neighbours)


def _order(
    index: int, blocks: list[Block], pages: list[Page], compared: list[str], params: Listening
) -> Order:
    """Pages of listener ``index``: every condition of every block, items moving on between listeners."""
    rng = random.Random(f"{params.seed} order {index}")
    rated = [b.name for b in blocks if any(q.kind == "rating" for q in b.questions)]
    repeated = [rated[(index + r) % len(rated)] for r in range(params.repeats)] if rated else []
    order: list[tuple[str, int | None]] = []
    for place in latin_row(index, len(blocks)):
        name = blocks[place].name
        versions: dict[str, dict[str, list[Page]]] = {}  # condition -> item -> pages
        for page in pages:
            if page.block == name:
                versions.setdefault(page.condition, {}).setdefault(page.slots[-1].item, []).append(page)
        conditions = sorted(versions)
        ring = sorted({item for found in versions.values() for item in found})
        random.Random(f"{params.seed} ring {name}").shuffle(ring)
        chosen = []
        if params.preset == "dissertation":
            for n, item in enumerate(ring):
                chosen.append(versions[conditions[(n + index) % len(conditions)]][item][0])
        else:
            per = min(params.pages_per_condition, len(ring))
            lap, apart = -(-len(ring) // per), max(1, len(ring) // len(conditions))
            for c, condition in enumerate(conditions):
                for j in range(per):
                    item = ring[(index * per + c * apart + j) % len(ring)]
                    sides = sorted(versions[condition][item], key=lambda p: p.slots[-1].system)
                    chosen.append(sides[(index + index // lap + j + c) % len(sides)])
        chosen = _apart(chosen, rng)
        first = len(order) + 1
        order += [(page.page, None) for page in chosen]
        # The earliest ones, so that a page and its repetition lie apart.
        again = [(page.page, first + n) for n, page in enumerate(chosen) if page.condition in compared]
        order += again[: repeated.count(name)]
    return tuple(order)


def draw(outputs: pandas.DataFrame, params: Listening) -> Study:
    """The study that ``params`` describe on the items of ``outputs``; the same give the same.

    Raises RetimbreError: a system or too many items missing, or a session longer than ``max_minutes``.
    """
    have = set(outputs.system)
    compared = [*params.systems, *params.baselines]
    of_notes = params.preset == "notes"
    needed = [*compared, *(["target"] if of_notes else ["source", "copy", "unrelated"])]
    if missing := [name for name in needed if name not in have]:
        raise RetimbreError(
            f"outputs.csv has no system {missing[0]}: it has {', '.join(sorted(have)) or 'nothing'}; correct "
            "listening.systems or run `dvc repro evaluate`."
        )
    needed += [] if of_notes else [name for name in ("target", "oracle") if name in have]
    real = "target" if "target" in have else "unrelated"
    items, practice = _draw_items(outputs, needed, real, params)
    targets = sorted({item.target_domain for item in items})
    if params.preset == "dissertation":
        blocks = [questions.dissertation(target) for target in targets]
    elif of_notes:
        every = (questions.NOTE_QUALITY, questions.NOTE_PREFERENCE)
        blocks = [b for b in every if b.name in params.blocks]
    else:
        named = sorted({*params.instruments, *targets, *(item.source_domain for item in items)})
        every = (questions.CONTENT, questions.timbre(named), questions.LIKENESS, questions.QUALITY)
        blocks = [b for b in (*every, questions.PREFERENCE, questions.MULTI) if b.name in params.blocks]

    def with_controls(block: Block) -> Block:
        """The block with the controls that the data has."""
        there = [real if c == "target" else c for c in block.controls if c != "oracle" or c in have]
        return replace(block, controls=tuple(there))

    blocks = [with_controls(block) for block in blocks]
    pages = _pages(items, blocks, compared, real, params)
    blocks = [b for b in blocks if any(p.block == b.name for p in pages)]
    if not blocks:
        raise RetimbreError(
            "listening.blocks leaves nothing to hear (preference needs two versions): add a block or system."
        )
    orders = tuple(_order(k, blocks, pages, compared, params) for k in range(params.listeners))
    values = params.model_dump()
    study = Study(params.study, values, tuple(items), *practice, real, tuple(blocks), tuple(pages), orders)
    if study.minutes > params.max_minutes:
        raise RetimbreError(
            f"listening.max_minutes is {params.max_minutes:g} and a session would take about "
            f"{study.minutes:.0f} minutes: lower listening.pages_per_condition or take a block or system out."
        )
    return study
