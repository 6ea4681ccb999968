"""Recordings of other params than the pipeline's, for studies: rendered, packed and removed again."""

import tempfile
from pathlib import Path
from typing import Any

from retimbre.datasets.preparation.resampling import pack
from retimbre.datasets.recordings.manifest import write_manifest
from retimbre.datasets.sources.collection import make_source


def render(p: Any, out: Path) -> None:
    """Render the recordings that the params ``p`` ask for, and pack them into ``out``."""
    with tempfile.TemporaryDirectory(dir=out.parent) as raw:
        recordings = make_source(p.dataset, p.seed, p.machine).prepare(Path(raw))
        recordings.sort(key=lambda r: p.dataset.domains.index(r.domain))
        write_manifest(Path(raw), recordings)
        pack(Path(raw), out, p.audio, p.machine)
