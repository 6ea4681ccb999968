"""Make the data of a group of variants: ``python prepare.py paired`` fills ``data/paired``.

Where only ``features`` changes, the pipeline's audio is used; otherwise recordings are rendered, packed and removed again.
"""

import shutil
import sys
import tempfile
from pathlib import Path

import study
import yaml

from retimbre import errors, params
from retimbre.datasets.preparation.caching import cache_features
from retimbre.datasets.preparation.resampling import pack
from retimbre.datasets.recordings.manifest import write_manifest
from retimbre.datasets.sources.base import make_source


def render(p: params.Params, out: Path) -> None:
    """Render the recordings and pack them into ``out``."""
    with tempfile.TemporaryDirectory(dir=study.DATA) as raw:
        recordings = make_source(p.dataset, p.seed, jobs=p.audio.jobs).prepare(Path(raw))
        recordings.sort(key=lambda r: p.dataset.domains.index(r.domain))
        write_manifest(Path(raw), recordings)
        pack(Path(raw), out, p.audio)


def main() -> None:
    (name,) = sys.argv[1:]
    given = study.read_variants()
    changes = given["data"][name]
    base = yaml.safe_load((study.ROOT / "params.yaml").read_text(encoding="utf-8"))
    p = params.parse(study.changed(base, changes), f"studies/ablation/variants.yaml, {name}")
    folder = study.DATA / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if any(not key.startswith("features.") for key in changes):
        render(p, folder / "resampled")
    audio, features = study.folders_of(name)
    cache_features(audio, features, p.features, p.audio.shard_mb)


if __name__ == "__main__":
    errors.run(main)
