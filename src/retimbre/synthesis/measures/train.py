"""Training of the network that hears generated notes, on the notes that the generators learn from."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from retimbre.classifiers.train import AdamTrainer
from retimbre.synthesis.base import Notes
from retimbre.synthesis.measures.listener import PART, Listener, ListenerConfig, bands
from retimbre.training.fit import History, Run, fit
from retimbre.training.timing import part

STEPS, BATCH, LEARNING_RATE = 500, 32, 2e-3
DRAWS = 31  # stream of random numbers


class ListenerTrainer(AdamTrainer):
    """Cross-entropy of pitch, and of the instrument where there are any."""

    network: Listener

    def step(self, x: Tensor, pitch: Tensor, instrument: Tensor, step: int) -> dict[str, Tensor]:
        x, pitch, instrument = self.run.fabric.to_device((x, pitch, instrument))
        with part("forward"):
            of_pitch, of_instrument, _ = self.network(x)
            loss = functional.cross_entropy(of_pitch, pitch)
            if self.network.config.instruments:
                loss = loss + functional.cross_entropy(of_instrument, instrument)
        self.descend(loss, step)
        return {"listener/loss": loss.detach()}


def fit_listener(notes: Notes, run: Run, steps: int = STEPS) -> tuple[Listener, History]:
    """Train on the notes."""
    pitches = tuple(sorted({int(pitch) for pitch in notes.pitch}))
    torch.manual_seed(run.seed)
    network = Listener(ListenerConfig(pitches, notes.instruments, notes.sample_rate))
    network.to(run.fabric.device).train()
    heard = torch.cat([bands(x, notes.sample_rate) for x in torch.from_numpy(notes.audio).split(PART)])
    places = torch.from_numpy(np.searchsorted(pitches, notes.pitch))
    instruments = torch.from_numpy(np.asarray(notes.instrument, np.int64))

    def draw(step: int) -> tuple[Tensor, ...]:
        picked = np.random.default_rng([run.seed, DRAWS, step]).integers(len(notes), size=BATCH)
        return heard[picked], places[picked], instruments[picked]

    trainer = ListenerTrainer(network, steps, LEARNING_RATE, run)
    history = fit("listener", steps, trainer, draw, run)
    return network.cpu().requires_grad_(False).eval(), history
