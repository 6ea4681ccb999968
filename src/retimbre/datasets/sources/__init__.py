"""Published data sets: one short file each, facts only. Nothing is imported or fetched before a source is asked for."""

import importlib

from retimbre.datasets.remote import RemoteSource
from retimbre.errors import RetimbreError

# `dataset.source` -> module and class below this folder. Variants of a set (another microphone, version or size) have names of their own.
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
    module, cls = SOURCES[name].split(":")
    return getattr(importlib.import_module(f"{__name__}.{module}"), cls)()
