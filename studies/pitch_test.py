"""Share of random notes that lose their pitch in a trained system, the test of Cella's slides.

``python studies/pitch_test.py NAME`` after ``dvc repro system@NAME``: 100 notes in each direction of the
first two domains, as ``evaluate`` asks of every fast system, without the rest of it, and of each onto itself,
which is reconstruction. ``oracle`` is what the tracker itself loses.
"""

import argparse
import sys
from itertools import product
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))

from retimbre import errors, params  # noqa: E402
from retimbre.datasets.packed.data import Data  # noqa: E402
from retimbre.evaluation.bench.probes import Probes  # noqa: E402
from retimbre.evaluation.bench.rows import Row, Transferred  # noqa: E402
from retimbre.systems import catalogue  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", help="of a trained system")
    system = catalogue.load(parser.parse_args().name)
    p, features = params.load("seed", "dataset", "audio", "vocoder"), Data().features
    representation = p.vocoder.representation
    mean_db = features.statistics[representation]["mean_db"]
    domains = features.domains[:2]
    row = Row(system.name, Transferred(system))
    known = (p.dataset, domains, features.config, representation, mean_db, p.audio.rms, p.seed)
    probes = Probes([row], None, *known)
    for source, target in product(domains, repeat=2):
        found = {(name, metric): value for name, metric, value in probes.pitch_test(source, target)}
        for name in ("oracle", system.name):
            low, share, high = (found.get((name, f"probe_lost_notes{e}")) for e in ("_low", "", "_high"))
            if share is not None:
                notes = found[name, "probe_notes"]
                print(f"{source} to {target}: {name} loses {share:.0%} of {notes:.0f} notes "
                      f"(95 % interval {low:.0%} to {high:.0%})")  # fmt: skip


if __name__ == "__main__":
    errors.run(main)
