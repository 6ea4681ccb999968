"""Section ``ddsp``."""

from typing import Annotated, ClassVar

from pydantic import Field

from retimbre.section import Count, Positive, Precision, Share, SystemSection


class Params(SystemSection):
    """The knobs of the synthesiser, of the networks that play it, and of their training."""

    section: ClassVar[str] = "ddsp"
    least_domains: ClassVar[int] = 1

    harmonics: Count
    bands: Annotated[int, Field(ge=2)]
    channels: Count
    layers: Count
    fft_sizes: Annotated[list[Annotated[int, Field(ge=16, multiple_of=4)]], Field(min_length=1)]
    single_line: Share
    crop_frames: Annotated[int, Field(ge=16)]
    batch_size: Count
    steps: Count
    learning_rate: Positive
    precision: Precision
