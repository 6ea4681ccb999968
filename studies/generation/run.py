"""Every generator on one set of notes with one set of measures: ``make generation``.

Makes the notes and the network that hears them (once), then trains and measures the rows that have no result
yet, or one of other params, two at a time with one thread each, and writes docs/generation.md and a page to
look and listen, reports/generation.html. What is finished is kept, and what was interrupted goes on where it
was. ``--set dataset.source=nsynth`` takes another set.
"""

import argparse
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "src"), str(ROOT)]  # this checkout's own code, as in stages/

from retimbre import errors  # noqa: E402
from retimbre.arguments import positive  # noqa: E402
from retimbre.errors import RetimbreError  # noqa: E402
from studies import cells  # noqa: E402
from studies.changes import changes  # noqa: E402
from studies.generation import page, report, study  # noqa: E402
from studies.generation.data import EMBEDDED, Data, settings  # noqa: E402


def run_cell(row: study.Row, folder: Path, data: Data, words: list[str]) -> bool:
    """Bring a row up to date in a process of one thread; False when it has no result then."""
    log = data.scratch / "logs" / f"{row.name}.log"
    said = cells.run_cell([sys.executable, study.HERE / "cell.py", row.name, *words], data.place, log)
    if said:
        study.write_result(row, folder, {"failed": said})
    well = said is None
    print(f"{row.name}: {'done' if well else 'failed: ' + str(log)}", flush=True)
    return well


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=positive, default=2, help="rows at the same time, one thread each (2)")
    parser.add_argument("--only", default="", help="this row alone")
    study.add_which(parser)
    help = "also rows that have their result: their models are trained where they are not here"
    parser.add_argument("--again", action="store_true", help=help)
    parser.add_argument("--tables", action="store_true", help="write the pages of what is there, no more")
    given = parser.parse_args()
    rows, place = study.chosen(given, [given.only] if given.only else [])
    p = settings(changes(given.set))
    other = [one for one in given.set if not one.startswith(("dataset.source=", "machine."))]
    if other and p.dataset.source == EMBEDDED and given.rows == study.ROWS:
        raise RetimbreError(
            f"--set {other[0]}: results of these notes are of params.yaml alone: leave it out."
        )
    folder, failed = study.results(p.dataset.source, given.published, given.rows), []
    data = {row.samples: Data(p, row.samples, place) for row in rows.values()}
    words = study.words(given)
    if not given.tables:
        found = {name: study.result_of(row, folder) for name, row in rows.items()}
        names = [name for name in rows if given.only in ("", name)]
        missing = [n for n in names if given.again or found[n] is None or "failed" in found[n]]
        for samples in sorted({rows[name].samples for name in missing}):
            data[samples].prepare()  # before two rows would
        logs = next(iter(data.values())).scratch / "logs"
        print(f"{len(missing)} rows to do, {given.jobs} at a time; logs in {logs}", flush=True)
        with ThreadPoolExecutor(given.jobs) as pool:
            done = pool.map(lambda n: run_cell(rows[n], folder, data[rows[n].samples], words), missing)
            failed = [name for name, well in zip(missing, done, strict=True) if not well]
    page.write(rows, folder)
    report.write(rows, data, given.published, words)
    if failed:
        raise RetimbreError(f"{', '.join(failed)} failed; what was finished is kept.")


if __name__ == "__main__":
    errors.run(main)
