"""Every row on every item of the test set: outputs, times, scores; only what is not known yet.

Each output has its own seed and is computed with one thread, so results do not depend on the number of
processes, on the order, or on which outputs were kept from an earlier run (see
:mod:`retimbre.evaluation.bench.cache`). What an interrupted run finished is found by the next one.
"""

import pickle
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import as_completed
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any

from retimbre.evaluation.bench.cache import Cache, Stored
from retimbre.evaluation.bench.rows import Row
from retimbre.evaluation.bench.scoring import Result, Scored, Scorer
from retimbre.evaluation.bench.sets import RealSet, set_records
from retimbre.evaluation.bench.testset import Item, Output
from retimbre.progress import Progress
from retimbre.provenance import code_of, digest, versions
from retimbre.training.devices import one_thread
from retimbre.workers import worker_pool

MakeScorer = Callable[[], Scorer]  # picklable, such as partial(Scorer, classifiers, ...)
LARGE = {"notes"}  # fields of Scored that are read from the cache when somebody asks for them
FEW = 4  # outputs that are not worth starting processes for


@dataclass(frozen=True)
class Job:
    """One output to be made and scored: place of its row, keys of the output and of what scores it."""

    row: int
    key: str
    scoring: str


@dataclass(frozen=True)
class Bench:
    """What a process needs to make and score outputs."""

    rows: list[Row]
    make_scorer: MakeScorer
    cache: Cache
    seed: int


def item_key(item: Item) -> str:
    """Digest of everything about an item that a system is given: all but its ``range`` and its ``score``."""
    given = [field.name for field in fields(item) if field.name not in ("range", "score")]
    return digest({name: getattr(item, name) for name in given})


def scorer_key(make_scorer: MakeScorer) -> str:
    """Changes with the classifiers' weights, the settings, the metrics' code and the libraries."""
    given = []
    if isinstance(make_scorer, partial):
        given = [make_scorer.func.__qualname__, make_scorer.args, make_scorer.keywords]
    return digest(given, code_of("retimbre.evaluation.bench.scoring"), versions())


def score_key(job: Job, output: Output) -> str:
    """Scores belong to samples and levels."""
    return digest(job.scoring, output.audio, output.level_db)


def kept(cache: Cache, job: Job, item: Item) -> Result | None:
    """The output and its scores from an earlier run, both or neither. Neither lies in memory."""
    output = cache.get("outputs", job.key)
    if not isinstance(output, Output):
        return None
    key = score_key(job, output)
    scored = cache.get("scores", key)
    if not isinstance(scored, Scored):
        return None
    return _light(cache, job.key, key, item, output, scored)


def _light(
    cache: Cache, output_key: str, scored_key: str, item: Item, output: Output, scored: Scored
) -> Result:
    """A result whose audio and notes are read from the cache when they are asked for."""
    heard = Stored(cache, "outputs", output_key, seconds=output.seconds)
    held = {field.name: getattr(scored, field.name) for field in fields(scored) if field.name not in LARGE}
    return Result("", item, heard, Stored(cache, "scores", scored_key, **held))


def work(bench: Bench, scorer: Scorer, item: Item, jobs: list[Job]) -> Iterator[Result]:
    """Make and score outputs of one item; results without the row's name, in the jobs' order."""
    for job in jobs:
        row = bench.rows[job.row]
        output = bench.cache.get("outputs", job.key)
        if not isinstance(output, Output):
            warm = scorer.config if row.name not in _tried else None
            _tried.add(row.name)
            output = row.render(item, bench.seed, warm)
        key = score_key(job, output)
        scored = bench.cache.get("scores", key)
        if not isinstance(scored, Scored):
            scored = scorer(item, output)
        if bench.cache.put("outputs", job.key, output) and bench.cache.put("scores", key, scored):
            yield _light(bench.cache, job.key, key, item, output, scored)
        else:
            yield Result("", item, output, scored)


_tried: set[str] = set()  # rows that this process has rendered before
_here: tuple[Bench, Scorer] | None = None  # of a worker process


def _start(pickled: bytes) -> None:
    """A worker process begins."""
    global _here
    bench: Bench = pickle.loads(pickled)
    _here = bench, bench.make_scorer()


def _work_here(item: Item, jobs: list[Job]) -> list[tuple[Any, Any]]:
    """In a worker process: outputs and scores, without the item, which the first process has."""
    bench, scorer = _here
    return [(r.output, r.scored) for r in work(bench, scorer, item, jobs)]


def _in_processes(
    bench: Bench, tasks: list[tuple[Item, list[Job]]], processes: int
) -> Iterator[tuple[Item, list[Job], list[Result]]]:
    """Tasks as they are finished."""
    advice = "lower machine.jobs; what was finished is kept"
    with worker_pool(processes, advice, _start, pickle.dumps(bench)) as pool:
        waiting = {pool.submit(_work_here, item, jobs): (item, jobs) for item, jobs in tasks}
        for done in as_completed(waiting):
            item, jobs = waiting[done]
            yield item, jobs, [Result("", item, output, scored) for output, scored in done.result()]


def run(
    items: list[Item],
    rows: list[Row],
    make_scorer: MakeScorer,
    cache: Cache | None = None,
    seed: int = 0,
    slow_items: int = 4,
    jobs: int = 1,
) -> list[Result]:
    """Outputs and scores of every row on every item that it applies to, items first, rows in their order.

    ``slow_items``: how many items of each direction slow rows are heard on. ``jobs``: processes; one thread
    each. Results with a cache read audio and notes from it when they are asked for.
    """
    cache = Cache(None) if cache is None else cache
    prints, scoring_key = [row.fingerprint() for row in rows], scorer_key(make_scorer)
    place: dict[str, int] = {}
    found: dict[tuple[str, int], Result | None] = {}
    fast: list[tuple[Item, list[Job]]] = []
    slow: list[tuple[Item, list[Job]]] = []
    for item in items:
        index = place[item.direction] = place.get(item.direction, -1) + 1
        key, missing = item_key(item), []
        for number, row in enumerate(rows):
            if not row.maker.applies(item) or (row.slow and index >= slow_items):
                continue
            scoring = digest(scoring_key, key, item.score)
            job = Job(number, digest(prints[number], key, row.seed(item, seed)), scoring)
            result = found[item.name, number] = kept(cache, job, item)
            if result is None:
                (slow.append((item, [job])) if row.slow else missing.append(job))
        fast += [(item, missing)] if missing else []
    bench, total = Bench(rows, make_scorer, cache, seed), len(found)
    todo = sum(len(missing) for _, missing in slow + fast)
    with Progress(total, "evaluate", "outputs") as progress, one_thread():
        progress.update(total - todo, f"{total - todo} kept from earlier runs" if todo < total else None)
        if jobs > 1 and todo > FEW:
            # Long ones first, so that none is left alone.
            for item, done, results in _in_processes(bench, slow + fast, jobs):
                found |= {(item.name, job.row): r for job, r in zip(done, results, strict=True)}
                progress.update(len(done), item.name)
        elif todo:
            scorer = make_scorer()
            for item, missing in slow + fast:
                for job, result in zip(missing, work(bench, scorer, item, missing), strict=True):
                    found[item.name, job.row] = result
                    progress.update(1, rows[job.row].name)
    return [replace(result, system=rows[number].name) for (_, number), result in found.items()]


def speeds(results: list[Result], sample_rate: int) -> dict[str, float]:
    """Real-time factors by system: seconds of one core per second of audio, two digits.

    They differ from run to run, so they are no output of the pipeline; recordings that are only played have
    none.
    """
    factors: dict[str, list[float]] = {}
    for r in results:
        factors.setdefault(r.system, []).append(r.output.seconds * sample_rate / len(r.output.audio))
    means = {system: sum(values) / len(values) for system, values in factors.items()}
    return {system: float(f"{mean:.2g}") for system, mean in means.items() if mean > 0}


def identity(items: list[Item], make_scorer: MakeScorer) -> dict[str, str]:
    """Digests that comparable runs share, ``data/evaluation/versions.json``.

    ``classifiers``: of their weights; ``metrics``: of the metrics' code, settings and libraries;
    ``test_set``: of the items.
    """
    classifiers = [given for given in getattr(make_scorer, "args", ()) if hasattr(given, "networks")]
    return {
        "classifiers": digest(classifiers),
        "metrics": digest(code_of("retimbre.evaluation.bench.scoring"), versions()),
        "test_set": digest([[item.name, item_key(item)] for item in items]),
    }


CONTROLS = {"copy", "oracle"}  # what other rows' shift is measured by


def set_values(results: list[Result], real: Mapping[str, RealSet], cache: Cache) -> list[dict[str, Any]]:
    """:func:`sets.set_records`, computed for the systems whose outputs or controls are not as they were."""
    code = digest(code_of("retimbre.evaluation.bench.sets"), versions())
    known = digest(dict(real))

    def heard(r: Result) -> list[Any]:
        return [r.item.name, r.item.stratum, r.scored.windows, r.scored.mfcc, r.scored.frames]

    controls = digest([heard(r) for r in results if r.system in CONTROLS])
    systems = list(dict.fromkeys(r.system for r in results))
    every = {s: [heard(r) for r in results if r.system == s] for s in systems}
    keys = {s: digest(code, known, controls, s, own) for s, own in every.items()}
    kept = {s: cache.get("sets", key) for s, key in keys.items()}
    missing = {s for s, values in kept.items() if values is None}
    if missing:
        made = set_records([r for r in results if r.system in missing | CONTROLS], real)
        for system in missing:
            kept[system] = [record for record in made if record["system"] == system]
            cache.put("sets", keys[system], kept[system])
    return [record for system in systems for record in kept[system]]
