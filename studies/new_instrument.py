"""A fourth instrument for a trained Universal Music Translation: what its decoder takes from the code.

``python studies/new_instrument.py`` trains the system on three instruments, with a classifier that must not
tell their codes, and then a decoder of the fourth alone, in a checkout below ``.scratch``. It prints a table
and goes on where it was interrupted. Half an hour of two cores.
"""

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT)]

from retimbre import errors  # noqa: E402
from retimbre.systems import catalogue  # noqa: E402
from studies.checkout import checked_out  # noqa: E402
from tools.figures import markdown  # noqa: E402

SCRATCH = ROOT / ".scratch" / "new_instrument"
THREE, FOURTH = ["piano", "guitar", "flute"], "violin"
HIDDEN = {"lambda_confusion": 5}  # docs/systems/umtn.md, "What was tried"
FROZEN = "three"  # folder of the trained three
HEAD = ("decoders of", "bits per sample", "gap, bits", "C's cross entropy", "C's accuracy", "chance")


def trained(domains: list[str], **changes: Any) -> dict[str, float]:
    """Train ``umtn`` on these instruments; the figures of its last check."""
    section = {"dataset": {"domains": domains}, "systems": {"umtn": "umtn"}, "umtn": HIDDEN | changes}
    checked_out(SCRATCH, section)
    words = [sys.executable, "-m", "dvc", "repro", "system@umtn"]
    if subprocess.run(words, cwd=SCRATCH, check=False).returncode:
        raise errors.RetimbreError(f"the training in {SCRATCH} has stopped: run this again to go on.")
    return json.loads((SCRATCH / "metrics/stages/umtn.json").read_text(encoding="utf-8"))


def same_encoder(one: Path, other: Path) -> bool:
    """True where every weight of the first model is one of the second's."""
    first, second = (catalogue.load("umtn", models).network.state_dict() for models in (one, other))
    return all(value.equal(second[name]) for name, value in first.items())


def main() -> None:
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    three = trained(THREE)
    kept = SCRATCH / FROZEN
    shutil.rmtree(kept, ignore_errors=True)
    shutil.copytree(SCRATCH / catalogue.MODELS / "umtn", kept / "umtn")
    four = trained(["piano", FOURTH], frozen_from=f"{FROZEN}/umtn")
    names = ("nll_bits", "gap_bits", "classifier_nll", "classifier_accuracy")
    rows = []
    for said, found, chance in ((", ".join(THREE), three, f"{1 / len(THREE):.2f}"), (FOURTH, four, "")):
        figures = (found.get(f"validation/{name}") for name in names)
        rows.append([said, *("" if x is None else f"{x:.2f}" for x in figures), chance])
    print(markdown(HEAD, rows))
    same = same_encoder(kept, SCRATCH / catalogue.MODELS)
    print(f"encoder and older decoders are {'the same' if same else 'NOT the same'} to the bit")


if __name__ == "__main__":
    errors.run(main)
