"""Stage ``resample``: mono, one sample rate, one level, trimmed, packed in ``data/resampled``."""

from pathlib import Path

import stages  # noqa: F401  (puts this checkout's src/ first on the path)
from retimbre import errors, params
from retimbre.datasets.preparation.resampling import pack

RAW, OUT = Path("data/raw"), Path("data/resampled")


def main() -> None:
    p = params.load("machine", "audio")
    counts = pack(RAW, OUT, p.audio, p.machine)
    skipped = counts.pop("skipped")
    print("resampled: " + ", ".join(f"{split} {hours * 60:.1f} min" for split, hours in counts.items()))
    if skipped:
        print(f"{skipped:.0f} stretches were silent or too short and were left out")


if __name__ == "__main__":
    errors.run(main)
