"""Params of SpecGAN."""

from typing import ClassVar

from retimbre.synthesis.params import Adversarial


class Params(Adversarial):
    """The knobs of every adversarial training, and how pictures are enlarged."""

    section: ClassVar[str] = "specgan"
