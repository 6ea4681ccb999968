"""The training-free systems by name: what a trained one must beat (``docs/baselines.md``)."""

from retimbre.datasets.packed.data import Data
from retimbre.systems.base import System
from retimbre.systems.baselines.cepstral import Cepstral
from retimbre.systems.baselines.concatenative import Concatenative
from retimbre.systems.baselines.gram import GramOptimisation
from retimbre.systems.baselines.nmf import Nmf
from retimbre.systems.baselines.params import Baselines
from retimbre.systems.baselines.texture import TextureOptimisation

SYSTEMS = {
    system.name: system for system in (Cepstral, Concatenative, Nmf, GramOptimisation, TextureOptimisation)
}


def fit_baselines(data: Data, p: Baselines, seed: int) -> list[System]:
    """The systems that ``p.systems`` names, in that order, drawing on the training split of every domain.

    Raises RetimbreError when a domain has too little audio.
    """
    return [SYSTEMS[name].fit(data.audio, data.features, p, seed) for name in p.systems]
