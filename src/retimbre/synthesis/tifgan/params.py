"""Params of TiFGAN."""

from typing import ClassVar, Literal

from retimbre.synthesis.params import Adversarial

Variant = Literal["m", "mtf"]


class Params(Adversarial):
    """``variant``: magnitude alone, or with the phase's derivatives in time and frequency."""

    section: ClassVar[str] = "tifgan"
    variant: Variant
