"""Stage ``download``: gather the recordings of ``dataset.domains`` in ``data/raw``."""

import shutil
from pathlib import Path

import stages  # noqa: F401  (puts this checkout's src/ first on the path)
from retimbre import errors, params
from retimbre.datasets.recordings.manifest import SPLITS, write_manifest
from retimbre.datasets.sources.collection import make_source

OUT = Path("data/raw")


def main() -> None:
    p = params.load("seed", "machine", "dataset")
    source = make_source(p.dataset, p.seed, p.machine)
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    recordings = source.prepare(OUT)
    # A, B ...: the manifest keeps this order.
    recordings.sort(key=lambda r: p.dataset.domains.index(r.domain))
    write_manifest(OUT, recordings)
    for domain in p.dataset.domains:
        own = [r for r in recordings if r.domain == domain]
        minutes = {split: sum(r.duration_s for r in own if r.split == split) / 60 for split in SPLITS}
        print(f"{domain}: " + ", ".join(f"{split} {m:.1f} min" for split, m in minutes.items()))


if __name__ == "__main__":
    errors.run(main)
