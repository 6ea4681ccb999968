"""Section ``wavenet_activations``."""

from typing import Annotated, ClassVar

from pydantic import Field, model_validator

from retimbre.section import Count, Natural, NonNegative, Positive, Precision, SystemSection


class Params(SystemSection):
    """The knobs of the WaveNet, of its training, and of the optimisation."""

    section: ClassVar[str] = "wavenet_activations"

    layers: Count
    layers_per_stack: Annotated[int, Field(ge=1, le=14)]
    residual_channels: Annotated[int, Field(ge=4)]
    skip_channels: Count
    preemphasis: Annotated[float, Field(ge=0, lt=1)]
    gain: Positive
    steps: Count
    batch_size: Count
    crop_frames: Count
    learning_rate: Positive
    style_layers: Annotated[list[Natural], Field(min_length=1)]
    content_layer: Natural
    style: NonNegative
    content: NonNegative
    iterations: Count
    rate: Positive
    precision: Precision

    @model_validator(mode="after")
    def _layers_exist(self) -> "Params":
        if max(*self.style_layers, self.content_layer) > self.layers - 2:
            why = f"the residual of layer {self.layers - 2} is the last of {self.layers} layers"
            raise ValueError(f"style_layers and content_layer count from 0, and {why}: use smaller ones")
        return self
