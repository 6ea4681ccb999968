"""Retimbre: the same music on another instrument.

``retimbre.transfer(audio, sample_rate, to="guitar")`` is the whole thing as one call on numpy arrays;
the command line's ``retimbre transfer`` does the same to files.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

__version__ = "0.1.0"


def transfer(
    audio: "np.ndarray",
    sample_rate: int,
    to: str,
    system: str | None = None,
    vocoder: str | None = None,
    models: str = "data/models",
    seed: int = 0,
) -> "np.ndarray":
    """Transfer a recording to another instrument.

    ``audio``: (N,) or (N, channels) at ``sample_rate`` Hz, floats or integers of full scale; channels are
    mixed down. ``to``: an instrument of the trained system. ``system``: its name; None takes the first that
    is trained and knows the instrument. ``vocoder``: griffin_lim, source_phase, wavenet ..., one that is
    trained; None takes the default. ``models``: the folder that ``dvc repro`` filled. ``seed``: of what is
    drawn. Returns float32 (N,) at the same rate, as loud, its true peak below -1 dBFS. Raises
    ``retimbre.errors.RetimbreError`` with a sentence for whatever the caller can mend.
    """
    from pathlib import Path

    from retimbre.systems import catalogue, streaming

    name = system or catalogue.choose(to, Path(models))
    return streaming.transfer(catalogue.load(name, Path(models), vocoder), audio, sample_rate, to, seed)
