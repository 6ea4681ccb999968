"""Stage ``features``: log-magnitude CQT, mel and STFT of every excerpt, packed in ``data/features``."""

from pathlib import Path

import stages  # noqa: F401  (puts this checkout's src/ first on the path)
from retimbre import errors, params
from retimbre.datasets.packed.format import write_json
from retimbre.datasets.preparation.caching import cache_features

RESAMPLED, OUT, METRICS = Path("data/resampled"), Path("data/features"), Path("metrics/features.json")


def main() -> None:
    p = params.load("audio", "features")
    metrics = cache_features(RESAMPLED, OUT, p.features, p.audio.shard_mb)
    write_json(METRICS, metrics)
    speed = f"{metrics['seconds']:.0f} s ({metrics['x_realtime']:.0f} x real time)"
    print(f"features of {metrics['hours']:.2f} h in {speed}, {metrics['megabytes']:.0f} MB")


if __name__ == "__main__":
    errors.run(main)
