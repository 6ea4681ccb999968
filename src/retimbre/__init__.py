"""Retimbre: the same music on another instrument."""

__version__ = "0.1.0"
