"""Section ``nsynth_autoencoder``."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from retimbre.nn.wavenet_autoencoder.params import Sizes
from retimbre.section import Count, Natural, Positive, Section


class Spectral(Section):
    """The spectral baseline of the paper: its sizes, schedule and Griffin-Lim."""

    channels: Count
    latent: Count
    instrument: Count
    steps: Count
    batch_size: Annotated[int, Field(ge=2)]
    learning_rate: Positive
    griffin_lim_iterations: Natural


class Params(Sizes):
    """``model``: the paper's WaveNet autoencoder, or its baseline, which ``spectral`` is for."""

    section: ClassVar[str] = "nsynth_autoencoder"
    model: Literal["wavenet", "spectral"]
    spectral: Spectral
