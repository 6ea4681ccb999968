"""The whole study: ``python run.py`` (or ``make study``) brings every cell up to date, then the tables.

DVC runs the stages of one ``dvc repro`` one after the other, but several ``dvc repro`` may run at the same
time. So each worker asks DVC for one cell after another, with one thread each. What was interrupted goes on
where it was: finished cells are in ``dvc.lock``, unfinished ones in ``.scratch``.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import study

from retimbre import errors
from retimbre.arguments import positive
from retimbre.errors import RetimbreError
from retimbre.training.devices import THREADS

LOGS = study.ROOT / ".scratch/ablation/logs"
DVC = [sys.executable, "-m", "dvc", "--wait-for-lock"]


def dvc(*words: str, threads: bool = True, **options: object) -> subprocess.CompletedProcess:
    # `python` in dvc.yaml is this one.
    here = os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", "")])
    environment = {**os.environ, "PATH": here, **({} if threads else dict.fromkeys(THREADS, "1"))}
    return subprocess.run([*DVC, *words], cwd=study.HERE, env=environment, text=True, check=False, **options)


def out_of_date(names: list[str]) -> list[str]:
    """The stages that DVC would run."""
    said = dvc("status", "--json", capture_output=True)
    if said.returncode:
        reason = " ".join(said.stderr.split()).removesuffix(".")
        raise RetimbreError(f"dvc status fails in {study.HERE}: {reason}.")
    changed = json.loads(said.stdout)
    return [name for name in names if name in changed]


def run_cell(stage: str) -> str | None:
    """Bring one stage up to date. Returns a sentence when it failed."""
    log = LOGS / f"{stage.replace('@', '.')}.log"
    with log.open("w", encoding="utf-8") as stream:
        done = dvc("repro", "--single-item", stage, threads=False, stdout=stream, stderr=subprocess.STDOUT)
    return None if done.returncode == 0 else f"{stage} failed: {log} says why"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    jobs = "cells at the same time, one thread each (2)"
    parser.add_argument("--jobs", type=positive, default=2, help=jobs)
    parser.add_argument("--only", default="", help="stages whose names begin so, such as claims@patch")
    parser.add_argument("--accept", action="store_true", help="run no cell: take the results as up to date")
    given = parser.parse_args()
    stages = [f"{group}@{variant}-{seed}" for group, variant, seed in study.cells(study.read_variants())]
    wanted = [stage for stage in stages if stage.startswith(given.only)]
    if not wanted:
        raise RetimbreError(f"--only {given.only}: no cell's name begins so; they are like {stages[0]}.")
    LOGS.mkdir(parents=True, exist_ok=True)
    if dvc("repro", "code", "data").returncode:
        raise RetimbreError("the study's data could not be made: see above, and run `make repro` first.")
    waiting = out_of_date(wanted)
    if given.accept and waiting:  # of the code, data and params as they are now
        if dvc("commit", "--force", *waiting).returncode:
            raise RetimbreError("the results could not be accepted: see above.")
        waiting = []
    print(f"{len(waiting)} of {len(wanted)} cells to do, {given.jobs} at a time; logs in {LOGS}", flush=True)
    began, failed = time.monotonic(), []
    pool = ThreadPoolExecutor(given.jobs)
    try:
        done = zip(waiting, pool.map(run_cell, waiting), strict=True)
        for count, (stage, problem) in enumerate(done, start=1):
            failed += [problem] if problem else []
            minutes = (time.monotonic() - began) / 60
            print(f"{count}/{len(waiting)} {problem or stage}, {minutes:.1f} min", flush=True)
    finally:
        pool.shutdown(cancel_futures=True)  # after Ctrl-C: cells that run save their state, no other begins
    if failed:
        said = f"{len(failed)} of {len(waiting)} cells failed: {'; '.join(failed)}"
        raise RetimbreError(f"{said}; what was finished is kept.")
    if old := out_of_date(stages):
        said = f"{len(old)} cells are out of date, {old[0]} first; the tables show what they said before"
        print(f"warning: {said}", file=sys.stderr, flush=True)
    if dvc("repro", "--single-item", "tables").returncode:
        raise RetimbreError("the tables could not be made: see above.")
    if subprocess.run([sys.executable, "tables.py", "--insert"], cwd=study.HERE, check=False).returncode:
        raise RetimbreError("the tables could not be put into docs/ablation.md: see above.")


if __name__ == "__main__":
    errors.run(main)
