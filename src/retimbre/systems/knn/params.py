"""Section ``knn``."""

from typing import Annotated, ClassVar

from pydantic import Field

from retimbre.section import Count, NonNegative, Positive, Share, SystemSection


class Params(SystemSection):
    """The pool of the target's frames, and how it is asked."""

    section: ClassVar[str] = "knn"
    precision: ClassVar[str] = "32-true"  # nothing is trained

    minutes: Positive
    neighbours: Count
    candidates: Annotated[int, Field(ge=1, le=64)]
    semitones: Annotated[int, Field(ge=0, le=24)]
    continuity: NonNegative
    follow: Share
    sounds: Annotated[float, Field(gt=0, lt=1)]
    additive: bool
