"""Section ``vocoder.wavenet``: the WaveNet's training."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from retimbre.nn.wavenet.options import WaveNetConfig
from retimbre.section import Count, Positive, Precision, Section


class Size(Section):
    """Sizes, companding and schedule of every conditional WaveNet."""

    layers: Count
    layers_per_stack: Annotated[int, Field(ge=1, le=14)]
    kernel: Literal[2, 3]
    residual_channels: Annotated[int, Field(ge=4)]
    skip_channels: Count
    conditioning_channels: Count
    mixtures: Count
    upsampling: Literal["nearest", "linear", "transposed"]
    preemphasis: Annotated[float, Field(ge=0, lt=1)]
    gain: Positive
    steps: Count
    batch_size: Count
    crop_frames: Count
    learning_rate: Positive
    precision: Precision

    def network(self, bins: int, hop_length: int, domains: int, **choices: str | int) -> WaveNetConfig:
        """The network of a section: the sizes that every WaveNet has, and ``choices``."""
        names = ("layers", "layers_per_stack", "kernel", "residual_channels", "skip_channels")
        names += ("conditioning_channels", "mixtures", "upsampling")
        sizes = {name: getattr(self, name) for name in names}
        return WaveNetConfig(bins, hop_length, domains, **sizes, **choices)


class Params(Size):
    input: Literal["codes", "scalar"]
    output: Literal["softmax", "mol"]
    context_layers: Annotated[int, Field(ge=0, le=14)]
    context_channels: Count
    reverse: bool
    silence_db: Annotated[float, Field(ge=-200, le=0)]
    ema_decay: Annotated[float, Field(ge=0, lt=1)]

    @model_validator(mode="after")
    def _mixture(self) -> "Params":
        if self.output == "mol" and self.input != "scalar":
            why = "65536 codes have no embedding"
            raise ValueError(f"vocoder.wavenet.output mol needs vocoder.wavenet.input scalar: {why}")
        return self
