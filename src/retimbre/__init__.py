"""Retimbre: the same music on another instrument.

``retimbre.transfer(audio, sample_rate, to="guitar")`` is the whole thing as one call on numpy arrays,
``Retimbre.load()`` keeps what it reads for many calls, and the command line's ``retimbre transfer`` does the
same to files.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from retimbre.systems.library import Retimbre

__all__ = ["Retimbre", "transfer"]
__version__ = "0.1.0"


def transfer(
    audio: "np.ndarray",
    sample_rate: int,
    to: str,
    system: str | None = None,
    vocoder: str | None = None,
    models: "str | Path | None" = None,
    seed: int = 0,
    mono: bool = False,
    mix: float = 0.0,
) -> "np.ndarray":
    """Transfer a recording to another instrument.

    ``audio``: (N,) or (N, channels) at ``sample_rate`` Hz, floats or integers of full scale. ``to``: an
    instrument of the trained system. ``system``: its name; None takes the first that is trained and knows the
    instrument. ``vocoder``: griffin_lim, source_phase, wavenet ..., one that is trained; None takes the
    default. ``models``: a folder that ``dvc repro`` filled, or the name of weights that come with the
    package; None takes ``data/models``, then those weights. ``seed``: of what is drawn. ``mono``: one channel
    comes back, whatever comes in. ``mix``: share of the recording in the output, 0 to 1, of its power.
    Returns float32 of the audio's shape, (N,) if ``mono``, at the same rate, as loud, its true peak below -1
    dBFS. Raises ``retimbre.errors.RetimbreError`` with a sentence for whatever the caller can mend.
    """
    from retimbre.systems.library import Retimbre

    return Retimbre.load(models, system, vocoder).transfer(audio, sample_rate, to, seed, mono, mix)


def __getattr__(name: str) -> Any:
    """``Retimbre``, imported when it is asked for: commands that need no model start without it."""
    if name == "Retimbre":
        from retimbre.systems.library import Retimbre

        return Retimbre
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
