"""The section of a GANSynth."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from retimbre.section import Count, NonNegative, Positive, Section, Share
from retimbre.synthesis.instantaneous_frequency import Kind


class Params(Section):
    """The knobs of the pictures, of the networks and of their training.

    ``bins``: 512 for the normal resolution, 1024 for the high one. ``resolutions``: through which the
    networks grow, each twice the one before in time and frequency. ``filters``: of block b there are
    filters / 2^b, ``most_filters`` at most. ``batch_sizes``: of the last resolutions, of all before them the
    first. Every resolution has ``stable_steps`` steps, and every one but the first ``transition_steps``
    before them in which it fades in; the last one goes on to ``steps`` in all.

    ``normaliser``: of magnitudes, the published constants, or one fitted to the notes.
    """

    kind: Kind
    bins: Annotated[int, Field(ge=8)]
    resolutions: Annotated[int, Field(ge=1, le=9)]
    normaliser: Literal["published", "fitted"]
    latent: Count
    filters: Count
    most_filters: Count
    batch_sizes: Annotated[list[Annotated[int, Field(ge=2)]], Field(min_length=1)]
    stable_steps: Count
    transition_steps: Count
    steps: Count
    learning_rate: Positive
    ema_decay: Share
    lambda_gradient_penalty: NonNegative
    lambda_drift: NonNegative
    lambda_pitch: NonNegative

    @model_validator(mode="after")
    def _check(self) -> "Params":
        if self.bins & (self.bins - 1):
            raise ValueError("bins must be a power of two: 512 or 1024")
        needed = self.resolutions * self.stable_steps + (self.resolutions - 1) * self.transition_steps
        if self.steps < needed:
            raise ValueError(f"steps must be {needed} or more, for every resolution to be trained")
        return self

    def batch_size(self, resolution: int) -> int:
        """Examples of a step at a resolution, counted from 0."""
        return self.batch_sizes[max(0, len(self.batch_sizes) - self.resolutions + resolution)]

    def progress(self, step: int) -> float:
        """Resolution of a step, from 0 to ``resolutions - 1``: between two while the finer one fades in."""
        stage, place = divmod(step, self.stable_steps + self.transition_steps)
        faded = max(0, place - self.stable_steps + 1) / (self.transition_steps + 1)
        return min(stage + faded, self.resolutions - 1.0)
