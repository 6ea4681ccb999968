"""Section ``baselines``: the training-free systems of the table."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from retimbre.section import Count, Natural, NonNegative, Positive, Section


class Cepstral(Section):
    envelope: Literal["clip", "mean", "knn"]
    lifter_ms: Positive
    neighbours: Count


class Concatenative(Section):
    unit_s: Annotated[float, Field(ge=0.02, le=2)]
    neighbours: Count
    pitch_weight: NonNegative
    continuity: NonNegative


class Nmf(Section):
    corpus_s: Positive
    iterations: Count
    repetition: Natural
    polyphony: Count
    continuity: Natural
    griffin_lim_iterations: Natural


class Gram(Section):
    content: NonNegative
    style: NonNegative
    iterations: Count
    phase: Literal["source", "griffin_lim"]


class Texture(Section):
    filters: Count
    start: Literal["source", "noise"]
    alpha: NonNegative
    iterations: Count
    griffin_lim_iterations: Natural


class Baselines(Section):
    systems: list[Literal["cepstral", "concatenative", "nmf", "gram", "texture"]]
    corpus_s: Positive
    cepstral: Cepstral
    concatenative: Concatenative
    nmf: Nmf
    gram: Gram
    texture: Texture

    @model_validator(mode="after")
    def _once(self) -> "Baselines":
        if len(set(self.systems)) != len(self.systems):
            raise ValueError("baselines.systems names a system twice: give each once")
        return self
