"""Section ``vocoder.istft``: the training of the network with an inverse-STFT head."""

from typing import Annotated

from pydantic import Field

from retimbre.section import Count, Natural, NonNegative, Positive, Precision, Section


class Params(Section):
    n_fft: Annotated[int, Field(ge=64)]
    channels: Count
    blocks: Count
    projections: Natural
    steps: Count
    batch_size: Count
    crop_frames: Annotated[int, Field(ge=16)]
    learning_rate: Positive
    adversarial: bool
    lambda_adversarial: NonNegative
    lambda_feature_matching: NonNegative
    precision: Precision
