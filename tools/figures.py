"""Tables of README and docs, written anew from ``metrics/`` and ``benchmarks/``: ``make figures``."""

import json
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT)]

from retimbre.cli import results  # noqa: E402
from retimbre.errors import RetimbreError, run  # noqa: E402
from retimbre.metrics.scores import Evaluation  # noqa: E402
from tools.repro import RECORDED, SPEED, duration, read_times  # noqa: E402

BEGIN, END = "<!-- made by tools/figures.py: do not edit -->", "<!-- end of what is made -->"
ROWS = {  # of README; what is trained, by the stages that train it
    "copy": ("the input unchanged", ()),
    "eq_match": ("an equaliser", ()),
    "cyclegan": ("TimbreTron's kind", ("cyclegan",)),
    "resynthesis": ("the default", ("content", "resynthesis")),
    "oracle": ("a second performance on the true instrument", ()),
}
COLUMNS = {
    "content_note_f1": "notes kept (F1)",
    "style_beyond_eq": "timbre reached (beyond EQ)",
    "paired_lsd": "distance to the true target (dB)",
}
OF_RESYNTHESIS = {
    "skill": "skill",
    "skill_shifted": "skill after the best shift within ±2 frames",
    "style_beyond_eq": "beyond EQ",
    "paired_lsd": "paired LSD, dB",
    "paired_mrstft": "MR-STFT",
    "content_jaccard": "pitch Jaccard",
    "score_f1_of_true": "notes against the score, F1 as a share of the true target's",
    "energy_lost": "notes more than 6 dB too weak",
    "energy_ghosts": "octave ghosts",
}
BESIDE = {
    "copy": "copy",
    "cyclegan": "CycleGAN",
    "resynthesis": "resynthesis",
    "oracle": "second performance",
}


def markdown(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [list(head), *map(list, rows)]
    texts = ["| " + " | ".join(cells) + " |" for cells in lines]
    return "\n".join([texts[0], "|---" * len(lines[0]) + "|", *texts[1:]])


def metrics() -> dict[str, dict[str, float]]:
    return Evaluation.model_validate_json((ROOT / "metrics/evaluation.json").read_bytes()).model_extra


def overview() -> str:
    """Five rows: two controls, two systems, a second performance."""
    found, times = metrics(), read_times(ROOT / RECORDED)
    speed = json.loads((ROOT / SPEED).read_text(encoding="utf-8"))
    rows = []
    for name, (said, stages) in ROWS.items():
        figures = [f"{found[name][metric]:.3g}" for metric in COLUMNS]
        fast = f"{1 / speed[name]:.0f} × real time" if stages else ""
        took = duration(sum(times[stage] for stage in stages)) if stages else ""
        rows.append([f"`{name}`: {said}", *figures, fast, took])
    head = ["piano ↔ guitar, 12 unseen pieces", *COLUMNS.values(), "speed, one core", "training, two cores"]
    return markdown(head, rows)


def of_resynthesis() -> str:
    found = metrics()
    return markdown(
        ["", *BESIDE.values()],
        [[said, *(f"{found[row][name]:.3g}" for row in BESIDE)] for name, said in OF_RESYNTHESIS.items()],
    )


def of_own_instrument() -> str:
    """Figures of ``studies/own_instrument``, which has one file per instrument and minutes of audio."""
    folder = ROOT / "studies/own_instrument/results"
    rows = []
    for path in sorted(
        folder.glob("*.json"), key=lambda x: (x.stem.split("-")[0], int(x.stem.split("-")[1]))
    ):
        instrument, minutes = path.stem.split("-")
        d = json.loads(path.read_text(encoding="utf-8"))
        nearest = f"{d['nearest_skill']:.2f} ({d['nearest'].replace('_', ' ')})"
        cells = [f"{d['skill']:.2f}", nearest, f"{d['f1_of_true']:.2f}", f"{d['cpu_minutes']:.0f}"]
        rows.append([instrument, minutes, *cells])
    head = [
        "instrument",
        "minutes of audio",
        "skill",
        "skill of the nearest that ships",
        "notes kept",
        "CPU minutes",
    ]
    return markdown(head, rows)


PAGES: dict[str, Callable[[], str]] = {
    "README.md": overview,
    "docs/results.md": lambda: f"```text\n{results(ROOT / 'metrics', {})}\n```",
    "docs/systems/resynthesis.md": of_resynthesis,
    "docs/own_instrument.md": of_own_instrument,
}


def inserted(page: Path, begin: str, end: str, made: str) -> str:
    """The text of a page with what is ``made`` between two marks. Raises RetimbreError without them."""
    text = page.read_text(encoding="utf-8")
    found, count = re.subn(f"{begin}.*?{end}", lambda _: f"{begin}\n\n{made}\n\n{end}", text, flags=re.DOTALL)
    if count != 1:
        raise RetimbreError(f"{page} must hold {begin} and {end} once: restore it with `git checkout`.")
    return found


def written(page: str) -> str:
    """A page with its table made anew."""
    return inserted(ROOT / page, BEGIN, END, PAGES[page]())


def main() -> None:
    for page in PAGES:
        (ROOT / page).write_text(written(page), encoding="utf-8")
        print(page)


if __name__ == "__main__":
    run(main)
