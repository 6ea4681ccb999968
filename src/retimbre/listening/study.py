"""What is heard: items, pages and orders of a study, drawn from params alone and frozen under a hash.

Nothing here listens to audio or looks at a metric: the draw depends on the seed and on which outputs exist. A study's
hash covers its params, items, words, pages, orders and rules, and every answer carries it.
"""

import csv
import hashlib
import json
import random
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from retimbre.errors import RetimbreError
from retimbre.listening import questions
from retimbre.listening.questions import EXAMPLE, JUDGED, ORIGINAL, Block
from retimbre.params import Listening

COLUMNS = ("direction", "source_domain", "target_domain", "item", "stratum", "system", "path", "sha256")
START_S, INTRO_S = 180.0, 15.0  # consent, level and practice; the page before each block
ANCHOR = "anchor"  # a real recording, low-passed and noisy; made by clips.py
HYPOTHESES = (
    "H1 (content): each system keeps notes and rhythm better than the best baseline does; two-sided test of the difference of means",
    "H2 (timbre): listeners name the wanted instrument more often than by chance (1 / number of answers); exact binomial test",
    "H3 (likeness): each system is rated nearer to the example's instrument than the best baseline; two-sided",
    "H4 (quality): the sound quality of each system differs from that of the best baseline; two-sided",
    "H5 (preference): each system is preferred to each baseline in other than half of the answers; exact binomial test, two-sided",
)
TESTS = (
    "identification: accuracy with the Wilson 95 % interval; the exact binomial test against chance decides",
    "preference: share of wins with the Wilson 95 % interval; where the two disagree, the exact binomial test decides; "
    "Bradley-Terry with bootstrap intervals when more than two versions are compared",
    "ratings: means with two-way cluster bootstrap intervals over listeners and items (2000 draws); a linear mixed model with "
    "crossed listener and item effects gives the contrasts to the best baseline, whose p-values are Holm-corrected over all blocks; "
    "an ordinal model is a check, not a test",
    "reliability: Krippendorff's alpha (ordinal), correlation of repeated pages, intraclass correlation",
    "validity of metrics: Spearman correlation of every objective metric with the human means, per system and item and per system",
    "subgroups (musicians, direction, stratum, headphones) are exploratory",
    "every result is given with and without the exclusions; the one with exclusions counts",
)


@dataclass(frozen=True)
class Output:
    """A row of ``data/evaluation/outputs.csv``: one system's audio for one item."""

    direction: str
    source_domain: str
    target_domain: str
    item: str  # with its direction, so that it is unique
    stratum: str
    system: str
    path: Path
    sha256: str


@dataclass(frozen=True)
class Item:
    name: str
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


@dataclass(frozen=True)
class Study:
    name: str
    params: dict[str, Any]
    items: tuple[Item, ...]
    practice: str  # name of the item that the practice page plays
    practice_other: str  # and of the one whose source is the "other music on the first instrument"
    real: str  # target, or unrelated where the data has no paired target
    blocks: tuple[Block, ...]
    pages: tuple[Page, ...]
    orders: tuple[tuple[tuple[str, int | None], ...], ...]  # per listener: (page, trial that it repeats)

    def frozen(self) -> dict[str, Any]:
        """Everything that is fixed before anybody listens, as plain values."""
        plain = json.loads(json.dumps(asdict(self)))
        return plain | {"exclusion": list(questions.EXCLUSION), "hypotheses": list(HYPOTHESES), "tests": list(TESTS)}

    @property
    def hash(self) -> str:
        """SHA-256 of :meth:`frozen`, 16 hex digits."""
        return fingerprint(self.frozen())

    @property
    def minutes(self) -> float:
        """Estimated length of the longest order."""
        return max(self._seconds(order) for order in self.orders) / 60

    def _seconds(self, order: Iterable[tuple[str, int | None]]) -> float:
        pages, blocks = {p.page: p for p in self.pages}, {b.name: b for b in self.blocks}
        heard = sum(len(pages[name].slots) * (self.params["clip_s"] + 0.5) + blocks[pages[name].block].answer_s for name, _ in order)
        return START_S + INTRO_S * len(self.blocks) + heard


def fingerprint(frozen: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(frozen, sort_keys=True, ensure_ascii=False).encode()).hexdigest()[:16]


def read_outputs(folder: Path) -> list[Output]:
    """The outputs that ``evaluate`` wrote into ``folder``.

    Raises RetimbreError: no table, a column missing, a path outside the folder, one output twice.
    """
    path = folder / "outputs.csv"
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            rows = list(reader)
            names = reader.fieldnames or []
    except FileNotFoundError:
        raise RetimbreError(f"{path} does not exist: make it with `dvc repro evaluate`.") from None
    except (UnicodeDecodeError, csv.Error):
        raise RetimbreError(f"{path} is not a table in UTF-8: make it again with `dvc repro --force evaluate`.") from None
    if missing := [c for c in COLUMNS if c not in names]:
        raise RetimbreError(f"{path} has no column {missing[0]}: make it again with `dvc repro --force evaluate`.")
    outputs: dict[tuple[str, str], Output] = {}
    for row in rows:
        direction, name = row["direction"], row["item"]
        item = name if name.startswith(f"{direction}.") else f"{direction}.{name}"
        audio = folder / row["path"]
        if not audio.resolve().is_relative_to(folder.resolve()):
            raise RetimbreError(
                f"{path} names {row['path']}, which is outside its folder: make it again with `dvc repro --force evaluate`."
            )
        if (row["system"], item) in outputs:
            raise RetimbreError(f"{path} has {row['system']} for {item} twice: make it again with `dvc repro --force evaluate`.")
        domains = row["source_domain"], row["target_domain"]
        outputs[row["system"], item] = Output(direction, *domains, item, row["stratum"], row["system"], audio, row["sha256"])
    return list(outputs.values())


def latin_row(index: int, n: int) -> list[int]:
    """Row ``index`` of a balanced Latin square of 0 .. n - 1.

    Over n rows (2n when n is odd) everything stands everywhere, and after everything else, equally often (Williams 1949).
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


def _draw_items(outputs: list[Output], needed: list[str], params: Listening) -> tuple[list[Item], str, str, str]:
    """Items of the study, the name of the practice item and of a second one, and what counts as a real recording."""
    systems: dict[str, dict[str, Output]] = {}
    for output in outputs:
        systems.setdefault(output.item, {})[output.system] = output
    have = {o.system for o in outputs}
    for name in needed:
        if name not in have:
            known = ", ".join(sorted(have)) or "nothing"
            raise RetimbreError(f"outputs.csv has no system {name}: it has {known}; correct listening.systems or run `dvc repro evaluate`.")
    optional = [s for s in ("target", "oracle") if s in have]
    complete = sorted(item for item, found in systems.items() if {*needed, *optional} <= set(found))
    real = "target" if "target" in have else "unrelated"
    rng = random.Random(f"{params.seed} items")
    of_item = {item: next(iter(systems[item].values())) for item in complete}
    directions = sorted({o.direction for o in outputs})
    chosen: dict[str, list[str]] = {}
    for number, direction in enumerate(directions):
        share = params.items // len(directions) + (number < params.items % len(directions))
        cells: dict[str, list[str]] = {}
        for item in complete:
            if of_item[item].direction == direction:
                cells.setdefault(of_item[item].stratum, []).append(item)
        for cell in cells.values():
            rng.shuffle(cell)
        turns = sorted((turn, stratum, item) for stratum, cell in cells.items() for turn, item in enumerate(cell))
        ordered = [item for _, _, item in turns]
        if len(ordered) < max(share, 2):
            gap = next((f": {n} lacks {s}" for n in sorted(systems) for s in [*needed, *optional] if s not in systems[n]), "")
            raise RetimbreError(
                f"outputs.csv has {len(ordered)} complete items of {direction} and listening.items needs {max(share, 2)}{gap}: "
                "lower listening.items or run `dvc repro evaluate` on more test pieces."
            )
        chosen[direction] = ordered[:share]
        chosen[f"{direction} spare"] = ordered[share:]
    items = []
    for direction in directions:
        pool = chosen[direction] + chosen[f"{direction} spare"]
        for name in chosen[direction]:
            start = pool.index(name)
            around = [pool[(start + step) % len(pool)] for step in range(1, len(pool))]
            # The example must be other music than the clip, and another clip than the unrelated control.
            fit = [n for n in around if systems[n][real].sha256 != systems[name]["unrelated"].sha256]
            if not fit:
                raise RetimbreError(f"outputs.csv has no example of other music for {name}: evaluate at least three test pieces.")
            o = of_item[name]
            items.append(Item(name, o.direction, o.source_domain, o.target_domain, o.stratum, fit[0]))
    first = directions[0]
    spare = (chosen[f"{first} spare"] + chosen[first])[0]
    other = next(n for n in chosen[f"{first} spare"] + chosen[first] if n != spare)
    rng.shuffle(items)
    return items, spare, other, real


def _pages(items: list[Item], blocks: list[Block], judged: list[str], params: Listening) -> list[Page]:
    pages: list[Page] = []

    def add(block: str, condition: str, *slots: Slot) -> None:
        pages.append(Page(f"p{len(pages) + 1:04d}", block, condition, slots))

    for block in blocks:
        controls = list(block.conditions)
        rng = random.Random(f"{params.seed} slots {block.name}")
        for item in items:
            if block.name.startswith("to_") and block.name != f"to_{item.target_domain}":
                continue
            context = [Slot(ORIGINAL, "source", item.name)] if ORIGINAL in block.context else []
            context += [Slot(EXAMPLE, "example", item.example)] if EXAMPLE in block.context else []
            if block.name == "preference":
                rivals = [*judged, *controls]
                pairs = [(a, b) for n, a in enumerate(rivals) for b in rivals[n + 1 :] if a in params.systems or b in params.systems]
                for a, b in pairs:
                    for left, right in ((a, b), (b, a)):
                        add(block.name, f"{a}|{b}", *context, Slot("1", left, item.name), Slot("2", right, item.name))
            elif block.name == "multi":
                versions = [*judged, *controls]
                rng.shuffle(versions)
                add(block.name, "all", *context, *(Slot(str(n + 1), v, item.name) for n, v in enumerate(versions)))
            else:
                for condition in [*judged, *controls]:
                    add(block.name, condition, *context, Slot(JUDGED, condition, item.name))
    # The number of a page must not tell what it plays.
    rng = random.Random(f"{params.seed} pages")
    names = [page.page for page in pages]
    rng.shuffle(names)
    renamed = [Page(name, page.block, page.condition, page.slots) for name, page in zip(names, pages, strict=True)]
    return sorted(renamed, key=lambda page: page.page)


def _apart(pages: list[Page], rng: random.Random) -> list[Page]:
    """A random order with few neighbours that play the same item."""
    best, fewest = pages, len(pages) + 1
    for _ in range(30):
        order = rng.sample(pages, len(pages))
        same = sum(a.slots[-1].item == b.slots[-1].item for a, b in zip(order, order[1:], strict=False))
        if same < fewest:
            best, fewest = order, same
    return best


def _order(index: int, blocks: list[Block], pages: list[Page], judged: list[str], params: Listening) -> tuple[tuple[str, int | None], ...]:
    """The pages of listener ``index``: whole conditions of every block, items moving on from listener to listener."""
    rng = random.Random(f"{params.seed} order {index}")
    rated = [b for b in blocks if any(q.kind == "rating" for q in b.questions)]
    order: list[tuple[str, int | None]] = []
    for place in latin_row(index, len(blocks)):
        block = blocks[place]
        by_condition: dict[str, dict[str, list[Page]]] = {}
        for page in pages:
            if page.block == block.name:
                by_condition.setdefault(page.condition, {}).setdefault(page.slots[-1].item, []).append(page)
        conditions = sorted(by_condition)
        ring = sorted({item for found in by_condition.values() for item in found})
        random.Random(f"{params.seed} ring {block.name}").shuffle(ring)
        chosen = []
        if params.preset == "dissertation":
            chosen = [by_condition[conditions[(n + index) % len(conditions)]][item][0] for n, item in enumerate(ring)]
        else:
            per = min(params.pages_per_condition, len(ring))
            lap = -(-len(ring) // per)
            for c, condition in enumerate(conditions):
                for j in range(per):
                    item = ring[(index * per + c * max(1, len(ring) // len(conditions)) + j) % len(ring)]
                    versions = sorted(by_condition[condition][item], key=lambda p: p.slots[-1].system)
                    chosen.append(versions[(index + index // lap + j + c) % len(versions)])
        chosen = _apart(chosen, rng)
        first = len(order) + 1
        order += [(page.page, None) for page in chosen]
        repeatable = [(n, p) for n, p in enumerate(chosen) if p.condition in judged][: len(chosen) // 2 + 1]
        turns = [r for r in range(params.repeats) if rated and rated[(index + r) % len(rated)].name == block.name]
        for n, page in repeatable[: len(turns)]:
            order.append((page.page, first + n))
    return tuple(order)


def draw(outputs: list[Output], params: Listening) -> Study:
    """The study that ``params`` describe, on the items of ``outputs``; the same params and table give the same study.

    Raises RetimbreError: a system or too many items missing, or a session longer than ``max_minutes``.
    """
    judged = [*params.systems, *params.baselines]
    needed = [*judged, "source", "copy", "unrelated"]
    items, practice, other, real = _draw_items(outputs, needed, params)
    have = {o.system for o in outputs}
    domains = sorted({i.source_domain for i in items} | {i.target_domain for i in items})
    if params.preset == "dissertation":
        blocks = [questions.dissertation(t) for t in sorted({i.target_domain for i in items})]
    else:
        named = [*params.instruments, *(d for d in domains if d not in params.instruments)]
        every = (
            questions.CONTENT,
            questions.timbre(sorted(named)),
            questions.LIKENESS,
            questions.QUALITY,
            questions.PREFERENCE,
            questions.MULTI,
        )
        blocks = [b for b in every if b.name in params.blocks]

    def present(block: Block) -> Block:
        controls = tuple(dict.fromkeys(real if c == "target" else c for c in block.conditions if c != "oracle" or c in have))
        return Block(**{**block.__dict__, "conditions": controls})

    blocks = [present(b) for b in blocks]
    pages = _pages(items, blocks, judged, params)
    # The example is stored under what it is, so that one clip has one name.
    pages = [
        Page(p.page, p.block, p.condition, tuple(Slot(s.slot, real if s.system == "example" else s.system, s.item) for s in p.slots))
        for p in pages
    ]
    blocks = [b for b in blocks if any(p.block == b.name for p in pages)]
    if not blocks:
        raise RetimbreError("listening.blocks leaves nothing to hear (preference needs two versions): add a block or a system.")
    orders = tuple(_order(k, blocks, pages, judged, params) for k in range(params.listeners))
    study = Study(params.study, params.model_dump(), tuple(items), practice, other, real, tuple(blocks), tuple(pages), orders)
    if study.minutes > params.max_minutes:
        raise RetimbreError(
            f"listening.max_minutes is {params.max_minutes:g} and a session would take about {study.minutes:.0f} minutes: "
            "lower listening.pages_per_condition or take a block or system out."
        )
    return study
