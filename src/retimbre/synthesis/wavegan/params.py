"""Params of WaveGAN."""

from typing import ClassVar

from retimbre.section import Natural
from retimbre.synthesis.params import Adversarial


class Params(Adversarial):
    """``post_filter``: samples of the filter behind the generator, 0 for none."""

    section: ClassVar[str] = "wavegan"
    post_filter: Natural
