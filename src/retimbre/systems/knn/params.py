"""Section ``knn``."""

from typing import Annotated, ClassVar

from pydantic import Field, model_validator

from retimbre.section import Count, NonNegative, Positive, Share, SystemSection


class Params(SystemSection):
    """The pool of the target's frames, and how it is asked."""

    section: ClassVar[str] = "knn"
    inputs: ClassVar[tuple[str, ...]] = ("data/content",)
    least_domains: ClassVar[int] = 1
    precision: ClassVar[str] = "32-true"  # nothing is trained

    minutes: Positive
    neighbours: Count
    candidates: Annotated[int, Field(ge=1, le=64)]
    semitones: Annotated[int, Field(ge=0, le=24)]
    continuity: NonNegative
    follow: Share
    sounds: Annotated[float, Field(gt=0, lt=1)]
    additive: bool

    @model_validator(mode="after")
    def _neighbours_are_candidates(self) -> "Params":
        if self.neighbours > self.candidates:
            raise ValueError(
                f"knn.neighbours is {self.neighbours}, of {self.candidates} candidates: use no more"
            )
        return self
