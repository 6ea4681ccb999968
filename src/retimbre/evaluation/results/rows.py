"""Rows of the table: which groups they are of, in which order they stand, what they are."""

import importlib
from collections.abc import Iterable
from typing import get_args

import pandas

from retimbre.systems import catalogue
from retimbre.systems.baselines.params import Baselines
from retimbre.vocoders.kinds import KINDS

GROUPS = ("controls", "baselines", "systems", "vocoders alone")
CONTROLS = {
    "copy": "Control: the source, unchanged. Best content, no transfer.",
    "eq_match": "Control: the source with the target's average spectrum (an equaliser).",
    "eq_affine": "Control: the source with the target's average and spread in every frequency bin.",
    "oracle": "Control: another performance of the score on the true target instrument. As good as it gets.",
    "unrelated": "Control: the target instrument playing another tune. Best timbre, no content.",
}
FIRST, FIRST_CONTROLS = 6, ("copy", "eq_match", "oracle")
SCRAMBLED = "_scrambled"  # ends the names of controls of systems that hear what is played
RECORDINGS = {
    "source": "What is to be transferred.",
    "target": "The same performance on the target: a perfect transfer.",
}
BASELINES: tuple[str, ...] = get_args(get_args(Baselines.model_fields["systems"].annotation)[0])


def group_of(row: str) -> str:
    """The group of :data:`GROUPS` that a row belongs to."""
    if row in CONTROLS or row.endswith(SCRAMBLED):
        return "controls"
    if row.startswith("vocoder_"):
        return "vocoders alone"
    return "baselines" if row in BASELINES else "systems"


def in_order(rows: Iterable[str]) -> list[str]:
    """Rows by group, within a group as given."""
    names = list(dict.fromkeys(rows))
    return [name for group in GROUPS for name in names if group_of(name) == group]


def main_system(table: pandas.DataFrame) -> str | None:
    """The system that pictures and rankings are about: the first default one, else the first no control."""
    rows = list(table.system.unique())
    others = [row for group in ("systems", "baselines") for row in rows if group_of(row) == group]
    return next((name for name in (*catalogue.DEFAULTS, *others) if name in rows), None)


def way_of(row: str) -> tuple[str, str]:
    """A row's name without the kind of vocoder at its end, and that kind ("" without one)."""
    kind = next((kind for kind in sorted(KINDS, key=len, reverse=True) if row.endswith(f"_{kind}")), "")
    return row.removesuffix(f"_{kind}"), kind


def shown_first(table: pandas.DataFrame) -> list[str]:
    """At most six rows, in order, that tell the most: copy, an equaliser, the oracle; the systems, each in
    one way; if there is room, the baselines with the highest skill.
    """
    rows = [row for row in in_order(table.system.unique()) if not way_of(row)[1]]
    skill = table[table.metric == "skill"].groupby("system").value.mean()
    controls = [row for row in rows if row in FIRST_CONTROLS]
    systems = [row for row in rows if group_of(row) == "systems"]
    baselines = [row for row in rows if group_of(row) == "baselines"]
    baselines.sort(key=lambda row: skill.get(row, float("-inf")), reverse=True)
    chosen = [*controls, *systems, *baselines][:FIRST]
    return [row for row in rows if row in chosen]


def about(row: str) -> str:
    """A sentence on a row of the table, or on a recording that is played beside it."""
    if fixed := (CONTROLS | RECORDINGS).get(row):
        return fixed
    if row.endswith(SCRAMBLED):
        return (
            f"Control: {row.removesuffix(SCRAMBLED)}, but what is heard is another piece. What comes near "
            "the true target all the same does not come from there."
        )
    name, kind = way_of(row)
    spoken = kind.replace("_", " ")
    if name == "vocoder":
        return f"The true target rebuilt from its own spectrum ({spoken}): the best that this vocoder allows."
    if name in BASELINES:
        module = importlib.import_module(f"retimbre.systems.baselines.{name}")
        return f"Baseline: {(module.__doc__ or '').partition(chr(10))[0]}"
    sentence = catalogue.about(name)
    if kind:
        phases = ", on the source's phases" if KINDS[kind].needs_source else ""
        few = ", on a few pieces" if KINDS[kind].slow else ""
        sentence += f" Heard through the vocoder {spoken}{phases}{few}."
    return sentence.strip()
