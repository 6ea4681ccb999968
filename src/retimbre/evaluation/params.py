"""Section ``evaluate``: the bench and its report."""

from typing import Annotated

from pydantic import Field

from retimbre.section import Name, Natural, Section
from retimbre.vocoders.params import Kind


class Evaluate(Section):
    vocoders: dict[Name, Annotated[list[Kind], Field(min_length=1)]]
    slow_items: Natural
    audio_examples: Natural
    bootstrap: Annotated[int, Field(ge=100)]
