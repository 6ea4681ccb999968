"""Beam search over sampled continuations (TimbreTron, Huang et al. 2019).

Some continuations are drawn side by side. After every step of so many samples a cost says how far each is
from what was asked for; the better half of them goes on, each in as many copies as it takes, with its whole
state, and copies draw on differently.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from retimbre.nn.generation.sampler import State, forced_logits, generate
from retimbre.nn.wavenet.network import WaveNet

Cost = Callable[[np.ndarray, int, bool], np.ndarray]


def beam_search(
    model: WaveNet,
    features: Tensor,
    domain: int,
    length: int,
    cost: Cost,
    beams: int,
    step: int,
    temperature: float = 1.0,
    seed: int | None = None,
    made: np.ndarray | None = None,
) -> np.ndarray:
    """Codes (length,), int64, of one signal from features (F, T) in dB.

    One beam is ``generate`` with the same seed.

    ``cost(codes, start, ended)`` gives for codes (beams, n) from sample 0 what the samples from ``start``
    on add to each beam's cost, and all that is left when the signal has ``ended``. ``step``: samples
    between two choices. ``made`` (M,): the first codes, which are given.
    """
    first = 0 if made is None else min(len(made), length)
    state = State(model, 1, seed)
    if first:
        forced_logits(model, features[None], domain, made[None, :first], state=state)
    state = state.take(np.zeros(beams, np.int64))
    codes = np.zeros((beams, length), np.int64)
    if first:
        codes[:, :first] = made[:first]
    total = np.zeros(beams)
    repeated = torch.as_tensor(features).expand(beams, *features.shape)
    for start in range(first, length, step):
        stop = min(start + step, length)
        codes[:, start:stop] = generate(model, repeated, domain, stop - start, temperature, state=state)
        if beams == 1:
            continue
        total = total + cost(codes[:, :stop], start, stop == length)
        if stop < length:
            rows = np.resize(np.argsort(total, kind="stable")[: (beams + 1) // 2], beams)
            state, codes, total = state.take(rows), codes[rows], total[rows]
    return codes[int(np.argmin(total))]
