"""Training of SpecGAN."""

import torch

from retimbre.synthesis.adversarial import train, uniform
from retimbre.synthesis.base import Notes
from retimbre.synthesis.dcgan import Critic
from retimbre.synthesis.specgan.network import SpecGenerator, config
from retimbre.synthesis.specgan.params import Params
from retimbre.synthesis.specgan.system import Synthesiser
from retimbre.training.fit import History, Run

PART = 64  # notes whose spectra are in memory at once


def fit(notes: Notes, p: Params, run: Run) -> tuple[Synthesiser, History]:
    """Train on notes of a multiple of 4096 samples."""
    shape = config(notes.audio.shape[1], p)
    torch.manual_seed(run.seed)
    generator, critic = SpecGenerator(shape), Critic(shape)
    generator.standardise(
        torch.from_numpy(notes.audio[n : n + PART]).float() for n in range(0, len(notes), PART)
    )
    encode = generator.encode
    generator, history = train(generator, critic, notes, encode, uniform, p, run)
    return Synthesiser.trained(generator, notes), history
