"""The whole leaderboard: ``make leaderboard`` after ``make repro``; options as in ``run.py --help``.

Rows that have no result yet, or one of other params, are trained and measured, two at a time with one thread
each; then the page is made. What is finished is kept, and what was interrupted goes on where it was. A row
that fails says so in its place.
"""

import argparse
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "src"), str(ROOT)]  # this checkout's own code, as in stages/

from retimbre import errors  # noqa: E402
from retimbre.arguments import positive  # noqa: E402
from retimbre.errors import RetimbreError  # noqa: E402
from retimbre.systems import catalogue  # noqa: E402
from studies import cells  # noqa: E402
from studies.checkout import checked_out  # noqa: E402
from studies.leaderboard import study, tables  # noqa: E402

LOGS = study.ROOT / ".scratch/leaderboard/logs"
# Stages that a set of other instruments needs: its default systems are rows, too.
NEEDED = ("content", "classifier", "vocoder@inverter", *catalogue.DEFAULTS)


def project(which: str) -> Path:
    """The folder whose data a set is measured on. That of other instruments is a checkout of ``HEAD``, which
    DVC brings up to date.
    """
    if which not in study.PAIRS:
        return study.ROOT
    folder = study.ROOT / ".scratch/leaderboard" / which
    checked_out(folder, {"dataset": {"domains": study.PAIRS[which]}})
    if subprocess.run([sys.executable, "-m", "dvc", "repro", *NEEDED], cwd=folder, check=False).returncode:
        raise RetimbreError(f"the data of {which} could not be made: see above.")
    return folder


def run_cell(row: study.Row, which: str, folder: Path, profile: str) -> bool:
    """Bring a row up to date in a process of one thread; False when it has no result then."""
    log = LOGS / f"{which}-{row.name}.log"
    words = [sys.executable, study.HERE / "cell.py", row.name, "--set", which, "--profile", profile]
    said = cells.run_cell(words, folder, log)
    if said:
        study.write_result(row, which, {"failed": said}, profile)
    well = said is None
    print(f"{which}, {row.name}: {'done' if well else 'failed: ' + str(log)}", flush=True)
    return well


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=positive, default=2, help="rows at the same time, one thread each (2)")
    parser.add_argument("--only", default="", help="this row alone")
    parser.add_argument("--set", choices=study.SETS, default="", help="this table's rows alone")
    parser.add_argument("--profile", default="", help="at published sizes: leaderboard_gpu")
    parser.add_argument("--again", action="store_true", help="measure rows anew that have their result")
    given = parser.parse_args()
    rows, failed = study.read(given.profile), []
    if given.only and given.only not in rows:
        raise RetimbreError(f"--only {given.only}: there is no such row; there are {', '.join(rows)}.")
    for which in (given.set,) if given.set else study.SETS:
        names = [name for name in study.wanted(rows, which) if given.only in ("", name)]
        found = {name: study.result_of(rows[name], which, given.profile) for name in names}
        missing = [name for name in names if given.again or found[name] is None or "failed" in found[name]]
        if not missing:
            continue
        folder = project(which)
        print(f"{which}: {len(missing)} rows to do, {given.jobs} at a time; logs in {LOGS}", flush=True)
        with ThreadPoolExecutor(given.jobs) as pool:
            one = lambda name: run_cell(rows[name], which, folder, given.profile)  # noqa: B023, E731
            failed += [name for name, well in zip(missing, pool.map(one, missing), strict=True) if not well]
    tables.write()
    if failed:
        raise RetimbreError(f"{', '.join(failed)} failed; what was finished is kept.")


if __name__ == "__main__":
    errors.run(main)
