"""Section ``vocoder.inverter``: the spectral inverter's training."""

from typing import Annotated

from pydantic import Field

from retimbre.section import Count, NonNegative, Positive, Precision, Section


class Params(Section):
    start_from: str | None
    channels: Count
    blocks: Count
    steps: Count
    batch_size: Count
    crop_frames: Annotated[int, Field(ge=8)]
    learning_rate: Positive
    band_weight: NonNegative
    precision: Precision

    @property
    def inputs(self) -> tuple[str, ...]:
        """Inputs of its training, beside the data: the shipped weights that it starts from."""
        from retimbre.nn.weights import shipped_folder  # torch: seconds, which reading params does without

        if not self.start_from:
            return ()
        return (str(shipped_folder(self.start_from, "vocoder.inverter.start_from") / "vocoder" / "inverter"),)
