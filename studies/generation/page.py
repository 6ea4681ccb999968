"""The page of the study: docs/generation.md of the embedded notes at the sizes for two cores, else a table
beside the results.
"""

from pathlib import Path
from typing import Any

from retimbre.evaluation.report.legend import number
from studies.generation import gallery, study
from tools.figures import inserted, markdown

PAGE, MEDIA = study.ROOT / "docs/generation.md", study.ROOT / "docs/generation"
BEGIN, END = "<!-- made by studies/generation: do not edit -->", "<!-- end of what is made -->"
RELATIVE = ("d_self", "d_train", "diversity")  # to those of real_test
COLUMNS = {  # figure -> heading
    "inception_score": "IS (pitch) ↑",
    "instrument_score": "IS (instrument) ↑",
    "fid": "FID ↓",
    "pitch_accuracy": "pitch accuracy ↑",
    "pitch_entropy": "pitch entropy ↓",
    "ndb": "NDB/K ↓",
}
MORE = {
    "js": "JS of the bins, bits ↓",
    "d_self": "D self",
    "d_train": "D train",
    "diversity": "diversity within a pitch",
    "duplicates": "duplicates of training notes",
    "consistency": "consistency",
    "fid_without_bias": "FID without bias ↓",
    "projection_error": "projection error, dB ↓",
}


def shown(score: list[float] | float | None, unit: float = 1.0) -> str:
    """An estimate with its interval, in units of ``unit``."""
    if score is None:
        return ""
    if not isinstance(score, list):
        return number(score / unit)
    value, low, high = (number(x / unit) for x in score)
    return f"{value} ({low} to {high})"


def figures(rows: dict[str, study.Row], found: dict[str, Any], columns: dict[str, str]) -> str:
    """A table of some figures, a line for every row."""
    real = (found.get("real_test") or {}).get("figures", {})
    lines = []
    for name in rows:
        result = found[name]
        if result is None or "failed" in result:
            lines.append([f"`{name}`", said(result), *[""] * (len(columns) - 1)])
            continue
        own = result["figures"]
        units = {c: real[c][0] if c in RELATIVE and c in real else 1.0 for c in columns}
        lines.append([f"`{name}`", *(shown(own.get(c), units[c]) for c in columns)])
    return markdown(["row", *columns.values()], lines)


def said(result: dict[str, Any] | None) -> str:
    return "not run" if result is None else f"failed: {result['failed']}"


def costs(rows: dict[str, study.Row], found: dict[str, Any]) -> str:
    """The scale of every row, and its cost."""
    head = ["row", "samples", "notes measured", "parameters", "steps", "CPU minutes", "s per s of audio"]
    lines = []
    for name, row in rows.items():
        result = found[name]
        if result is None or "failed" in result:
            lines.append([f"`{name}`", f"{row.samples:,}", said(result), "", "", "", ""])
            continue
        numbers = [f"{result[key]:,}" for key in ("samples", "notes", "parameters", "steps")]
        speed = result.get("seconds_per_second")
        minutes = f"{result['training_cpu_minutes']:.1f}" if row.system else ""
        lines.append([f"`{name}`", *numbers, minutes, "" if speed is None else f"{speed:g}"])
    return markdown(head, lines)


def made(rows: dict[str, study.Row], found: dict[str, Any]) -> str:
    """The tables."""
    measured = [one for one in found.values() if one and "figures" in one]
    group = measured[0]["group"] if measured else 0
    note = (
        f"An inception score is the mean over groups of {group} notes. D self, D train and diversity are "
        "relative to those of `real_test`."
    )
    return "\n\n".join([figures(rows, found, COLUMNS), figures(rows, found, MORE), note, costs(rows, found)])


def gallery_of(rows: dict[str, study.Row], found: dict[str, Any]) -> str:
    """A paragraph on every row, its picture and its sound."""
    parts = []
    for name, row in rows.items():
        lines = [f"### `{name}`", row.text.strip()]
        result = found[name]
        if result is None or "failed" in result:
            lines.append(f"{said(result).capitalize()}.")
        elif (MEDIA / f"{name}.webp").is_file():
            lines.append(f"![rainbowgrams of {name}](generation/{name}.webp)")
            lines.append(f"Listen: [{name}.ogg](generation/{name}.ogg).")
        parts += lines
    return "\n\n".join(parts)


def written(rows: dict[str, study.Row]) -> str:
    """The page with what is made of the results."""
    found = {name: study.result_of(row, study.RESULTS) for name, row in rows.items()}
    parts = [made(rows, found), "## The rows", gallery.LEGEND, gallery_of(rows, found)]
    return inserted(PAGE, BEGIN, END, "\n\n".join(parts))


def write(rows: dict[str, study.Row], folder: Path) -> None:
    """Write the page, or the table of another data set or size beside its results."""
    if folder == study.RESULTS:
        PAGE.write_text(written(rows), encoding="utf-8")
        print(PAGE)
        return
    found = {name: study.result_of(row, folder) for name, row in rows.items()}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "table.md").write_text(made(rows, found) + "\n", encoding="utf-8")
    print(folder / "table.md")
