"""Peak memory of the features stage on a large data set: ``python -m benchmarks memory``.

A synthetic data set of that many hours (16 kHz, int16, excerpts of 10 s; one minute of notes, repeated) is
written to a temporary folder; then the stage's own function makes its features in a process of its own.
While it works, the resident memory of that process and all its workers is read; pages of memory maps and
libraries that several share count for each, so ``peak_mb`` is an upper bound; ``peak_private_mb`` leaves
all pages of files out, which the system takes back when it needs them.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from retimbre.arguments import positive
from retimbre.datasets.packed.format import AudioWriter

RATE, EXCERPT_S, SHARD_MB = 16000, 10, 256
LIMIT_MB = 1500
PAGE = os.sysconf("SC_PAGE_SIZE")
WORK = """
import sys
from pathlib import Path
from retimbre import params
from retimbre.datasets.packed.format import write_json
from retimbre.datasets.preparation.caching import cache_features
from retimbre.section import Machine
resampled, out, values, metrics = map(Path, sys.argv[1:5])
machine = Machine(jobs=int(sys.argv[5]))
if __name__ == "__main__":
    features = params.read(values).features
    write_json(metrics, cache_features(resampled, out, features, int(sys.argv[6]), machine))
"""


def write_audio(folder: Path, hours: float) -> None:
    """Two domains, half of the hours each, all in the training split but one excerpt of each other split."""
    random, t = np.random.default_rng(0), np.arange(60 * RATE) / RATE
    minute = 0.01 * random.standard_normal(len(t))
    for start in np.arange(0, 60, 0.5):
        f0, on = 440 * 2 ** (random.integers(-24, 13) / 12), np.maximum(t - start, 0)
        part = slice(int(start * RATE), int((start + 2) * RATE))
        tone = 0.1 * sum(np.sin(2 * np.pi * k * f0 * on[part]) / k for k in range(1, 6))
        minute[part] += tone * np.exp(-3 * on[part])
    excerpts = (np.clip(minute, -1, 1) * 32767).astype(np.int16).reshape(-1, EXCERPT_S * RATE)
    count = max(4, round(hours * 3600 / EXCERPT_S / 2))
    with AudioWriter(folder, RATE, 0.05, SHARD_MB) as writer:
        for domain in ("low", "high"):
            for i in range(count):
                split = {0: "validation", 1: "test"}.get(i, "train")
                writer.add(excerpts[i % len(excerpts)], domain, split, f"{domain}{i}")


def tree_mb(pid: int) -> tuple[float, float]:
    """Resident memory in MB of a process and its descendants: all, and without pages of files (Linux)."""
    children: dict[int, list[int]] = {}
    resident: dict[int, tuple[float, float]] = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            stat = (path / "stat").read_text().rsplit(")", 1)[1].split()
            pages, of_files = (int(text) for text in (path / "statm").read_text().split()[1:3])
        except (OSError, IndexError):
            continue  # it ended meanwhile
        resident[int(path.name)] = (pages * PAGE / 1e6, (pages - of_files) * PAGE / 1e6)
        children.setdefault(int(stat[1]), []).append(int(path.name))
    everything, private, waiting = 0.0, 0.0, [pid]
    while waiting:
        one = waiting.pop()
        a, b = resident.get(one, (0.0, 0.0))
        everything, private = everything + a, private + b
        waiting += children.get(one, [])
    return everything, private


def run(hours: float, jobs: int, folder: Path) -> dict:
    """Figures of making a data set's features below ``folder``: the stage's own, peak memory, speed."""
    root = Path(__file__).parents[1]
    write_audio(folder / "resampled", hours)
    script, metrics = folder / "work.py", folder / "features.json"
    script.write_text(WORK)
    arguments = [folder / "resampled", folder / "features", root / "params.yaml", metrics, jobs, SHARD_MB]
    began = time.perf_counter()
    child = subprocess.Popen([sys.executable, str(script), *map(str, arguments)], env=_environment(root))
    peak, private = 0.0, 0.0
    while child.poll() is None:
        now = tree_mb(child.pid)
        peak, private = max(peak, now[0]), max(private, now[1])
        time.sleep(0.2)
    if child.returncode:
        raise SystemExit(f"the features were not made (exit status {child.returncode})")
    figures, took = json.loads(metrics.read_text()), time.perf_counter() - began
    return {
        **figures,
        "x_realtime": round(figures["hours"] * 3600 / took, 1),
        "jobs": jobs,
        "peak_mb": round(peak),
        "peak_private_mb": round(private),
        "limit_mb": LIMIT_MB,
    }


def _environment(root: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(root / "src"), "OMP_NUM_THREADS": "1"}


def main(arguments: list[str]) -> None:
    program, about = "python -m benchmarks memory", "Peak memory of the features stage."
    parser = argparse.ArgumentParser(prog=program, description=about)
    hours = "hours of audio (default 10; 1 is the quick form)"
    parser.add_argument("--hours", type=float, default=10.0, help=hours)
    parser.add_argument("--jobs", type=positive, default=2, help="worker processes (default 2)")
    out = Path(__file__).with_name("memory.json")
    parser.add_argument("--out", type=Path, default=out, help="where the figures go")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        figures = run(given.hours, given.jobs, Path(folder))
    given.out.write_text(json.dumps(figures, indent=1) + "\n")
    print(
        f"{figures['hours']:.1f} h of audio, {given.jobs} processes: peak {figures['peak_mb']} MB of "
        f"{LIMIT_MB} ({figures['peak_private_mb']} MB without pages of files), "
        f"{figures['x_realtime']:.0f} x realtime, {figures['megabytes']:.0f} MB of features"
    )
