"""``retimbre classify``. Heavy imports wait until it runs."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retimbre.errors import RetimbreError
from retimbre.paths import shown
from retimbre.progress import say

if TYPE_CHECKING:
    from retimbre.classifiers.bench.listener import Listener, Moment

LISTED = 3  # of the likeliest instruments


def classify(args: argparse.Namespace) -> None:
    from retimbre.classifiers.bench.listener import Listener, runs

    listener, found, failed = Listener.load(), {}, 0
    for path in args.files:
        try:
            moments = listener.hear(path)
        except RetimbreError as error:
            if len(args.files) == 1:
                raise
            failed += 1
            say(shown(f"error: {error}"), sys.stderr)
            continue
        whole = listener.whole(moments)
        if args.json:
            found[str(path)] = {
                "whole": described(whole, listener),
                "windows": [described(m, listener) for m in moments],
            }
            continue
        print(shown(f"{path}: {line(whole, listener)}"))
        rows = list(runs(moments))
        if len(rows) > 1:
            for row in rows:
                print(f"  {clock(row.start_s):>7} – {clock(row.end_s):>7}  {line(row, listener)}")
    if args.json:
        print(shown(json.dumps(found, indent=1)))
    if failed:
        raise RetimbreError(f"{failed} of {len(args.files)} could not be heard, for the reasons above.")


def clock(seconds: float) -> str:
    """Minutes and seconds, to a tenth."""
    tenths = round(10 * seconds)
    return f"{tenths // 600}:{tenths // 10 % 60:02d}.{tenths % 10}"


def likeliest(moment: "Moment", listener: "Listener") -> list[tuple[str, float]]:
    """Instruments with their probabilities, the likeliest first."""
    order = (-moment.probabilities).argsort()
    return [(listener.classes[k], float(moment.probabilities[k])) for k in order]


def line(moment: "Moment", listener: "Listener") -> str:
    """A stretch as a line of text: its name, and the likeliest instruments."""
    if not moment.probabilities.any():
        return moment.called
    named = ", ".join(f"{name} {p:.2f}" for name, p in likeliest(moment, listener)[:LISTED])
    return f"{moment.called:<14} {named}"


def described(moment: "Moment", listener: "Listener") -> dict[str, Any]:
    """A stretch for JSON; ``instrument`` is null for silence and for none of the instruments."""
    known = moment.called in listener.classes
    return {
        "start_s": round(moment.start_s, 3),
        "end_s": round(moment.end_s, 3),
        "called": moment.called,
        "instrument": moment.called if known else None,
        "probabilities": {name: round(p, 4) for name, p in likeliest(moment, listener)},
    }


def add_classify(commands: argparse._SubParsersAction) -> None:
    """Add ``classify``."""
    p = commands.add_parser(
        "classify",
        help="say which instrument plays in recordings, over time",
        description="Say which of twelve instruments plays in recordings, over time, with probabilities: by "
        "windows of 3 s that overlap by half. Where none of them is likely enough it says `none of these`.",
    )
    p.add_argument("files", nargs="+", type=Path, metavar="FILE", help="recordings")
    p.add_argument("--json", action="store_true", help="print every window with all probabilities as JSON")
    p.set_defaults(run=classify)
