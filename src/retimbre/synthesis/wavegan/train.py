"""Training of WaveGAN."""

import torch
from torch import Tensor

from retimbre.synthesis.adversarial import train, uniform
from retimbre.synthesis.base import Notes
from retimbre.synthesis.dcgan import Critic
from retimbre.synthesis.wavegan.network import WaveGenerator, config
from retimbre.synthesis.wavegan.params import Params
from retimbre.synthesis.wavegan.system import Synthesiser
from retimbre.training.fit import History, Run


def fit(notes: Notes, p: Params, run: Run) -> tuple[Synthesiser, History]:
    """Train on notes of a multiple of 1024 samples."""
    shape = config(notes.audio.shape[1], p)
    torch.manual_seed(run.seed)
    generator, critic = WaveGenerator(shape), Critic(shape)

    def encode(audio: Tensor) -> Tensor:
        return audio[:, None]

    generator, history = train(generator, critic, notes, encode, uniform, p, run)
    return Synthesiser.trained(generator, notes), history
