"""Lay a profile over ``params.yaml``: ``python tools/profile.py gpu``; comments stay."""

import sys
from pathlib import Path

from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "src"))

from retimbre import params  # noqa: E402
from retimbre.errors import RetimbreError, run  # noqa: E402


def main() -> None:
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    profile = ROOT / "profiles" / f"{name}.yaml"
    if not profile.is_file():
        known = ", ".join(sorted(path.stem for path in profile.parent.glob("*.yaml")))
        raise RetimbreError(f"there is no profile {name!r}: use `make profile P=NAME` with one of {known}")
    yaml = YAML()
    yaml.width = 1000
    values = yaml.load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    params.overlay(values, yaml.load(profile.read_text(encoding="utf-8")))
    with (ROOT / "params.yaml").open("w", encoding="utf-8") as file:
        yaml.dump(values, file)
    params.read(ROOT / "params.yaml")
    laid = f"params.yaml is as before with {profile.relative_to(ROOT)} laid over it"
    print(f"{laid}; `git checkout params.yaml` goes back.")


if __name__ == "__main__":
    run(main)
