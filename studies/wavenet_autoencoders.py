"""Bits that WaveNet autoencoders need, and what they take from their codes: the figures of their pages.

``python -m studies.wavenet_autoencoders umtn nsynth_autoencoder``, in the repository's root, asks trained
systems: bits per sample of validation crops, and the gap (bits more with another crop's code). It prints a
table and writes nothing.
"""

import argparse

import pandas

import stages  # noqa: F401  (puts this checkout's src first on the path)
from retimbre import params
from retimbre.datasets.packed.data import Data
from retimbre.errors import RetimbreError, run
from retimbre.nn.wavenet_autoencoder.autoencoder import Autoencoder
from retimbre.systems import catalogue
from retimbre.training.devices import set_threads
from retimbre.training.wavenet_autoencoder import figures, validation


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="+", metavar="NAME", help="of a trained system, such as umtn")
    names = parser.parse_args().names
    set_threads()
    p = params.load("seed", *map(catalogue.section_name, names))
    data, rows = Data(), {}
    for name in names:
        system, values = catalogue.load(name), getattr(p, catalogue.section_name(name))
        if not isinstance(getattr(system, "network", None), Autoencoder):
            raise RetimbreError(
                f"{name} is not of umtn's or nsynth_autoencoder's kind: name one, or see its bits in MLflow."
            )
        crops = validation(data.audio, system.targets, values, system.network, p.seed)
        rows[name] = figures(system.network, crops, system.targets)
    print(pandas.DataFrame(rows).to_string(float_format="{:.2f}".format))


if __name__ == "__main__":
    run(main)
