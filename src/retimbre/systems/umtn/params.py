"""Section ``umtn``."""

from typing import Annotated, ClassVar

from pydantic import Field

from retimbre.nn.wavenet_autoencoder.params import Sizes
from retimbre.section import Count, NonNegative, Positive


class Params(Sizes):
    """``frozen_from``: a trained model whose encoder is kept as it is, to add a decoder for new domains."""

    section: ClassVar[str] = "umtn"
    classifier_channels: Count
    classifier_learning_rate: Positive
    lambda_confusion: NonNegative
    augment_semitones: Annotated[float, Field(ge=0, le=12)]
    frozen_from: str | None

    @property
    def least_domains(self) -> int:  # type: ignore[override]
        return 1 if self.frozen_from else 2

    @property
    def inputs(self) -> tuple[str, ...]:  # type: ignore[override]
        return (self.frozen_from,) if self.frozen_from else ()
