"""Levels of a representation (log-CQT, log-mel, log-STFT) to audio, in every way that is trained.

The ways are the kinds of ``vocoder_parts.KINDS``; what they are made of is one file each in ``data/models/vocoder``:

- ``inverter``: levels to STFT magnitudes, on the source's phases (``source_phase``) or found ones (``griffin_lim``);
- ``istft``: levels to audio, by a network with an inverse-STFT head;
- ``wavenet``: levels and instrument to samples, one at a time (``wavenet``);
- ``excited``: the same with the inverter's waveform to go by (``wavenet_excited``).

A folder holds what its kinds need and nothing else.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn

from retimbre.audio.features import FeatureConfig
from retimbre.datasets.packed.format import PackedAudio, PackedFeatures
from retimbre.errors import RetimbreError
from retimbre.nn.weights import reading, save_weights
from retimbre.params import Vocoder as VocoderParams
from retimbre.tracking import StageRun
from retimbre.training.checkpoint import Scratch
from retimbre.vocoders.base import KINDS, Kind, Part, Request, Training
from retimbre.vocoders.excited.vocoder import ExcitedVocoder
from retimbre.vocoders.inverter.vocoder import Inverter
from retimbre.vocoders.istft.vocoder import IstftVocoder
from retimbre.vocoders.wavenet.vocoder import WaveNetVocoder

PARTS: dict[str, type[Part]] = {part.name: part for part in (Inverter, IstftVocoder, WaveNetVocoder, ExcitedVocoder)}
MAIN_KINDS = ("source_phase", "griffin_lim")  # with the source's phase and without it
FIRST_KINDS = ["source_phase", "griffin_lim", "wavenet"]  # of a folder that was written before kinds could be chosen


def parts_of(kinds: Iterable[str]) -> list[str]:
    """The parts that these kinds need, in the order in which they are trained."""
    wanted = {part for kind in kinds for part in KINDS[kind].parts}
    return [name for name in PARTS if name in wanted]


def needs(part: str) -> set[str]:
    """The other parts that a part cannot do without."""
    return {other for kind in KINDS.values() if kind.parts[-1] == part for other in kind.parts[:-1]}


class Vocoder:
    """The trained parts with all that is needed to use them: ``networks`` by part, ``config`` as ``fit`` makes it."""

    def __init__(self, networks: Mapping[str, nn.Module | None], config: dict[str, Any]):
        self.config = config
        self.features = FeatureConfig.from_dict(config["features"])
        self.representation: str = config["representation"]
        self.domains: list[str] = config["domains"]
        self.top_db: float = config["top_db"]
        self.kinds: list[str] = config.get("kinds", FIRST_KINDS)
        self.kind: str = config.get("kind", "source_phase")
        self.parts: dict[str, Part] = {}
        for name in parts_of(self.kinds):
            self.parts[name] = PARTS[name](networks[name], config, {other: self.parts[other] for other in needs(name)})

    def part_of(self, kind: str) -> Part:
        """The part that makes the audio of a kind. Raises RetimbreError for one that is not known or not trained."""
        if kind not in KINDS:
            raise RetimbreError(f"{kind!r} is not a kind of vocoder: choose {', '.join(self.kinds)}.")
        if kind not in self.kinds:
            raise RetimbreError(
                f"the vocoder {kind} is not trained (there are {', '.join(self.kinds)}): add it to vocoder.kinds in params.yaml and run "
                "`dvc repro vocoder`, or choose another."
            )
        return self.parts[KINDS[kind].parts[-1]]

    def stft_magnitude(self, level_db: np.ndarray) -> torch.Tensor:
        """Levels (F, T) in dB to STFT magnitudes (1, K, T), by the inverter."""
        return self.part_of("griffin_lim").stft_magnitude(level_db)

    def synthesise(
        self,
        kind: str,
        level_db: np.ndarray,
        length: int,
        domain: str,
        source: np.ndarray | None = None,
        seed: int = 0,
        before: np.ndarray | None = None,
    ) -> np.ndarray:
        """Audio (N,) of ``length`` samples by one of ``kinds``; arguments as a :class:`Request` has them."""
        part = self.part_of(kind)
        if KINDS[kind].needs_domain and domain not in self.domains:
            known = ", ".join(self.domains)
            raise RetimbreError(f"the vocoder {kind} was not trained on {domain} but on {known}: run `dvc repro vocoder`.")
        if KINDS[kind].needs_source and source is None:
            others = [k for k in self.kinds if not KINDS[k].needs_source]
            hint = f"choose {' or '.join(others)} without one" if others else "without one, add griffin_lim to vocoder.kinds in params.yaml"
            raise RetimbreError(f"the vocoder {kind} needs the source recording: {hint}.")
        return part.synthesise(Request(kind, level_db, length, domain, source, seed, before))

    @staticmethod
    def is_slow(kind: str) -> bool:
        """Whether a kind takes too long to be heard on every piece."""
        return KINDS[kind].slow

    @property
    def main_kinds(self) -> list[str]:
        """The trained kinds that the table hears on every piece, the default first: it, and those of ``MAIN_KINDS``; no slow ones."""
        chosen = [kind for kind in self.kinds if kind in (self.kind, *MAIN_KINDS) and not self.is_slow(kind)]
        return sorted(chosen, key=lambda kind: kind != self.kind)

    def modules(self, kind: str) -> tuple[str, ...]:
        """The modules whose code makes a kind's audio."""
        return tuple(PARTS[name].__module__ for name in KINDS[kind].parts)

    def state(self, kind: str) -> Any:
        """What a kind's audio depends on beside its code."""
        return self.part_of(kind).state()

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for name, part in self.parts.items():
            if part.network is not None:
                save_weights(folder / f"{name}.safetensors", part.network)
        (folder / "config.json").write_text(json.dumps(self.config, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: str | Path) -> "Vocoder":
        """Read what ``save`` wrote. Raises RetimbreError when it is not there."""
        folder = Path(folder)
        with reading(folder, "vocoder", "vocoder"):
            config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
            networks = {name: PARTS[name].build(config) for name in parts_of(config.get("kinds", FIRST_KINDS))}
            for name, network in networks.items():
                if network is not None:
                    network.load_state_dict(load_file(folder / f"{name}.safetensors"))
            return cls(networks, config)


def fit(
    audio: PackedAudio, features: PackedFeatures, p: VocoderParams, seed: int, scratch: Scratch, run: StageRun
) -> tuple[Vocoder, dict[str, list[dict[str, float]]]]:
    """Train every part that ``p.kinds`` need; returns them with the histories of those that were trained, by part."""
    config: dict[str, Any] = {
        "domains": features.domains,
        "rms": audio.config["rms"],
        "representation": p.representation,
        "features": features.config.to_dict(),
        "top_db": features.statistics[p.representation]["top_db"],
        "kind": p.kind,
        "kinds": p.kinds,
    }
    parts: dict[str, Part] = {}
    curves = {}
    for name in parts_of(p.kinds):
        below = {other: parts[other] for other in needs(name)}
        network, settings, history = PARTS[name].fit(Training(audio, features, p, seed, scratch, run, dict(config)), below)
        config |= settings
        parts[name] = PARTS[name](network, config, below)
        curves |= {name: history} if history else {}
    return Vocoder({name: part.network for name, part in parts.items()}, config), curves


__all__ = ["KINDS", "PARTS", "Kind", "Vocoder", "fit", "parts_of"]
