"""Training of TiFGAN.

Two things differ from the released code (tifgan/stftGAN). Its gradient penalty takes one norm over all
examples of a batch together, ours one of each. Its phase shuffle is never reached for pictures, although it
is switched on; ours is as it is asked for.
"""

from dataclasses import replace
from functools import partial

import numpy as np
import torch

from retimbre.errors import RetimbreError
from retimbre.synthesis.adversarial import normal, train
from retimbre.synthesis.base import Notes
from retimbre.synthesis.dcgan import Critic, Generator
from retimbre.synthesis.tifgan.network import config, encoded
from retimbre.synthesis.tifgan.params import Params
from retimbre.synthesis.tifgan.system import Synthesiser
from retimbre.training.fit import History, Run

QUIETEST = 1e-4  # mean of |x|; the magnitudes of quieter notes are relative to noise


def audible(notes: Notes) -> Notes:
    """Notes without those that are near to silence. Raises RetimbreError when none is left."""
    kept = np.array([np.abs(x).mean() >= QUIETEST for x in notes.audio])  # which may lie on the disk
    if not kept.any():
        raise RetimbreError("all notes are silent: give TiFGAN notes that can be heard.")
    if kept.all():
        return notes
    of_each = ("audio", "pitch", "velocity", "instrument")
    return replace(notes, **{name: getattr(notes, name)[kept] for name in of_each})


def fit(notes: Notes, p: Params, run: Run) -> tuple[Synthesiser, History]:
    """Train on the audible notes, of a multiple of 4096 samples."""
    notes = audible(notes)
    shape = config(notes.audio.shape[1], p)
    torch.manual_seed(run.seed)
    generator, critic = Generator(shape), Critic(shape)
    encode = partial(encoded, derivatives=p.variant == "mtf")
    generator, history = train(generator, critic, notes, encode, normal, p, run)
    peak = float(np.mean([np.abs(x).max() for x in notes.audio]))
    return Synthesiser.trained(generator, notes, peak=peak), history
