"""Does the suite measure what it says? The order of the control rows, asserted on every run.

The answers are known: ``copy`` keeps everything and changes nothing, ``unrelated`` is the target instrument
with other notes, ``oracle`` is the right notes on the right instrument. A metric that puts them in another
order is broken on these data (a classifier that did not learn, a tracker that hears nothing), and no number
of the table may be believed.

Checks compare means over the items of one direction that both rows have. ``near`` means: on the right side
of the middle between the two ends, which asks no particular value of any data set.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas

from retimbre.errors import RetimbreError

LEAST_ITEMS = 6  # per direction: with fewer, one odd piece decides an order
# Of shares and of F1: two rows that ought to be equal may differ by one window or note in twenty.
SLACK = 0.05


@dataclass(frozen=True)
class Check:
    """One assertion: ``holds`` of the means of ``rows`` in ``metric``; ``why`` it must."""

    metric: str
    rows: tuple[str, ...]
    holds: Callable[..., bool]
    says: str
    why: str


def _style(metric: str) -> tuple[Check, ...]:
    """Copy is worst, unrelated is best, oracle is near unrelated."""
    return (
        Check(metric, ("copy", "unrelated", "eq_match"), lambda c, u, e: c <= e + SLACK and c < u,
              "copy is worst", "it is the source instrument"),
        Check(metric, ("unrelated", "copy"), lambda u, c: u > c + 0.3,
              "the classifier tells copy from unrelated", "they are two instruments"),
        Check(metric, ("oracle", "unrelated", "copy"), lambda o, u, c: o >= u - 0.3 and o > (u + c) / 2,
              "oracle is near unrelated", "both are the target instrument"),
    )  # fmt: skip


CHECKS = (
    # Content: copy is best, unrelated is worst, oracle is near copy.
    Check("content_note_f1", ("copy",), lambda c: c >= 0.999, "copy keeps every note", "it is the source"),
    Check("content_note_f1", ("copy", "oracle", "unrelated"), lambda c, o, u: c >= o > (c + u) / 2,
          "oracle is nearer to copy than to unrelated", "it plays the source's score"),
    Check("content_note_f1", ("unrelated", "copy"), lambda u, c: u < c / 2,
          "unrelated loses most notes", "it plays another tune"),
    Check("content_note_f1", ("eq_match", "unrelated"), lambda e, u: e > u,
          "eq_match keeps more than unrelated", "an equaliser keeps notes"),
    Check("content_jaccard", ("copy",), lambda c: c <= 0.001,
          "copy has the source's pitches", "it is the source"),
    Check("content_jaccard", ("copy", "oracle", "unrelated"), lambda c, o, u: c <= o < (c + u) / 2,
          "oracle is nearer to copy than to unrelated", "it plays the source's score"),
    *_style("style_target_rate"),
    *_style("style_beyond_eq"),
    # An equaliser fools the style classifier, which is why there is the hard one: it must not fool that, too.
    *(
        Check("style_beyond_eq", (row, "oracle", "copy"), lambda e, o, c: e < (o + c) / 2,
              f"{row} does not pass for the target", "an equalised source is not the target instrument")
        for row in ("eq_match", "eq_affine")
    ),
    # The score's notes, counted and weighed: oracle plays it, unrelated another.
    Check("score_f1", ("oracle", "unrelated"), lambda o, u: o > u,
          "oracle plays more of the score than unrelated", "it plays the score"),
    Check("energy_lost", ("oracle", "unrelated"), lambda o, u: o < u,
          "oracle loses fewer notes than unrelated", "it plays the score"),
    # Distance to the true target: what skill is scaled by.
    Check("feature_lsd", ("oracle", "copy"), lambda o, c: o < c,
          "oracle is nearer to the true target than copy", "skill is scaled by it"),
    Check("feature_lsd", ("copy", "unrelated"), lambda c, u: c < u,
          "copy is nearer than unrelated", "it plays the target's notes"),
    Check("paired_lsd", ("oracle", "unrelated"), lambda o, u: o < u,
          "oracle is nearer than unrelated", "it plays the target's notes"),
)  # fmt: skip


@dataclass(frozen=True)
class Calibration:
    """``checks``: what was asserted -> whether it holds; sentences on those that ``failed``; ``note``: why
    nothing was checked (empty when something was).
    """

    checks: dict[str, bool]
    failed: tuple[str, ...]
    note: str

    @property
    def verdict(self) -> str:
        """One sentence for the table."""
        if self.note:
            return f"calibration: {self.note}"
        total = len(self.checks)
        if not self.failed:
            return f"calibration: the controls stand in the right order ({total} of {total} checks)"
        said = "; ".join(self.failed)
        failed = f"CALIBRATION FAILED, believe no number of this table ({len(self.failed)} of {total} checks)"
        return f"{failed}: {said}"

    def to_metrics(self) -> dict[str, Any]:
        """The entry ``calibration`` of ``metrics/evaluation.json``."""
        return {"passed": sum(self.checks.values()), "failed": len(self.failed), "verdict": self.verdict}

    def require(self, where: str) -> None:
        """Raise RetimbreError naming what failed and ``where`` to look, when something failed."""
        if self.failed:
            raise RetimbreError(
                f"the evaluation fails its own calibration ({'; '.join(self.failed)}), so its numbers mean "
                f"nothing on these data: everything was written, look at {where}"
            )


def calibrate(table: pandas.DataFrame) -> Calibration:
    """Check the long table's control rows, each direction on its own. Checks whose rows or metric are not
    there (no true target, no oracle) are left out.
    """
    used = table[table.metric.isin({c.metric for c in CHECKS}) & (table["item"] != "all")]
    checks: dict[str, bool] = {}
    failed: list[str] = []
    counts: list[int] = []
    for direction, part in used.groupby("direction", sort=False):
        wide = part.pivot(index=["metric", "item"], columns="system", values="value")
        for check in CHECKS:
            if check.metric not in wide.index.levels[0] or not set(check.rows) <= set(wide.columns):
                continue
            items = wide.loc[check.metric][list(check.rows)].dropna()
            counts += [len(items)] if len(items) else []
            if len(items) < LEAST_ITEMS:
                continue
            means, what = items.mean(), f"{direction}, {check.metric}"
            checks[f"{what}: {check.says}"] = bool(check.holds(*means))
            if not check.holds(*means):
                values = ", ".join(f"{row} {value:.3g}" for row, value in means.items())
                failed.append(f"{what}: it is not so that {check.says} ({check.why}), but {values}")
    if checks:
        return Calibration(checks, tuple(failed), "")
    if not counts:
        return Calibration({}, (), "no control rows to check")
    few = f"not enough items to calibrate ({min(counts)} per direction, {LEAST_ITEMS} are needed)"
    return Calibration({}, (), f"{few}: the controls were not checked")
