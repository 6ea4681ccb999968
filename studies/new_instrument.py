"""A fourth instrument for a trained Universal Music Translation: what its decoder takes from the code.

``python studies/new_instrument.py`` trains the system on three instruments, with a classifier that must not
tell their codes, and then a decoder of the fourth alone, in a checkout below ``.scratch``. It prints a table
and goes on where it was interrupted. With data to render it takes about 25 minutes of a core.
"""

import argparse
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT)]

from retimbre import errors  # noqa: E402
from retimbre.systems import catalogue  # noqa: E402
from retimbre.training.devices import THREADS  # noqa: E402
from studies.checkout import checked_out  # noqa: E402
from tools.figures import markdown  # noqa: E402

SCRATCH = ROOT / ".scratch" / "new_instrument"
THREE, FOURTH = ["piano", "guitar", "flute"], "violin"
# What docs/systems/umtn.md tried at 4 kHz: with this weight C is at chance.
SIZES = {
    "lambda_confusion": 5, "sample_rate": 4000, "pool": 128, "crop_codes": 24, "encoder_channels": 32,
    "layers": 10, "layers_per_stack": 10, "noise_share": 0.75, "noise_codes": 40, "steps": 2000,
}  # fmt: skip
FROZEN = "three"  # folder of the trained three
HEAD = ("decoders of", "bits per sample", "gap, bits", "C's cross entropy", "C's accuracy", "by chance")


def trained(domains: list[str], **changes: Any) -> list[float]:
    """Train ``umtn`` on these instruments: bits and gap of its last check, then the classifier's cross
    entropy and accuracy, which are of few crops, as means over the checks of its second half.
    """
    section = {"dataset": {"domains": domains}, "systems": {"umtn": "umtn"}, "umtn": SIZES | changes}
    checked_out(SCRATCH, section)
    words = [sys.executable, "-m", "dvc", "repro", "system@umtn"]
    one_thread = {**os.environ, **dict.fromkeys(THREADS, "1")}  # with two, sums have other last digits
    if subprocess.run(words, cwd=SCRATCH, env=one_thread, check=False).returncode:
        raise errors.RetimbreError(f"the training in {SCRATCH} has stopped: run this again to go on.")
    history = pandas.read_csv(SCRATCH / "metrics/plots/umtn/history.csv").filter(like="validation/").dropna()
    last = [history[f"validation/{name}"].iloc[-1] for name in ("nll_bits", "gap_bits")]
    judged = ["validation/classifier_nll", "validation/classifier_accuracy"]  # no columns of decoders alone
    return [*last, *history.reindex(columns=judged).iloc[len(history) // 2 :].mean().dropna()]


def kept_weights(one: Path, other: Path) -> bool:
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
    chance = (f"{math.log(len(THREE)):.2f}, {1 / len(THREE):.2f}", "")
    rows = [
        [said, *(f"{x:.2f}" for x in found), *[""] * (4 - len(found)), by_chance]
        for said, found, by_chance in zip((", ".join(THREE), FOURTH), (three, four), chance, strict=True)
    ]
    print(markdown(HEAD, rows))
    same = kept_weights(kept, SCRATCH / catalogue.MODELS)
    print(f"encoder and older decoders are {'the same' if same else 'NOT the same'} to the bit")


if __name__ == "__main__":
    errors.run(main)
