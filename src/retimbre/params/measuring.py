"""The sections of what is measured: the evaluation, the baselines of its table, the listening test."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from retimbre.params.base import Count, DomainName, Natural, NonNegative, Positive, Section


class Evaluate(Section):
    slow_items: Natural
    jobs: Count
    cache_mb: NonNegative
    audio_examples: Natural
    bootstrap: Annotated[int, Field(ge=100)]

    @model_validator(mode="before")
    @classmethod
    def _renamed(cls, values: Any) -> Any:
        if isinstance(values, dict) and "route" in values:
            raise ValueError("evaluate.route is now vocoder.kind, the default audio: move its value there")
        return values


class Baselines(Section):
    systems: list[Literal["cepstral", "mosaicing", "musaicing", "gram", "texture"]]
    corpus_s: Positive
    cepstral_envelope: Literal["clip", "mean", "knn"]
    cepstral_lifter_ms: Positive
    cepstral_neighbours: Count
    mosaicing_unit_s: Annotated[float, Field(ge=0.02, le=2)]
    mosaicing_neighbours: Count
    mosaicing_pitch_weight: NonNegative
    mosaicing_continuity: NonNegative
    musaicing_corpus_s: Positive
    musaicing_iterations: Count
    musaicing_repetition: Natural
    musaicing_polyphony: Count
    musaicing_continuity: Natural
    musaicing_griffin_lim_iterations: Natural
    gram_content: NonNegative
    gram_style: NonNegative
    gram_iterations: Count
    gram_phase: Literal["source", "griffin_lim"]
    texture_filters: Count
    texture_start: Literal["source", "noise"]
    texture_alpha: NonNegative
    texture_iterations: Count
    texture_griffin_lim_iterations: Natural

    @model_validator(mode="after")
    def _once(self) -> "Baselines":
        if len(set(self.systems)) != len(self.systems):
            raise ValueError("baselines.systems names a system twice: give each once")
        return self


class Listening(Section):
    study: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$")]
    preset: Literal["tt4", "dissertation"]
    seed: Natural
    systems: Annotated[list[DomainName], Field(min_length=1, max_length=6)]
    baselines: Annotated[list[DomainName], Field(max_length=4)]
    blocks: Annotated[
        list[Literal["content", "timbre", "likeness", "quality", "preference", "multi"]],
        Field(min_length=1),
    ]
    instruments: list[DomainName]
    items: Annotated[int, Field(ge=2)]
    listeners: Count
    pages_per_condition: Count
    repeats: Natural
    clip_s: Annotated[float, Field(ge=4, le=8)]
    loudness_lufs: Annotated[float, Field(ge=-40, le=-10)]
    peak_dbfs: Annotated[float, Field(ge=-20, lt=0)]
    fade_ms: Annotated[float, Field(ge=1, le=500)]
    headphone_check: bool
    max_minutes: Positive
    contact: Annotated[str, Field(max_length=200)]
    endpoint: Annotated[str, Field(max_length=200)]

    @model_validator(mode="after")
    def _names(self) -> "Listening":
        judged = [*self.systems, *self.baselines]
        if twice := [name for name in judged if judged.count(name) > 1]:
            raise ValueError(f"listening.systems and listening.baselines name {twice[0]} twice: give each once")
        controls = ("source", "target", "copy", "oracle", "unrelated", "anchor")
        if taken := [name for name in judged if name in controls]:
            raise ValueError(f"listening.systems names {taken[0]}, a control that every study has: remove it")
        if len(set(self.blocks)) != len(self.blocks):
            raise ValueError("listening.blocks names a block twice: give each once")
        if self.pages_per_condition > self.items:
            raise ValueError(f"listening.pages_per_condition must be at most listening.items ({self.items})")
        if self.endpoint and not self.endpoint.startswith(("https://", "http://", "/")):
            raise ValueError("listening.endpoint must be empty or an address that starts with https://")
        return self
