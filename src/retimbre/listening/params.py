"""Section ``listening``: the listening test."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from retimbre.section import Count, Name, Natural, Positive, Section

SHORTEST_S = 4.0  # of a clip of music
OF_NOTES = ("quality", "preference")  # blocks of the preset ``notes``


class Listening(Section):
    study: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$")]
    preset: Literal["tt4", "dissertation", "notes"]
    seed: Natural
    systems: Annotated[list[Name], Field(min_length=1, max_length=6)]
    baselines: Annotated[list[Name], Field(max_length=4)]
    blocks: Annotated[
        list[Literal["content", "timbre", "likeness", "quality", "preference", "multi"]], Field(min_length=1)
    ]
    instruments: list[Name]
    items: Annotated[int, Field(ge=2)]
    listeners: Count
    pages_per_condition: Count
    repeats: Natural
    clip_s: Annotated[float, Field(ge=0.5, le=8)]
    loudness_lufs: Annotated[float, Field(ge=-40, le=-10)]
    peak_dbfs: Annotated[float, Field(ge=-20, lt=0)]
    fade_ms: Annotated[float, Field(ge=1, le=500)]
    headphone_check: bool
    max_minutes: Positive
    contact: Annotated[str, Field(max_length=200)]

    @model_validator(mode="after")
    def _names(self) -> "Listening":
        compared = [*self.systems, *self.baselines]
        if twice := [name for name in compared if compared.count(name) > 1]:
            raise ValueError(
                f"listening.systems and listening.baselines name {twice[0]} twice: give each once"
            )
        controls = ("source", "target", "copy", "oracle", "unrelated", "anchor")
        if taken := [name for name in compared if name in controls]:
            raise ValueError(f"listening.systems names {taken[0]}, a control that every study has: remove it")
        if len(set(self.blocks)) != len(self.blocks):
            raise ValueError("listening.blocks names a block twice: give each once")
        if self.pages_per_condition > self.items:
            raise ValueError(f"listening.pages_per_condition must be at most listening.items ({self.items})")
        if self.preset != "notes" and self.clip_s < SHORTEST_S:
            raise ValueError(f"listening.clip_s must be {SHORTEST_S:g} or more but for preset notes")
        if self.preset == "notes" and (other := set(self.blocks) - set(OF_NOTES)):
            raise ValueError(
                f"listening.blocks has {min(other)}, which preset notes does not ask: it has "
                f"{' and '.join(OF_NOTES)}"
            )
        return self
