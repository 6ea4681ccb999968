"""The networks of the CycleGAN under one name; see ``models.generators`` and ``models.discriminators``."""

from retimbre.models.discriminators import Discriminator
from retimbre.models.generators import Generator, GeneratorConfig

__all__ = ["Discriminator", "Generator", "GeneratorConfig"]
