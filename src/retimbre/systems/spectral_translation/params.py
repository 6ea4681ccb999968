"""Section ``spectral_translation``."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from retimbre.nn.wavenet_autoencoder.params import DecoderSizes
from retimbre.section import Count, NonNegative, Positive


class Params(DecoderSizes):
    """Generator, critic and decoders. Decoders learn the middle ``played_frames`` of ``crop_frames``."""

    section: ClassVar[str] = "spectral_translation"
    hears: Literal["cqt", "companded"]
    generator: Literal["resnet1d", "resnet2d", "unet", "yoon2019"]
    generator_channels: Count
    generator_blocks: Count
    upsampling: Literal["nearest", "transposed"]
    residual_output: bool
    change_limit: NonNegative
    critic: Literal["full_spectrum", "patch", "conv1d", "spectrogram"]
    critic_channels: Annotated[int, Field(ge=4)]
    critic_learning_rate: Positive
    lambda_confusion: NonNegative
    crop_frames: Annotated[int, Field(ge=16)]
    played_frames: Annotated[int, Field(ge=8)]

    @model_validator(mode="after")
    def _played_is_heard(self) -> "Params":
        if self.played_frames > self.crop_frames:
            raise ValueError(
                f"{self.section}.played_frames ({self.played_frames}) must not be above crop_frames "
                f"({self.crop_frames})"
            )
        return self
