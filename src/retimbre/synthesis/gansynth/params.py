"""The section of a GANSynth."""

from collections.abc import Sequence
from functools import cached_property
from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator

from retimbre.section import Count, Natural, NonNegative, Positive, Section, Share
from retimbre.synthesis.instantaneous_frequency import Kind


class Params(Section):
    """The knobs of the pictures, of the networks and of their training.

    ``bins``: 512 for the normal resolution, 1024 for the high one. ``padding_behind``: samples, 0 as
    published, bins / 2 for notes that sound to their end. ``resolutions``: through which the networks grow,
    each twice the one before in time and frequency. ``filters``: of block b there are filters / 2^b,
    ``most_filters`` at most. Every resolution but the first fades in over ``transition_steps``, and every one
    has ``stable_steps`` then. These two and ``batch_sizes`` are lists, for the last resolutions; all before
    them have the first value.

    ``even_start``: pictures begin as even areas, for trainings of minutes; published ones begin as noise.

    ``tones``: both networks see a steady tone of the pitch at every resolution, so that where partials lie
    need not be learned. Published ones are told the pitch by a one-hot alone.

    ``decay_from``: share of all steps after which both learning rates fall linearly towards 0; 1: never, as
    published.

    ``normaliser``: of magnitudes, the published constants, or one fitted to the notes.
    """

    section: ClassVar[str] = "gansynth"
    kind: Kind
    bins: Annotated[int, Field(ge=8)]
    padding_behind: Natural
    resolutions: Annotated[int, Field(ge=1, le=9)]
    normaliser: Literal["published", "fitted"]
    latent: Count
    even_start: bool
    tones: bool = False
    filters: Count
    most_filters: Count
    batch_sizes: Annotated[list[Annotated[int, Field(ge=2)]], Field(min_length=1)]
    stable_steps: Annotated[list[Count], Field(min_length=1)]
    transition_steps: Annotated[list[Count], Field(min_length=1)]
    generator_rate: Positive
    critic_rate: Positive
    decay_from: Share = 1.0
    ema_decay: Share
    lambda_gradient_penalty: NonNegative
    lambda_drift: NonNegative
    lambda_pitch: NonNegative

    @field_validator("bins")
    @classmethod
    def _power(cls, bins: int) -> int:
        if bins & (bins - 1):
            raise ValueError("bins must be a power of two: 512 or 1024")
        return bins

    def at(self, values: Sequence[int], resolution: int) -> int:
        """Value of a list at a resolution, counted from 0."""
        return values[max(0, len(values) - self.resolutions + resolution)]

    @cached_property
    def stages(self) -> list[tuple[int, int]]:
        """Steps of fading in and steps afterwards, by resolution."""
        fading = [self.at(self.transition_steps, r) if r else 0 for r in range(self.resolutions)]
        return [(fade, self.at(self.stable_steps, r)) for r, fade in enumerate(fading)]

    @property
    def steps(self) -> int:
        return sum(map(sum, self.stages))

    def progress(self, step: int) -> float:
        """Resolution of a step, from 0 to ``resolutions - 1``: between two while the finer one fades in."""
        for resolution, (fade, stable) in enumerate(self.stages):
            if step < fade:
                return resolution - 1 + (step + 1) / (fade + 1)
            if step < fade + stable:
                return float(resolution)
            step -= fade + stable
        return self.resolutions - 1.0
