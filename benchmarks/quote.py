"""Rows of ``results.json`` that docs/performance.md quotes: ``python -m benchmarks quote``."""

import json
from pathlib import Path

ROOT, PAGE = Path(__file__).parents[1], "docs/performance.md"
BEGIN, END = "<!-- benchmarks: begin -->", "<!-- benchmarks: end -->"
# (group, case, route, threads) as in results.json: what the page shows. The peer is the case's own.
QUOTED = (
    ("CQT", "84 bins, 4 x 4 s", "retimbre ConstantQ", 1),
    ("CQT", "336 bins, 4 x 4 s", "retimbre ConstantQ", 1),
    ("VQT", "84 bins, gamma 10 Hz, 4 x 4 s", "retimbre ConstantQ(gamma)", 1),
    ("inverse CQT", "84 bins, hop 256", "retimbre least squares", 1),
    ("CQT magnitude to audio", "84 bins, hop 256", None, 1),
    ("WaveNet", "20 layers, 64/128/64, 1 stream", "eager", 1),
    ("WaveNet", "20 layers, 64/128/64, 1 stream", "numba", 1),
    ("WaveNet", "20 layers, 64/128/64, 1 stream", "cpp", 1),
    ("WaveNet", "20 layers, 64/128/64, 8 streams", "numba", 2),
    ("WaveNet", "20 layers, 64/128/64, 8 streams", "cpp", 2),
    ("WaveNet", "this project's default (10 layers, 32/64/64), 1 stream", "numba", 1),
    ("WaveNet", "this project's default (10 layers, 32/64/64), 1 stream", "cpp", 1),
)


def quoted_table(result: dict) -> str:
    """The page's table, Markdown. Rows that ``result`` does not have are left out."""
    lines = [
        "| what | route | threads | rate | times the peer: median (min – max) | peer |",
        "|---|---|---|---|---|---|",
    ]
    for group, case, route, threads in QUOTED:
        rows = [r for r in result["rows"] if (r["group"], r["case"], r["threads"]) == (group, case, threads)]
        own = [r for r in rows if (r["route"] == route if route else r["route"].startswith("retimbre"))]
        for row in own[:1]:
            ratio = row["ratio"]
            times = f"{ratio['median']:.3g} ({ratio['min']:.3g} – {ratio['max']:.3g})" if ratio else ""
            for limit, share in (row["share_of_limit"] or {}).items():
                if "streamed" in limit:
                    times += f"; {share:.2f} of the limit of reading its weights"
            rate = f"{row['rate']['median']:,.{0 if row['rate']['median'] >= 100 else 1}f} {row['unit']}"
            cells = (f"{group}: {case}", row["route"], str(threads), rate, times, row["against"] or "")
            lines.append(f"| {' | '.join(cells)} |")
    e = result["environment"]
    where = "all rows, versions and notes: [benchmarks/results.md](../benchmarks/results.md)."
    return "\n".join([*lines, "", f"{e['cpu']}; {result['rounds']} interleaved rounds; {where}"])


def filled(page: str, result: dict) -> str:
    """The page with the table between the markers. Raises ValueError when they are not there in order."""
    begin, end = page.find(BEGIN), page.find(END)
    if begin < 0 or end < begin:
        raise ValueError(f"{PAGE} needs the lines {BEGIN} and {END}")
    return page[: begin + len(BEGIN)] + "\n" + quoted_table(result) + "\n" + page[end:]


def main() -> None:
    path = ROOT / PAGE
    result = json.loads(Path(__file__).with_name("results.json").read_text())
    try:
        text = filled(path.read_text(encoding="utf-8"), result)
    except ValueError as error:
        raise SystemExit(f"{error}.") from None
    path.write_text(text, encoding="utf-8")
    print(f"{path}: {len(quoted_table(result).splitlines()) - 4} rows")
