"""The part of the systems' params that all adversarial trainings have."""

from typing import Annotated, Any, ClassVar

from pydantic import Field

from retimbre.section import Count, Natural, Positive, Section, Share
from retimbre.synthesis.dcgan import Initial, Upsampling


class Adversarial(Section):
    """The knobs of a generator, of its critic and of their training.

    ``channels``: of the layers with the fewest, 64 as published; ``steps`` of the generator, each after
    ``critic_steps`` of the critic; ``ema_decay``: of the average of the generator that is kept, 0 for its
    last weights; ``phase_shuffle``: the most places that the critic's activations are shifted by;
    ``upsampling`` and ``initial``: see ``DcganConfig``.
    """

    section: ClassVar[str]  # name of the system
    channels: Count
    latent: Count
    steps: Count
    batch_size: Annotated[int, Field(ge=2)]
    critic_steps: Count
    lambda_gradient_penalty: Positive
    learning_rate: Positive
    adam_beta1: Share
    adam_beta2: Share
    ema_decay: Share
    phase_shuffle: Natural
    phase_shuffle_per_example: bool
    upsampling: Upsampling
    initial: Initial

    @property
    def shape(self) -> dict[str, Any]:
        """Those that are fields of a ``DcganConfig``."""
        return {name: getattr(self, name) for name in ("latent", "upsampling", "initial", "phase_shuffle")}
