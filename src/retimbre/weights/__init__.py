"""Weights that ship with the package, a folder each, laid out as ``data/models``."""
