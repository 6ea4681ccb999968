"""Stage ``features``: log-magnitude CQT, mel and STFT of every excerpt, packed in ``data/features``."""

from pathlib import Path

import stages  # noqa: F401  (puts this checkout's src/ first on the path)
from retimbre import errors, params
from retimbre.datasets.packed.format import write_json
from retimbre.datasets.preparation.caching import cache_features

RESAMPLED, OUT, METRICS = Path("data/resampled"), Path("data/features"), Path("metrics/stages/features.json")


def main() -> None:
    p = params.load("machine", "audio", "features")
    write_json(METRICS, cache_features(RESAMPLED, OUT, p.features, p.audio.shard_mb, p.machine))


if __name__ == "__main__":
    errors.run(main)
