"""Stage ``content``: what a transcriber hears of every excerpt, packed in ``data/content``."""

from pathlib import Path

import stages  # noqa: F401  (puts this checkout's src/ first on the path)
from retimbre import errors, params
from retimbre.datasets.packed.format import write_json
from retimbre.datasets.preparation.hearing import cache_content

RESAMPLED, OUT, METRICS = Path("data/resampled"), Path("data/content"), Path("metrics/stages/content.json")


def main() -> None:
    p = params.load("machine", "audio", "features")
    write_json(METRICS, cache_content(RESAMPLED, OUT, p.features, p.audio.shard_mb, p.machine))


if __name__ == "__main__":
    errors.run(main)
