"""Changes of params that a study is given on its command line."""

from collections.abc import Sequence
from typing import Any

import yaml

from retimbre.errors import RetimbreError


def changes(words: Sequence[str]) -> dict[str, Any]:
    """Values by dotted names, of words NAME=VALUE. Raises RetimbreError for another word."""
    if wrong := [word for word in words if "=" not in word]:
        raise RetimbreError(f"--set {wrong[0]}: write NAME=VALUE, such as dataset.source=nsynth.")
    return {name: yaml.safe_load(value) for name, value in (word.split("=", 1) for word in words)}
