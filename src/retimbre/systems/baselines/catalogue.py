"""The training-free systems by name: what a trained one must beat. ``docs/baselines.md`` says what each does."""

from typing import Protocol

import numpy as np

from retimbre.datasets.packed.format import PackedAudio, PackedFeatures
from retimbre.params import Baselines
from retimbre.systems.baselines.cepstral import Cepstral
from retimbre.systems.baselines.concatenative import Mosaicing
from retimbre.systems.baselines.gram import GramOptimisation
from retimbre.systems.baselines.nmf import Musaicing
from retimbre.systems.baselines.texture import TextureOptimisation

SYSTEMS = {system.name: system for system in (Cepstral, Mosaicing, Musaicing, GramOptimisation, TextureOptimisation)}
BASELINES: tuple[str, ...] = tuple(SYSTEMS)


class Baseline(Protocol):
    """The verbs of every training-free system; objects can be pickled and sent to other processes."""

    name: str
    slow: bool  # seconds rather than fractions of one for a clip of 8 s

    def transfer(self, audio: np.ndarray, domain: str, seed: int = 0) -> np.ndarray:
        """Mono audio (N,) at the pipeline's rate to ``domain``: (N,) float32, the same for the same seed."""

    def fingerprint(self) -> str:
        """Changes with the fitted state, the parameters, the code and the libraries' versions."""


def fit_baselines(audio: PackedAudio, features: PackedFeatures, p: Baselines, seed: int) -> dict[str, Baseline]:
    """The systems that ``p.systems`` names, in that order, drawing on the training split of every domain.

    Raises RetimbreError when a domain has too little audio.
    """
    return {name: SYSTEMS[name].fit(audio, features, p, seed) for name in p.systems}
