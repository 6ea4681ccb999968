"""Section ``stft_autoencoder``."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from retimbre.section import Count, Natural, Positive, Precision, SystemSection


class Params(SystemSection):
    """The knobs of the autoencoders and of their training."""

    section: ClassVar[str] = "stft_autoencoder"
    encoder: Literal["own", "shared"]
    memory: Literal["none", "lstm"]
    context_frames: Natural
    widths: Annotated[list[Count], Field(min_length=1)]
    code: Count
    crop_frames: Annotated[int, Field(ge=16)]
    batch_size: Count
    steps: Count
    learning_rate: Positive
    precision: Precision

    @model_validator(mode="after")
    def _crops_hold_more_than_context(self) -> "Params":
        if self.context_frames >= self.crop_frames:
            raise ValueError(
                f"{self.section}.context_frames ({self.context_frames}) must be below crop_frames "
                f"({self.crop_frames})"
            )
        return self
