"""The published data sets by the names that ``dataset.source`` gives them."""

import sys

from retimbre.datasets.download.remote import RemoteSource
from retimbre.errors import RetimbreError

# Name -> module and class. Variants of a set (another microphone, version or size) have names of their own.
SOURCES = {
    "fma": "fma:FmaSmall",
    "fma_medium": "fma:FmaMedium",
    "fma_large": "fma:FmaLarge",
    "good_sounds": "good_sounds:GoodSounds",
    "guitarset": "guitarset:GuitarSet",
    "guitarset_mix": "guitarset:GuitarSetMix",
    "irmas": "irmas:Irmas",
    "irmas_testing": "irmas:IrmasTesting",
    "maestro": "maestro:Maestro",
    "maestro_v2": "maestro:MaestroV2",
    "magnatagatune": "magnatagatune:MagnaTagATune",
    "medley_solos_db": "medley_solos_db:MedleySolosDb",
    "musicnet": "musicnet:MusicNet",
    "nsynth": "nsynth:NSynth",
    "nsynth_gansynth": "nsynth:NSynthGanSynth",
    "tinysol": "tinysol:TinySol",
    "urmp": "urmp:Urmp",
    "vctk": "vctk:Vctk",
    "vctk_mic2": "vctk:VctkMic2",
    "youtube": "youtube:YouTube",
}


def find(name: str) -> RemoteSource:
    """The adapter of a published data set. Raises RetimbreError for a name that is none."""
    if name not in SOURCES:
        raise RetimbreError(f"dataset.source {name!r} is not known: use one of {', '.join(SOURCES)}.")
    # Spelled out, so that the stage's list of source files can be read off; they are short and import little.
    from retimbre.datasets.sources import (  # noqa: F401
        fma,
        good_sounds,
        guitarset,
        irmas,
        maestro,
        magnatagatune,
        medley_solos_db,
        musicnet,
        nsynth,
        tinysol,
        urmp,
        vctk,
        youtube,
    )

    module, cls = SOURCES[name].split(":")
    return getattr(sys.modules[f"retimbre.datasets.sources.{module}"], cls)()
