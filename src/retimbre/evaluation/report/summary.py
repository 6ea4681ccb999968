"""A run in a few plain sentences, for readers without the field's vocabulary; every figure is a metric's."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from retimbre.evaluation.report.legend import spoken
from retimbre.evaluation.results.rows import group_of, way_of

Metrics = Mapping[str, Mapping[str, float]]  # system -> metric -> mean
SOUND, NOTES, EQ = "style_beyond_eq", "content_note_f1", "eq_match"
WORST = {SOUND: "copy", NOTES: "unrelated"}  # controls at the two ends of each
BEST = {SOUND: ("unrelated",), NOTES: ("oracle", "copy")}  # the first that there is
MOST, SOME = 0.8, 0.4  # of the way between them


class Answer(NamedTuple):
    """A question that a reader has, and what the run says of it."""

    question: str
    text: str


def reached(metrics: Metrics, system: str | None, metric: str) -> float | None:
    """Share of the way from the worst control (0) to the best (1) that a system has gone; None: not known."""
    best = next((row for row in BEST[metric] if row in metrics), None)
    rows = [metrics.get(row or "", {}).get(metric) for row in (system, WORST[metric], best)]
    if None in rows or rows[1] == rows[2]:
        return None
    value, low, high = rows
    return (value - low) / (high - low)


def _verdict(share: float) -> str:
    return "Yes" if share >= MOST else "Partly" if share >= SOME else "No"


def _listed(names: Sequence[str]) -> str:
    """``a, b and c``."""
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _methods(metrics: Metrics) -> list[str]:
    """Rows that are neither controls nor vocoders alone."""
    return [row for row in metrics if group_of(row) in ("systems", "baselines")]


def _tried(metrics: Metrics, main: str | None, directions: Sequence[str], pieces: int) -> str:
    methods = {way_of(row)[0] for row in _methods(metrics)}
    ways = _listed(
        [f"from {direction.replace('_to_', ' to ').replace('_', ' ')}" for direction in directions]
    )
    music = "1 piece was" if pieces == 1 else f"{pieces} pieces were"
    many = "1 method" if len(methods) == 1 else f"{len(methods)} methods"
    text = f"{music} turned {ways}, unheard in training, by {many}."
    return f"{text} The next lines are about the main one, {spoken(main)}." if main else text


def _sound(metrics: Metrics, main: str | None) -> str:
    share = reached(metrics, main, SOUND)
    if share is None:
        return "Not measured."
    made, real, eq = (metrics[row].get(SOUND) if row in metrics else None for row in (main, "unrelated", EQ))
    text = (
        f"{_verdict(share)}. A program trained on real recordings takes {made:.0%} of its sound for the real "
        f"instrument, {real:.0%} of real recordings"
    )
    return f"{text}, and {eq:.0%} of the original through an equaliser." if eq is not None else f"{text}."


def _notes(metrics: Metrics, main: str | None) -> str:
    share = reached(metrics, main, NOTES)
    if share is None:
        return "Not measured."
    text = f"{_verdict(share)}. Its notes agree with the original's to {metrics[main][NOTES]:.0%}"
    if oracle := metrics.get("oracle"):
        return (
            f"{text}, those of a second real performance to {oracle[NOTES]:.0%}: the program that hears them "
            "makes mistakes, too."
        )
    return f"{text}."


def _failed(metrics: Metrics, main: str | None) -> str:
    said, made = [], metrics.get(main or "", {})
    untouched = min(metrics.get(row, {}).get("feature_lsd", float("inf")) for row in ("copy", EQ))
    if made.get("fail_muted", 0) > 0:
        said.append(f"{made['fail_muted']:.0%} of the outputs of {spoken(main)} are nearly silent.")
    if made.get("feature_lsd", 0) >= untouched:
        said.append(
            f"{spoken(main).capitalize()} comes no nearer to the true target than an equaliser or the "
            "unchanged original: its training failed."
        )
    for metric, words in ((SOUND, "These do not sound like the target"), (NOTES, "These lose the notes")):
        shares = {row: reached(metrics, row, metric) for row in _methods(metrics)}
        far = [spoken(row) for row, share in shares.items() if share is not None and share < SOME]
        said += [f"{words}: {_listed(far)}."] if far else []
    return " ".join(said) or "Nothing by these measures."


def summary(metrics: Metrics, main: str | None, directions: Sequence[str], pieces: int) -> list[Answer]:
    """Answers: what was tried, whether it sounds like the target, whether the notes are kept, what failed.

    ``metrics``: means by system, of :func:`retimbre.evaluation.results.table.summarise`; ``main``: the
    system that the answers are about; ``pieces``: how many were tried.
    """
    return [
        Answer("What was tried?", _tried(metrics, main, directions, pieces)),
        Answer("Does it sound like the target?", _sound(metrics, main)),
        Answer("Are the notes kept?", _notes(metrics, main)),
        Answer("What failed?", _failed(metrics, main)),
    ]
