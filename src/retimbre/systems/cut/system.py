"""The trained generators: loaded, saved and used as the CycleGAN's are."""

from retimbre.systems.cyclegan.system import Change

__all__ = ["Change"]
