"""The pools: recordings of each instrument, as spectra and as what a transcriber hears of them."""

import zlib
from typing import Any

import numpy as np

from retimbre.datasets.packed.data import Data
from retimbre.errors import RetimbreError
from retimbre.nn.transcriber.content import Content
from retimbre.progress import Progress
from retimbre.systems.knn.notes import HEARD
from retimbre.systems.knn.params import Params
from retimbre.systems.knn.system import Change
from retimbre.training.fit import History, Run

REPRESENTATION = "cqt"  # notes are moved along its bins


def pool(data: Data, domain: str, minutes: float, seed: int) -> dict[str, np.ndarray]:
    """So many minutes of a domain's training split, whole excerpts, drawn by the seed: ``spectra`` (T, F) in
    dB and ``content`` (T, HEARD), float16, and the ``starts`` of the excerpts.
    """
    content, config = Content(data.features.config), data.features.config
    excerpts = {e.id: e for e in data.audio.excerpts(domain=domain, split="train")}
    frames = [e for e in data.features.index if e.id in excerpts]
    order = np.random.default_rng([seed, zlib.crc32(domain.encode())]).permutation(len(frames))
    left = minutes * 60 * config.sample_rate / config.hop_length
    spectra, heard = [], []
    with Progress(int(left), f"knn: {domain}", "frames") as progress:
        for excerpt in (frames[i] for i in order):
            if left <= 0:
                break
            spectra.append(np.asarray(data.features.read(excerpt, representation=REPRESENTATION), np.float16))
            own = content.frames(data.audio.read(excerpts[excerpt.id]))[: len(spectra[-1])]
            heard.append(own[:, -HEARD:].astype(np.float16))
            left -= len(spectra[-1])
            progress.update(len(spectra[-1]))
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
