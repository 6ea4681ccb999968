"""Section ``pix2pix``."""

from typing import ClassVar

from retimbre.section import NonNegative
from retimbre.systems.cyclegan.params import Adversarial


class Params(Adversarial):
    """The knobs of every adversarial training, and the weight of the distance to the true target."""

    section: ClassVar[str] = "pix2pix"
    needs_pairs: ClassVar[bool] = True
    lambda_l1: NonNegative
