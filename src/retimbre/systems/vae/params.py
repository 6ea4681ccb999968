"""Section ``vae``."""

from typing import Annotated, ClassVar

from pydantic import Field

from retimbre.section import Count, NonNegative, Positive, Precision, Representation, SystemSection


class Params(SystemSection):
    """The knobs of the networks and of their training."""

    section: ClassVar[str] = "vae"
    representation: Representation
    channels: Count
    blocks: Annotated[int, Field(ge=1, le=32)]
    code: Count
    beta: NonNegative
    free_bits: NonNegative
    crop_frames: Annotated[int, Field(ge=16)]
    batch_size: Annotated[int, Field(ge=2)]
    steps: Count
    learning_rate: Positive
    precision: Precision
