"""``dvc repro``, with the stage of how many that runs and the time left for the whole.

    python tools/repro.py [WORDS OF dvc repro]    what `make repro` runs
    python tools/repro.py --record                what `make times` runs: write RECORDED and SPEED

Stage times are those of this checkout's last runs (``.scratch/stage_times.json``), else the recorded ones.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "src"))

from retimbre.cli import speeds  # noqa: E402
from retimbre.errors import RetimbreError, run  # noqa: E402
from retimbre.paths import write_atomically  # noqa: E402

RECORDED, OWN = Path("benchmarks/stage_times.json"), Path(".scratch/stage_times.json")
SPEED, EVALUATION = Path("benchmarks/speed.json"), Path("data/evaluation")
DAMPING_S = 60  # so much counts as timed as expected, lest one short stage change the forecast


def read_times(path: Path) -> dict[str, float]:
    """Seconds by stage; none where there is no such file, or a damaged one: they are only a forecast."""
    try:
        return {
            name: float(seconds) for name, seconds in json.loads(path.read_text(encoding="utf-8")).items()
        }
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def write_times(path: Path, times: Mapping[str, float]) -> None:
    with write_atomically(path) as file:
        json.dump({name: round(seconds, 1) for name, seconds in sorted(times.items())}, file, indent=1)
        file.write("\n")


def out_of_date() -> set[str]:
    """Names of the stages that have changed, and of those after them; none where DVC cannot tell.

    Fewer may run: DVC takes known outputs from its cache, and equal outputs change no later stage.
    """
    import networkx
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo() as repo:
            changed = repo.status()
            graph = repo.index.graph  # edges lead to what a stage depends on
            first = [stage for stage in graph if stage.addressing in changed]
            later = (networkx.ancestors(graph, stage) for stage in first)
            return {stage.addressing for stage in {*first, *(stage for found in later for stage in found)}}
    except DvcException:
        return set()  # `dvc repro` says what is wrong


def duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.{minutes < 10:d}f} min" if minutes < 120 else f"{minutes / 60:.1f} h"


class Forecast:
    """Follows what ``dvc repro`` says: announces stages, times them and keeps the times.

    ``waiting``: the stages that may run; ``times``: seconds of stages, as far as known.
    """

    def __init__(self, waiting: Collection[str], times: Mapping[str, float]):
        self.waiting, self.total, self.times = set(waiting), len(waiting), times
        self.took: dict[str, float] = {}
        self.running, self.began = "", 0.0

    def left_s(self) -> float:
        """Seconds until all that waits has run, at the pace of what has."""
        timed = [name for name in self.took if name in self.times]
        expected = DAMPING_S + sum(self.times[name] for name in timed)
        pace = (DAMPING_S + sum(self.took[name] for name in timed)) / expected
        return pace * sum(self.times.get(name, 0) for name in self.waiting)

    def end(self) -> None:
        """Time the stage that has ended, if one was running."""
        if self.running:
            self.took[self.running] = time.monotonic() - self.began
            self.running = ""
            write_times(OWN, read_times(OWN) | self.took)

    def hear(self, line: str) -> str:
        """Take note of a line of DVC's; what to say before it, or an empty string."""
        found = re.match(r"(Running stage|Stage) '([^']+)'", line)
        if found is None:
            return ""
        self.end()  # at the next one's line: DVC says nothing of a stage that leaves the lock file as it was
        if found[2] not in self.waiting:
            return ""
        said = ""
        if found[1] == "Running stage":
            self.running, self.began = found[2], time.monotonic()
            place = f"stage {self.total - len(self.waiting) + 1} of {self.total}: {self.running}"
            left = self.left_s()
            about = "about" if self.waiting <= set(self.times) else "more than"
            until = time.strftime("%H:%M", time.localtime(time.time() + left))
            said = f"{place}, {about} {duration(left)} left in all (until {until})"
        self.waiting.remove(found[2])
        return said


def repro(words: list[str]) -> int:
    """Run ``dvc repro`` and pass on what it says; its exit status."""
    times = read_times(RECORDED) | read_times(OWN)
    forecast = Forecast(out_of_date(), times)
    bold = "\033[1m{}\033[0m" if sys.stdout.isatty() else "{}"
    # Bars of stages go to stderr, which stays as it is; unbuffered, as what stages print goes through a pipe.
    dvc = subprocess.Popen(
        [sys.executable, "-m", "dvc", "repro", *words],
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
    )
    # Ctrl-C reaches DVC and its stage by itself: this ends when they have ended.
    signal.signal(signal.SIGINT, lambda *_: None)
    signal.signal(signal.SIGTERM, lambda number, _: dvc.send_signal(number))
    with dvc:
        for line in dvc.stdout:
            if said := forecast.hear(line):
                print(bold.format(said))
            print(line, end="", flush=True)
    if not dvc.returncode:
        forecast.end()
    return dvc.returncode


def main() -> None:
    if sys.argv[1:] != ["--record"]:
        sys.exit(repro(sys.argv[1:]))
    if not (own := read_times(OWN)):
        raise RetimbreError(f"{OWN} has no times: run `make repro` first.")
    write_times(RECORDED, own)
    if found := speeds(EVALUATION):
        with write_atomically(SPEED) as file:
            json.dump(found, file, indent=1)
            file.write("\n")
    print(f"{RECORDED}: {len(own)} stages, {duration(sum(own.values()))} in all")


if __name__ == "__main__":
    run(main)
