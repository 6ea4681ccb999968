"""Section ``resynthesis``."""

from typing import Annotated, ClassVar

from pydantic import Field

from retimbre.section import (
    Count,
    Natural,
    NonNegative,
    Positive,
    Precision,
    Representation,
    Share,
    SystemSection,
)


class Params(SystemSection):
    """The knobs of the networks and of the phases of their training."""

    section: ClassVar[str] = "resynthesis"
    least_domains: ClassVar[int] = 1

    representation: Representation
    start_from: str | None
    channels: Count
    blocks: Annotated[int, Field(ge=1, le=32)]
    embedding: Count
    steps: Count
    rounds: Natural
    round_steps: Count
    back_share: Share
    back_minutes: Positive
    spectrum_steps: Natural
    spectrum_share: Share
    joint_rounds: Natural
    joint_steps: Count
    vary_sustain: NonNegative
    vary_levels: Share
    vary_pitch: Share
    lambda_linear: NonNegative
    lambda_alone: NonNegative
    crop_frames: Annotated[int, Field(ge=16)]
    batch_size: Count
    learning_rate: Positive
    ema_decay: Annotated[float, Field(ge=0, lt=1)]
    precision: Precision

    @property
    def inputs(self) -> tuple[str, ...]:  # type: ignore[override]
        from retimbre.nn.weights import shipped_folder  # torch: seconds, which reading params does without

        found = ("data/content", "data/models/vocoder/inverter")
        if not self.start_from:
            return found
        shipped = shipped_folder(self.start_from, f"{self.section}.start_from") / "resynthesis"
        return (*found, str(shipped))
