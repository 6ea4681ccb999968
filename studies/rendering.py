"""Recordings of other params than the pipeline's, for studies: gathered, packed and removed again."""

import tempfile
from pathlib import Path
from typing import Any

from retimbre.datasets.preparation.resampling import pack
from retimbre.datasets.recordings.manifest import write_manifest
from retimbre.datasets.sources.collection import make_source


def gather(source: Any, p: Any, raw: Path) -> None:
    """Gather a source's recordings, and their manifest, in ``raw``, by domain."""
    recordings = source.prepare(raw)
    recordings.sort(key=lambda r: p.dataset.domains.index(r.domain))
    write_manifest(raw, recordings)


def render(p: Any, out: Path) -> None:
    """Render the recordings that the params ``p`` ask for, and pack them into ``out``."""
    with tempfile.TemporaryDirectory(dir=out.parent) as raw:
        gather(make_source(p.dataset, p.seed, p.machine), p, Path(raw))
        pack(Path(raw), out, p.audio, p.machine)
