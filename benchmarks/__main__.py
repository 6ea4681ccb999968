"""Speed beside the peers, as one table (Markdown, JSON): ``python -m benchmarks [--quick]``.

``python -m benchmarks memory`` measures the features stage on ten hours; ``python -m benchmarks quote``
puts rows into docs/performance.md.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import sys
import time
from pathlib import Path

# One thread per route unless a case says otherwise; before torch starts.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")

import torch  # noqa: E402

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))
from benchmarks import generation, inversion, memory, quote, training, transforms  # noqa: E402
from benchmarks.timing import SLOW_ROUNDS, SLOW_SECONDS, measure  # noqa: E402
from retimbre.arguments import positive  # noqa: E402

GROUPS = {
    "cqt": transforms.cqt_cases,
    "stft": transforms.stft_cases,
    "resample": transforms.resample_cases,
    "inversion": inversion.inversion_cases,
    "wavenet": generation.generation_cases,
    "training": training.training_cases,
}
PACKAGES = ("torch", "numpy", "numba", "librosa", "nnAudio", "soxr", "torchaudio", "wavenet_vocoder")


def environment() -> dict:
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = None
    return {"cpu": _cpu(), "cores": os.cpu_count(), "python": platform.python_version(), "versions": versions}


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
        return name + (", AVX-512" if any("avx512f" in line for line in lines) else "")
    except (OSError, StopIteration):
        return platform.processor()


def markdown(result: dict) -> str:
    """The table as people read it."""
    e = result["environment"]
    versions = ", ".join(f"{name} {version}" for name, version in e["versions"].items() if version)
    first, last = result["load"]
    head = ("what", "route", "threads", "rate (median)", "ratio to the peer: min – median – max")
    lines = [
        f"{e['cpu']}, {e['cores']} cores; Python {e['python']}; {versions}.",
        f"{result['rounds']} interleaved rounds ({SLOW_ROUNDS} where a call takes more than "
        f"{SLOW_SECONDS:g} s); one-thread rows count CPU seconds, others wall time. Load average {first:.1f} "
        f"at the start, {last:.1f} at the end; {result['minutes']} minutes.",
        "",
        f"| {' | '.join(head)} | share of the limit |",
        "|---|---|---|---|---|---|",
    ]
    for row in result["rows"]:
        ratio = ""
        if row["ratio"] and row["route"] == row["against"]:
            ratio = "1 (peer)"
        elif row["ratio"]:
            ratio = " – ".join(f"{row['ratio'][k]:.3g}" for k in ("min", "median", "max"))
        shares = row["share_of_limit"] or {}
        share = "; ".join(f"{value:.2f} of {name.removeprefix('limit: ')}" for name, value in shares.items())
        rate = f"{row['rate']['median']:,.{0 if row['rate']['median'] >= 100 else 1}f} {row['unit']}"
        cells = (f"{row['group']}: {row['case']}", row["route"], str(row["threads"]), rate, ratio, share)
        lines.append(f"| {' | '.join(cells)} |")
    noted = [row for row in result["rows"] if row["note"]]
    notes = sorted({f"{row['group']}: {row['case']}: {row['note']}." for row in noted})
    return "\n".join(lines + [""] + [f"- {note}" for note in notes]) + "\n"


def main() -> None:
    if sys.argv[1:2] == ["memory"]:
        return memory.main(sys.argv[2:])
    if sys.argv[1:2] == ["quote"]:
        return quote.main()
    raw, known = argparse.RawDescriptionHelpFormatter, ", ".join(GROUPS)
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__, formatter_class=raw)
    quick = "the main cases only, not how cost grows with length, bins, layers, streams"
    parser.add_argument("--quick", action="store_true", help=quick)
    parser.add_argument("--rounds", type=positive, default=5, help="interleaved rounds (default 5)")
    parser.add_argument("--only", default=",".join(GROUPS), help=f"groups, comma-separated, of {known}")
    out = Path(__file__).with_name("results")
    parser.add_argument("--out", type=Path, default=out, help="path of the table without its ending")
    arguments = parser.parse_args()
    groups = arguments.only.split(",")
    if unknown := sorted(set(groups) - set(GROUPS)):
        parser.error(f"--only takes {known}, not {unknown[0]}")
    torch.set_num_threads(1)
    load, rows, began = os.getloadavg()[0], [], time.perf_counter()
    with torch.no_grad():
        for group in groups:
            for case in GROUPS[group](arguments.quick):
                print(f"{case.group}: {case.name} ...", file=sys.stderr, flush=True)
                rows += measure(case, arguments.rounds)
    minutes = round((time.perf_counter() - began) / 60, 1)
    result = {
        "environment": environment(),
        "rounds": arguments.rounds,
        "minutes": minutes,
        "load": [load, os.getloadavg()[0]],
        "rows": rows,
    }
    table = markdown(result)
    arguments.out.with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n")
    arguments.out.with_suffix(".md").write_text(table)
    print(table)


if __name__ == "__main__":
    main()
