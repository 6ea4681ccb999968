"""What the scripts of the training stages share."""

import json
import sys
from pathlib import Path
from typing import Any


def loaded_sources() -> list[Path]:
    """This project's source files that the running program has imported, in a fixed order."""
    names = ("retimbre", "stages")
    modules = (m for name, m in sorted(sys.modules.items()) if name.split(".")[0] in names)
    return [Path(m.__file__) for m in modules if getattr(m, "__file__", None)]


def write_metrics(path: Path, metrics: dict[str, Any]) -> None:
    """Write a metrics file: sorted as given, four significant digits, without NaN (left out)."""

    def tidy(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: tidy(item) for key, item in value.items() if item == item}
        return float(f"{value:.4g}") if isinstance(value, float) else value

    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(tidy(metrics), indent=1) + "\n", encoding="utf-8")
