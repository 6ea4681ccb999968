"""Section ``cut``."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from retimbre.section import Count, NonNegative, Positive
from retimbre.systems.cyclegan.params import Adversarial


class Params(Adversarial):
    """The knobs of every adversarial training, and those of the contrastive loss."""

    section: ClassVar[str] = "cut"
    generator: Literal["resnet1d", "resnet2d"]
    lambda_nce: NonNegative
    nce_identity: bool
    nce_layers: Count
    nce_places: Annotated[int, Field(ge=2)]
    nce_channels: Count
    nce_temperature: Positive
