"""Stage ``download``: gather the recordings of ``dataset.domains`` in ``data/raw``."""

import shutil
from pathlib import Path

import joblib

import stages  # noqa: F401  (puts this checkout's src/ first on the path)
from retimbre import errors, params
from retimbre.datasets.recordings.manifest import SPLITS, write_manifest
from retimbre.datasets.sources.base import make_source

OUT = Path("data/raw")
MOST_PROCESSES = 8  # each holds the score library and the font: about 250 MB


def main() -> None:
    p = params.load("seed", "dataset")
    # The number of processes changes the speed and nothing in the output, so it is not a parameter here.
    source = make_source(p.dataset, p.seed, jobs=min(joblib.cpu_count(), MOST_PROCESSES))
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    recordings = source.prepare(OUT)
    recordings.sort(key=lambda r: p.dataset.domains.index(r.domain))  # A, B ...: the manifest keeps this order
    write_manifest(OUT, recordings)
    for domain in p.dataset.domains:
        minutes = {split: sum(r.duration_s for r in recordings if (r.domain, r.split) == (domain, split)) / 60 for split in SPLITS}
        print(f"{domain}: " + ", ".join(f"{split} {m:.1f} min" for split, m in minutes.items()))


if __name__ == "__main__":
    errors.run(main)
