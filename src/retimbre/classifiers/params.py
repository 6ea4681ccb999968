"""Section ``classifier``: the instrument classifiers of the evaluation."""

from typing import Annotated

from pydantic import Field

from retimbre.section import Count, NonNegative, Positive, Precision, Representation, Section


class Classifier(Section):
    representation: Representation
    channels: Count
    window_frames: Annotated[int, Field(ge=16)]
    batch_size: Count
    steps: Count
    learning_rate: Positive
    gain_jitter_db: NonNegative
    noise_db: NonNegative
    precision: Precision
