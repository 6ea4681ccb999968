"""Answers with known effects, in the form of real ones, to try a study before people give their time to it.

A rating is a latent value (mean of the system + listener + item + noise) rounded and cut to 1..5; a preference is a logistic
choice between latent values. Every record says ``simulated: true`` and the analysis stamps what it makes of it.
"""

from pathlib import Path
from typing import Any

import numpy as np

from retimbre.errors import RetimbreError
from retimbre.listening.bundle import Key, read_frozen, read_key
from retimbre.listening.questions import EXAMPLE, NONE_OF_THESE, ORIGINAL
from retimbre.listening.responses import Answer, Plan, Record, Store

LISTENER_SD, ITEM_SD, NOISE_SD = 0.4, 0.3, 0.7  # scale points
BASE = 3.0  # of baselines, on every scale
CONTROL_MEANS = {  # question -> latent means of the controls
    "content": {"oracle": 4.9, "copy": 5.2, "unrelated": 0.9},
    "likeness": {"oracle": 5.0, "copy": 0.9, "unrelated": 5.0},
    "quality": {"target": 4.8, "unrelated": 4.8, "anchor": 1.6},
    "style": {"target": 4.8, "unrelated": 4.8},
    "similar": {"target": 3.2, "unrelated": 1.2},
    "preference": {"oracle": 5.0},
    "multi": {"oracle": 4.8, "copy": 1.5},
}
RECOGNISED = {"target": 0.9, "unrelated": 0.9, "copy": 0.05}  # share of answers that name the wanted instrument
STEEPNESS = 1.5  # of preference, log-odds per scale point


def latent_mean(question: str, system: str, systems: list[str], effect: float) -> float:
    """The mean that answers are drawn around: baselines at 3, systems ``effect`` above, controls where they belong."""
    return CONTROL_MEANS.get(question, {}).get(system, BASE + (effect if system in systems else 0.0))


def draw_ratings(
    rng: np.random.Generator, means: np.ndarray, listeners: int, items: int, noise: float = NOISE_SD
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Ratings of a full design: values, listener, item and system numbers, each (listeners * items * systems,)."""
    person = rng.normal(0, LISTENER_SD, (listeners, 1, 1))
    piece = rng.normal(0, ITEM_SD, (1, items, 1))
    latent = np.asarray(means)[None, None, :] + person + piece + rng.normal(0, noise, (listeners, items, len(means)))
    place = np.indices(latent.shape).reshape(3, -1)
    return np.clip(np.rint(latent), 1, 5).ravel(), place[0], place[1], place[2]


def _answers(page: dict[str, Any], block: dict[str, Any], key: dict[str, Key], world: dict[str, Any], person: float) -> list[Answer]:
    rng, systems, effect = world["rng"], world["systems"], world["effect"]
    judged = [(slot, token) for slot, token in page["clips"] if slot not in (ORIGINAL, EXAMPLE)]

    def latent(question: str, token: str) -> float:
        clip = key[token]
        return latent_mean(question, clip.system, systems, effect) + person + world["items"].get(clip.item, 0.0) + rng.normal(0, NOISE_SD)

    answers = []
    for question in block["questions"]:
        name, kind = question["key"], question["kind"]
        if kind == "pair":
            (first, one), (second, two) = judged
            gap = latent_mean(name, key[one].system, systems, effect) - latent_mean(name, key[two].system, systems, effect)
            slot, token = (first, one) if rng.random() < 1 / (1 + np.exp(-STEEPNESS * gap)) else (second, two)
            answers.append(Answer(question=name, slot=slot, token=token, value=slot))
            continue
        for slot, token in judged:
            if name == "instrument":
                clip = key[token]
                wanted, source = world["wanted"][clip.item], world["source"][clip.item]
                share = RECOGNISED.get(clip.system, 0.4 + (0.25 * effect if clip.system in systems else 0.0))
                value = wanted if rng.random() < min(share, 0.95) else source if rng.random() < 0.8 else NONE_OF_THESE
            elif kind == "choice":
                value = str(rng.choice([option for option, _ in question["options"]]))
            elif kind == "slider":
                value = int(np.clip(round(25 * (latent(name, token) - 1)), 0, 100))
            else:
                value = int(np.clip(round(latent(name, token)), 1, 5))
            answers.append(Answer(question=name, slot=slot, token=token, value=value))
    return answers


def simulate(folder: Path, listeners: int = 24, effect: float = 0.8, seed: int = 0) -> tuple[int, int]:
    """Add simulated listeners to a built study; returns their number and that of their pages.

    ``effect``: how much better the systems are than the baselines, in scale points. Raises RetimbreError: no study, a number out of
    range, or real answers there, which must not be mixed with made-up ones.
    """
    if not 1 <= listeners <= 10_000:
        raise RetimbreError(f"--listeners {listeners} must be 1 to 10000.")
    if not -4 <= effect <= 4:
        raise RetimbreError(f"--effect {effect} must be -4 to 4 scale points.")
    plan, key, served = read_frozen(folder), read_key(folder), Plan.load(folder)
    rng = np.random.default_rng(seed)
    world = {
        "rng": rng,
        "systems": plan["params"]["systems"],
        "effect": effect,
        "items": {item["name"]: rng.normal(0, ITEM_SD) for item in plan["items"]},
        "wanted": {item["name"]: item["target_domain"] for item in plan["items"]},
        "source": {item["name"]: item["source_domain"] for item in plan["items"]},
    }
    records: list[Record] = []
    for number in range(listeners):
        session, person = rng.bytes(16).hex(), rng.normal(0, LISTENER_SD)
        order = number % len(served.orders)
        common = {"study": served.study, "study_hash": served.hash, "session": session, "order": order, "agent": "simulated"}
        common |= {"headphones_pass": None, "simulated": True}
        about = [
            Answer(question=q["key"], slot="", token="", value=str(rng.choice([v for v, _ in q["options"]])))
            for q in served.served["about"]
        ]
        stamp = "2000-01-01T00:00:00Z"  # a simulation has no time of its own, and equal seeds give equal files
        records.append(
            Record(trial=0, page="about", block="about", repeat_of=None, answers=about, rt_ms=9000, plays={}, utc=stamp, **common)
        )
        for trial, (name, repeats) in enumerate(served.orders[order], 1):
            page = served.pages[name]
            seconds = len(page["clips"]) * plan["params"]["clip_s"] + rng.lognormal(1.0, 0.5)
            answers = _answers(page, served.blocks[page["block"]], key, world, person)
            place = {"trial": trial, "page": name, "block": page["block"], "repeat_of": repeats, "answers": answers}
            plays = {slot: 1 for slot, _ in page["clips"]}
            records.append(Record(**place, rt_ms=int(1000 * seconds), plays=plays, utc=stamp, **common))
    with Store(folder, served) as store:
        if any(not record.simulated for record in store.records()):
            raise RetimbreError(f"{folder} holds answers of people: simulate under another listening.study.")
        try:
            new = store.add(records)
        except ValueError:
            raise RetimbreError(f"--seed {seed} was simulated into {folder} before: give another seed.") from None
    if new == 0:
        raise RetimbreError(f"--seed {seed} was simulated into {folder} before: give another seed.")
    return listeners, new
