"""Pitch that WaveNet autoencoders keep, and what they take from their codes: the figures of their pages.

``python -m studies.wavenet_autoencoders umtn nsynth_autoencoder``, in the repository's root, asks trained
systems: bits per sample of validation crops, the gap (bits more with another crop's code), and the share of
random notes that keep their pitch, played by each instrument and transferred to each, itself included. It
prints a table and writes nothing.
"""

import argparse
from itertools import product

import numpy as np
import pandas

import stages  # noqa: F401  (puts this checkout's src first on the path)
from retimbre import params
from retimbre.audio.levels import rms
from retimbre.datasets.packed.data import Data
from retimbre.datasets.scores import soundfont
from retimbre.datasets.sources.params import Dataset
from retimbre.errors import RetimbreError, run
from retimbre.evaluation.bench.probes import (
    LEAD_S,
    LOST_CENTS,
    TRACKED_MIDI,
    cents_off,
    random_notes,
    rendered,
    sampled,
)
from retimbre.nn.wavenet_autoencoder.system import CodedAudio
from retimbre.systems import catalogue
from retimbre.systems.base import System
from retimbre.training.autoencoder import figures, validation
from retimbre.training.devices import set_threads

TAKES = 2  # of 20 notes, for each of two instruments
Figures = dict[str, float]


def kept_notes(system: System, dataset: Dataset, takes: int = TAKES, seed: int = 0) -> Figures:
    """Share of random notes that the tracker hears in the source and within 50 cents in the output."""
    domains = system.targets
    if not rendered(dataset, domains):
        raise RetimbreError(
            f"{system.name}: its instruments cannot be rendered: set dataset.source to soundfont."
        )
    ranges = [TRACKED_MIDI, *((i.lowest, i.highest) for i in map(soundfont.instrument, domains))]
    lowest, highest = max(low for low, _ in ranges), min(high for _, high in ranges)
    found = {}
    for source, target in product(domains, domains):
        rng, kept, count = np.random.default_rng([seed, domains.index(source)]), 0, 0
        for _ in range(takes):
            notes = random_notes(lowest, highest, rng)
            x = sampled(dataset, source, system.sample_rate)(notes, notes[-1].end_s + LEAD_S)
            x = (x * system.rms / rms(x)).astype(np.float32)
            heard = cents_off(x, system.sample_rate, notes) <= LOST_CENTS
            made = cents_off(system.transfer(x, target, seed), system.sample_rate, notes) <= LOST_CENTS
            kept, count = kept + int((heard & made).sum()), count + int(heard.sum())
        found[f"{source} to {target}"] = kept / max(count, 1)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="+", metavar="NAME", help="of a trained system, such as umtn")
    names = parser.parse_args().names
    set_threads()
    p = params.load("seed", "dataset", *map(catalogue.section_name, names))
    data, rows = Data(), {}
    for name in names:
        system, values = catalogue.load(name), getattr(p, catalogue.section_name(name))
        rows[name] = kept_notes(system, p.dataset, seed=p.seed)
        if isinstance(system, CodedAudio):
            crops = validation(data.audio, system.targets, values, system.network, p.seed)
            rows[name] = figures(system.network, crops, system.targets) | rows[name]
    print(pandas.DataFrame(rows).to_string(float_format="{:.2f}".format))


if __name__ == "__main__":
    run(main)
