"""Answers with known effects, in the form of real ones, to try a study before people give their time to it.

A rating is a latent value (mean of the system + listener + item + noise) rounded and cut to 1..5; a
preference is a logistic choice between latent means. Every record says ``simulated: true`` and the analysis
stamps what it makes of it.
"""

import math
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pandas

from retimbre.errors import RetimbreError
from retimbre.listening.bundle import read_frozen, read_key
from retimbre.listening.questions import NONE_OF_THESE
from retimbre.listening.responses import Answer, Plan, Record, Store

LISTENER_SD, ITEM_SD, NOISE_SD = 0.4, 0.3, 0.7  # scale points
BASE = 3.0  # of baselines, on every scale
CONTROL_MEANS = {  # question -> latent means of the controls
    "content": {"oracle": 4.9, "copy": 5.2, "unrelated": 0.9},
    "likeness": {"oracle": 5.0, "copy": 0.9, "unrelated": 5.0},
    "quality": {"target": 4.8, "unrelated": 4.8, "anchor": 1.6},
    "style": {"target": 4.8, "unrelated": 4.8},
    "similar": {"target": 3.2, "unrelated": 1.2},
    "preference": {"oracle": 5.0, "target": 5.0},
    "multi": {"oracle": 4.8, "copy": 1.5},
}
RECOGNISED = {"target": 0.9, "unrelated": 0.9, "copy": 0.05}  # share that names the wanted instrument
STEEPNESS = 1.5  # of preference, log-odds per scale point
UTC = "2000-01-01T00:00:00Z"  # a simulation has no time of its own, and equal seeds give equal answers


class World:
    """Systems that are ``effect`` scale points better than the baselines, and the items they play."""

    def __init__(
        self, frozen: dict[str, Any], key: pandas.DataFrame, effect: float, rng: np.random.Generator
    ):
        self.systems, self.key, self.effect, self.rng = frozen["params"]["systems"], key, effect, rng
        self.items = {item["name"]: item for item in frozen["items"]}
        self.difficulty = {name: rng.normal(0, ITEM_SD) for name in self.items}

    def mean(self, question: str, system: str) -> float:
        """Latent mean: baselines at 3, systems above, controls where they belong."""
        return CONTROL_MEANS.get(question, {}).get(system, BASE + self.effect * (system in self.systems))

    def value(self, question: dict[str, Any], token: str, listener: float) -> int | str:
        """An answer to ``question`` on a clip."""
        name = question["key"]
        if question["kind"] == "choice" and name != "instrument":
            return str(self.rng.choice([value for value, _ in question["options"]]))
        clip = self.key.loc[token]
        if name == "instrument":
            item = self.items[clip["item"]]
            share = RECOGNISED.get(clip.system, 0.4 + 0.25 * self.effect * (clip.system in self.systems))
            if self.rng.random() < min(share, 0.95):
                return item["target_domain"]
            return item["source_domain"] if self.rng.random() < 0.8 else NONE_OF_THESE
        latent = self.mean(name, clip.system) + listener + self.difficulty.get(clip["item"], 0.0)
        latent += self.rng.normal(0, NOISE_SD)
        if question["kind"] == "slider":
            return int(np.clip(round(25 * (latent - 1)), 0, 100))
        return int(np.clip(round(latent), 1, 5))

    def answers(self, question: dict[str, Any], rated: dict[str, str], listener: float) -> list[Answer]:
        """All answers to a question about the clips ``rated`` (slot -> token)."""
        if question["kind"] != "pair":
            values = {slot: self.value(question, token, listener) for slot, token in rated.items()}
        else:
            gap = np.subtract(*(self.mean(question["key"], self.key.system[t]) for t in rated.values()))
            chosen = list(rated)[int(self.rng.random() > 1 / (1 + math.exp(-STEEPNESS * gap)))]
            values = {chosen: chosen}
        return [Answer(question=question["key"], slot=s, value=v) for s, v in values.items()]


def simulate(folder: Path, listeners: int = 24, effect: float = 0.8, seed: int = 0) -> tuple[int, int]:
    """Add simulated listeners to a built study; returns their number and that of their pages.

    ``effect``: how much better the systems are than the baselines, in scale points. Raises RetimbreError: no
    study, a number out of range, or real answers there, which must not be mixed with made-up ones.
    """
    if not 1 <= listeners <= 10_000:
        raise RetimbreError(f"--listeners {listeners} must be 1 to 10000.")
    if not -4 <= effect <= 4:
        raise RetimbreError(f"--effect {effect} must be -4 to 4 scale points.")
    frozen, plan, rng = read_frozen(folder), Plan.load(folder), np.random.default_rng(seed)
    world = World(frozen, read_key(folder), effect, rng)
    common = {"study_hash": plan.hash, "utc": UTC, "agent": "simulated"}
    common |= {"headphones_pass": None, "simulated": True}
    pages = 0
    with Store(folder, plan) as store:
        if not store.table().simulated.all():
            raise RetimbreError(f"{folder} holds answers of people: simulate under another listening.study.")
        with store.writing():
            for _ in range(listeners):
                session, listener = rng.bytes(16).hex(), rng.normal(0, LISTENER_SD)
                try:
                    order = store.start(session)
                except sqlite3.IntegrityError:
                    raise RetimbreError(
                        f"--seed {seed} was simulated into {folder} before: give another."
                    ) from None
                for trial in range(len(plan.orders[order]) + 1):
                    page, block, _ = plan.place(order, trial)
                    rated, asked, clips = plan.rated(page), plan.asked(block).values(), plan.clips(page)
                    answers = [a for question in asked for a in world.answers(question, rated, listener)]
                    seconds = len(clips) * frozen["params"]["clip_s"] + rng.lognormal(1.0, 0.5)
                    given = {"rt_ms": int(1000 * seconds), "plays": dict.fromkeys(clips, 1)}
                    store.add(Record(**common, **given, answers=answers, session=session, trial=trial))
                pages += 1 + len(plan.orders[order])
    return listeners, pages
