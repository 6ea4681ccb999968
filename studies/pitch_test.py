"""Share of random notes that lose their pitch in a trained system, the test of Cella's slides.

``python studies/pitch_test.py NAME`` after ``dvc repro system@NAME``: 100 notes in each direction of the
first two domains, as ``evaluate`` asks of every fast system, without the rest of it, and of each onto itself,
which is reconstruction. ``oracle`` is what the tracker itself loses, and for a WaveNet of a low rate
``source at its rate`` what it loses of the played notes in that rate and in mu-law codes.
"""

import argparse
import sys
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))

from retimbre import errors, params  # noqa: E402
from retimbre.datasets.packed.data import Data  # noqa: E402
from retimbre.evaluation.bench.probes import Probes  # noqa: E402
from retimbre.evaluation.bench.rows import Row, Transferred  # noqa: E402
from retimbre.nn.wavenet_autoencoder.autoencoder import CodedWaveNets  # noqa: E402
from retimbre.systems import catalogue  # noqa: E402

AT_RATE = "source at its rate"


@dataclass(frozen=True)
class AtRate:
    """Control: recordings as a system's WaveNets are given them, at their rate in mu-law codes."""

    network: CodedWaveNets
    sample_rate: int

    def transfer(self, audio: np.ndarray, to: str, seed: int) -> np.ndarray:
        """Audio (N,) of ``sample_rate`` as the networks' codes hold it, (N,)."""
        return self.network.audio(self.network.samples(audio, self.sample_rate), self.sample_rate)[
            : len(audio)
        ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", help="of a trained system")
    system = catalogue.load(parser.parse_args().name)
    p, features = params.load("seed", "dataset", "audio", "vocoder"), Data().features
    representation = p.vocoder.representation
    mean_db = features.statistics[representation]["mean_db"]
    domains = features.domains[:2]
    rows = [Row(system.name, Transferred(system))]
    network = getattr(system, "network", None)
    if isinstance(network, CodedWaveNets):
        rows.append(Row(AT_RATE, Transferred(AtRate(network, features.config.sample_rate))))
    known = (p.dataset, domains, features.config, representation, mean_db, p.audio.rms, p.seed)
    probes = Probes(rows, None, *known)
    for source, target in product(domains, repeat=2):
        found = {(name, metric): value for name, metric, value in probes.pitch_test(source, target)}
        for name in ("oracle", AT_RATE, system.name):
            low, share, high = (found.get((name, f"probe_lost_notes{e}")) for e in ("_low", "", "_high"))
            if share is not None:
                notes = found[name, "probe_notes"]
                print(f"{source} to {target}: {name} loses {share:.0%} of {notes:.0f} notes "
                      f"(95 % interval {low:.0%} to {high:.0%})")  # fmt: skip


if __name__ == "__main__":
    errors.run(main)
