"""Section ``vlae``."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from retimbre.section import Count, NonNegative, Positive, Precision, Representation, Share, SystemSection


class Params(SystemSection):
    """The knobs of the encoder, of the WaveNet and of their training."""

    section: ClassVar[str] = "vlae"
    representation: Representation
    encoder_channels: Count
    encoder_blocks: Annotated[int, Field(ge=1, le=32)]
    code: Count
    code_frames: Count
    beta: NonNegative
    free_bits: NonNegative
    sample_rate: Count
    layers: Annotated[int, Field(ge=1, le=14)]
    kernel: Literal[2, 3]
    residual_channels: Annotated[int, Field(ge=4)]
    skip_channels: Count
    conditioning_channels: Count
    preemphasis: Annotated[float, Field(ge=0, lt=1)]
    gain: Positive
    noise_share: Share
    noise_codes: Annotated[float, Field(ge=1, le=128)]
    crop_frames: Annotated[int, Field(ge=16)]
    batch_size: Annotated[int, Field(ge=2)]
    steps: Count
    learning_rate: Positive
    precision: Precision
