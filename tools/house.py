"""Draw which room of ``src/retimbre`` imports which: ``python tools/house.py`` writes ``docs/house.svg``."""

import ast
import sys
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "src"))

from retimbre import provenance  # noqa: E402

LIBRARY, PICTURE = ROOT / "src/retimbre", ROOT / "docs/house.svg"
ROW, LEFT, TOP = 30, 110, 80  # pixels: of a room, of the names beside and above


def imported(file: Path) -> set[str]:
    """Rooms (folders and modules right below ``retimbre``) that a file imports when it runs."""
    names = provenance.imports_of(ast.parse(file.read_text(encoding="utf-8")), "", in_functions=True)
    return {name.split(".")[1] for name in names if name.startswith("retimbre.")}


def house() -> dict[str, set[str]]:
    """Room -> the rooms that it imports, each after those; ``cli`` and ``stages`` are rooms, too."""
    folders = {path.name: path for path in LIBRARY.iterdir() if list(path.glob("*.py"))}
    files = {name: sorted(path.rglob("*.py")) for name, path in folders.items()}
    files |= {"cli": [LIBRARY / "cli.py"], "stages": sorted((ROOT / "stages").glob("*.py"))}
    used = {name: set().union(*map(imported, files[name])) & {*files} - {name} for name in sorted(files)}
    order = TopologicalSorter({name: sorted(rooms) for name, rooms in used.items()}).static_order()
    return {name: used[name] for name in order}


def svg(rooms: dict[str, set[str]]) -> str:
    """A row for each room, the ground floor at the bottom; a dot under each room that it imports."""
    names = list(rooms)
    width, height = LEFT + ROW * len(names) + 60, TOP + ROW * len(names) + 10
    across = {name: LEFT + ROW * i + ROW // 2 for i, name in enumerate(names)}
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        'font-size="13" role="img" aria-label="Rooms and the rooms that they import">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
    ]
    for i, name in enumerate(reversed(names)):
        y = TOP + ROW * i + ROW // 2
        span = across[name] - LEFT + ROW // 2
        parts += [
            f'<rect x="{LEFT}" y="{y - 14}" width="{span}" height="28" fill="#eaf1f6"/>',
            f'<text x="{LEFT - 10}" y="{y + 5}" text-anchor="end">{name}</text>',
            f'<text transform="translate({across[name] + 4} {TOP - 8}) rotate(-45)">{name}</text>',
            f'<rect x="{across[name] - 10}" y="{y - 10}" width="20" height="20" rx="4" fill="#0b6e99"/>',
        ]
        parts += [
            f'<circle cx="{x}" cy="{y}" r="6" fill="#0b6e99"/>'
            for other, x in across.items()
            if other in rooms[name]
        ]
    return "\n".join([*parts, "</svg>\n"])


if __name__ == "__main__":
    PICTURE.write_text(svg(house()), encoding="utf-8")
