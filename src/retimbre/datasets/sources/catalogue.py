"""The published data sets by the names that ``dataset.source`` gives them."""

import importlib
from typing import Any

# Name -> module and class. Variants of a set (another microphone, version or size) have names of their own.
SOURCES = {
    "fma": ".fma:FmaSmall",
    "fma_large": ".fma:FmaLarge",
    "fma_medium": ".fma:FmaMedium",
    "good_sounds": ".good_sounds:GoodSounds",
    "guitarset": ".guitarset:GuitarSet",
    "guitarset_mix": ".guitarset:GuitarSetMix",
    "irmas": ".irmas:Irmas",
    "irmas_testing": ".irmas:IrmasTesting",
    "maestro": ".maestro:Maestro",
    "maestro_v2": ".maestro:MaestroV2",
    "magnatagatune": ".magnatagatune:MagnaTagATune",
    "medley_solos_db": ".medley_solos_db:MedleySolosDb",
    "musicnet": ".musicnet:MusicNet",
    "nsynth": ".nsynth:NSynth",
    "nsynth_gansynth": ".nsynth:NSynthGanSynth",
    "speech_commands": ".speech_commands:SpeechCommands",
    "tinysol": ".tinysol:TinySol",
    "urmp": ".urmp:Urmp",
    "vctk": ".vctk:Vctk",
    "vctk_mic2": ".vctk:VctkMic2",
    "youtube": ".youtube:YouTube",
}
LOCAL_SOURCES = ("soundfont", "folder")


def find(name: str) -> Any:
    """The adapter of a published data set: a ``base.Adapter``."""
    module, kind = SOURCES[name].split(":")
    return getattr(importlib.import_module(module, __package__), kind)()
