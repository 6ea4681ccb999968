"""A typed, validated view of ``params.yaml``; the only place that knows its keys.

``load("seed", "model")`` reads the file once, checks *everything* in it and hands out only the
sections named: a stage that reads a section which ``dvc.yaml`` does not list for it fails in the
test that compares the two, and one that reads an unnamed section fails at once.

Units stand in ``params.yaml``'s comments and in the names (``_hz``, ``_s``, ``_db``).
"""

from retimbre.params.data import LOCAL_SOURCES, SOURCES, Audio, Dataset, Features
from retimbre.params.measuring import Baselines, Evaluate, Listening
from retimbre.params.reading import flatten, load, parse, read
from retimbre.params.together import Params
from retimbre.params.training import DISCRIMINATORS, Classifier, Model, Vocoder, VocoderKind

__all__ = [
    "DISCRIMINATORS",
    "LOCAL_SOURCES",
    "SOURCES",
    "Audio",
    "Baselines",
    "Classifier",
    "Dataset",
    "Evaluate",
    "Features",
    "Listening",
    "Model",
    "Params",
    "Vocoder",
    "VocoderKind",
    "flatten",
    "load",
    "parse",
    "read",
]
