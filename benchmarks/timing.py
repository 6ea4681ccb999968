"""Interleaved timing: all routes of a case run in one process, round after round (A B C A B C ...).

Only ratios within a round are compared, so that a busy machine slows every route alike.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

MIN_SECONDS = 0.15  # of one measurement; faster calls are repeated
SLOW_SECONDS, SLOW_ROUNDS = 3.0, 3  # a case with a call that takes longer is run in fewer rounds


@dataclass
class Route:
    """One way to do a case's work. ``call()`` handles ``units`` units (seconds of audio, samples)."""

    name: str
    call: Callable[[], object]
    units: float
    rates: list[float] = field(default_factory=list)  # units per second, one a round


@dataclass
class Case:
    """Routes that do the same work; ``against`` is the peer that ratios refer to (None: there is none)."""

    group: str
    name: str
    unit: str
    routes: list[Route]
    against: str | None
    threads: int = 1
    limits: dict[str, Callable[[], tuple[Callable[[], object], float]]] = field(default_factory=dict)
    limit_for: str = ""  # the route that is compared with the limits
    note: str = ""


def measure(case: Case, rounds: int) -> list[dict]:
    """Run a case; one row per route with the median rate and min, median and max of the ratio to the peer.

    One-thread cases count the CPU seconds of this process (what the work costs even if others use the
    cores), others wall time.
    """
    clock = time.process_time if case.threads == 1 else time.perf_counter
    limits = [Route(f"limit: {name}", *make()) for name, make in case.limits.items()]
    everything = case.routes + limits
    repeats = {}
    for route in everything:
        took = _seconds(route.call, clock)  # compiles, caches, allocates
        if took < SLOW_SECONDS:
            took = _seconds(route.call, clock)
        if took >= SLOW_SECONDS:
            rounds = min(rounds, SLOW_ROUNDS)
        repeats[route.name] = max(1, round(MIN_SECONDS / max(took, 1e-6)))
    for _ in range(rounds):
        for route in everything:
            began = clock()
            for _ in range(repeats[route.name]):
                route.call()
            route.rates.append(route.units * repeats[route.name] / max(clock() - began, 1e-9))
    by_name = {route.name: route for route in everything}
    return [_row(case, route, by_name, [limit.name for limit in limits]) for route in everything]


def _seconds(call: Callable[[], object], clock: Callable[[], float]) -> float:
    began = clock()
    call()
    return clock() - began


def _row(case: Case, route: Route, by_name: dict[str, Route], limits: list[str]) -> dict:
    def beside(other: str) -> dict[str, float]:
        return _spread([a / b for a, b in zip(route.rates, by_name[other].rates, strict=True)])

    what = {"group": case.group, "case": case.name, "route": route.name, "unit": case.unit}
    measured = {"threads": case.threads, "rounds": len(route.rates), "rate": _spread(route.rates)}
    compared = {"against": case.against, "ratio": None, "share_of_limit": None}
    if case.against and route.name not in limits:
        compared["ratio"] = beside(case.against)
    if limits and route.name == case.limit_for:
        compared["share_of_limit"] = {limit: beside(limit)["median"] for limit in limits}
    return {**what, **measured, **compared, "note": case.note}


def _spread(values: list[float]) -> dict[str, float]:
    return {"min": min(values), "median": statistics.median(values), "max": max(values)}
