"""Retimbre: the same music on another instrument.

``retimbre.transfer(audio, sample_rate, to="guitar")`` is the whole thing as one call on numpy arrays;
the command line's ``retimbre transfer`` does the same to files.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

__version__ = "0.1.0"


def transfer(
    audio: "np.ndarray", sample_rate: int, to: str, vocoder: str | None = None, models: str = "data/models", seed: int = 0
) -> "np.ndarray":
    """Transfer a recording to another instrument.

    ``audio``: float samples (N,) or (N, channels) at ``sample_rate`` Hz; channels are mixed down.
    ``to``: a domain of the trained models. ``vocoder``: source_phase, griffin_lim, wavenet ...,
    those that are trained; None takes the default of ``vocoder.kind``. ``seed``: of kinds that draw.
    ``models``: the folder that ``dvc repro`` filled. Returns float32 (N,) at the same rate, as loud.
    Raises ``retimbre.errors.RetimbreError`` with a sentence for whatever the caller can mend.
    """
    from retimbre.systems.streaming import TimbreTransfer

    return TimbreTransfer.load(models)(audio, sample_rate, to, vocoder, seed)
