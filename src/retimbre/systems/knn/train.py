"""The pools: recordings of each instrument, as spectra and as what a transcriber hears of them."""

import zlib
from typing import Any

import numpy as np

from retimbre.datasets.packed.data import Data
from retimbre.errors import RetimbreError
from retimbre.systems.knn.notes import HEARD
from retimbre.systems.knn.params import Params
from retimbre.systems.knn.system import Change
from retimbre.training.fit import History, Run

REPRESENTATION = "cqt"  # notes are moved along its bins


def pool(data: Data, domain: str, minutes: float, seed: int) -> dict[str, np.ndarray]:
    """So many minutes of a domain's training split, whole excerpts, drawn by the seed: ``spectra`` (T, F) in
    dB and ``content`` (T, HEARD), float16, and the ``starts`` of the excerpts.
    """
    features, content_of = data.features, {e.id: e for e in data.content.index}
    excerpts = features.excerpts(domain=domain, split="train")
    order = np.random.default_rng([seed, zlib.crc32(domain.encode())]).permutation(len(excerpts))
    left = minutes * 60 * features.config.sample_rate / features.config.hop_length
    spectra, heard = [], []
    for excerpt in (excerpts[i] for i in order):
        if left <= 0:
            break
        spectra.append(features.read(excerpt, representation=REPRESENTATION))
        heard.append(data.content.read(content_of[excerpt.id])[:, -HEARD:])
        left -= len(spectra[-1])
    starts = np.cumsum([0, *map(len, spectra)])[:-1].astype(np.int64)
    return {"spectra": np.concatenate(spectra), "content": np.concatenate(heard), "starts": starts}


def fit(data: Data, p: Params, run: Run) -> tuple[Change, History]:
    """Gather the pools of all domains; an interrupted run begins anew and ends the same.

    Raises RetimbreError for bins that no semitone is a multiple of.
    """
    c = data.features.config
    if c.cqt_bins_per_octave % 12:
        raise RetimbreError(
            f"features.cqt_bins_per_octave is {c.cqt_bins_per_octave}: knn moves notes by semitones, make it "
            "a multiple of 12."
        )
    pools = {domain: pool(data, domain, p.minutes, run.seed) for domain in data.features.domains}
    search: dict[str, Any] = p.model_dump(exclude={"minutes", "sounds"})
    config = {
        "domains": data.features.domains,
        "representation": REPRESENTATION,
        "features": c.to_dict(),
        "top_db": data.features.statistics[REPRESENTATION]["top_db"],
        "sounds": p.sounds,
        "search": search,
    }
    return Change(pools, config), []
