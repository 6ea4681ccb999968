"""Make the data of a group of variants: ``python prepare.py paired`` fills ``data/paired``.

Where only ``features`` changes, the pipeline's audio is used; otherwise recordings are rendered, packed and
removed again.
"""

import argparse
import shutil

import study

from retimbre import errors
from retimbre.datasets.preparation.caching import cache_features
from studies.rendering import render


def main() -> None:
    sets, parser = study.read_variants()["data"], argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=sets)
    name = parser.parse_args().name
    changes = sets[name]
    p = study.params_with(changes, name)
    folder = study.DATA / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if any(not key.startswith("features.") for key in changes):
        render(p, folder / "resampled")
    audio, features = study.folders_of(name)
    cache_features(audio, features, p.features, p.audio.shard_mb, p.machine)


if __name__ == "__main__":
    errors.run(main)
