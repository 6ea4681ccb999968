"""The trained vocoders of a project: every way from spectra to audio that its networks allow.

``data/models/vocoder/<network>/`` holds one network each; ``kinds`` says which way needs which of them.
Networks are read when they are asked for.
"""

import importlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from retimbre.audio.features import FeatureConfig
from retimbre.errors import RetimbreError
from retimbre.nn.weights import read_config, reading
from retimbre.vocoders.base import Renderer, Request
from retimbre.vocoders.kinds import KINDS, STARTS_FROM, below
from retimbre.vocoders.params import Rendering

CLASSES = {
    "inverter": "Inverter",
    "istft": "IstftVocoder",
    "wavenet": "WaveNetVocoder",
    "excited": "ExcitedVocoder",
}


def class_of(network: str) -> type[Renderer]:
    """The class of a network; it is imported now."""
    return getattr(importlib.import_module(f"retimbre.vocoders.{network}.vocoder"), CLASSES[network])


@dataclass(frozen=True)
class Vocoder:
    """One way from spectra to audio. ``kind``: of ``KINDS``; ``renderer``: the network that makes it."""

    kind: str
    renderer: Renderer

    @property
    def features(self) -> FeatureConfig:
        return self.renderer.features

    @property
    def representation(self) -> str:
        return self.renderer.representation

    @property
    def rms(self) -> float:
        """Root mean square, full scale 1, of the audio that it was trained on."""
        return self.renderer.rms

    @property
    def slow(self) -> bool:
        """True for one that takes too long to be heard on every piece."""
        return KINDS[self.kind].slow

    def synthesise(
        self,
        spectrum_db: np.ndarray,
        length: int,
        domain: str,
        source: np.ndarray | None = None,
        seed: int = 0,
        before: np.ndarray | None = None,
    ) -> np.ndarray:
        """Audio (N,) of ``length`` samples; arguments as a :class:`Request` has them.

        Raises RetimbreError for a domain that it was not trained on, and without a source that it needs.
        """
        kind = KINDS[self.kind]
        if kind.needs_domain and domain not in self.renderer.domains:
            known = ", ".join(self.renderer.domains)
            raise RetimbreError(
                f"the vocoder {self.kind} was not trained on {domain} but on {known}: "
                f"run `dvc repro vocoder@{self.renderer.name}`, or choose another."
            )
        if kind.needs_source and source is None:
            others = ", ".join(name for name, other in KINDS.items() if not other.needs_source)
            advice = f"choose one without ({others})"
            raise RetimbreError(f"the vocoder {self.kind} needs the source recording: {advice}.")
        return self.renderer.synthesise(Request(self.kind, spectrum_db, length, domain, source, seed, before))


class Vocoders:
    """All networks below ``folder``, and how they are used."""

    def __init__(self, folder: Path, rendering: Rendering, wanted: Iterable[str] = tuple(STARTS_FROM)):
        self.folder, self.rendering = folder, rendering
        wanted = set(wanted)
        present = (name for name in STARTS_FROM if (folder / name / "config.json").is_file())
        self.networks = [name for name in present if name in wanted]
        self._loaded: dict[str, Renderer] = {}

    @classmethod
    def load(
        cls,
        folder: str | Path,
        rendering: Rendering = Rendering(),  # noqa: B008 (frozen)
        wanted: Iterable[str] = tuple(STARTS_FROM),
    ) -> "Vocoders":
        """Those of the ``wanted`` networks that are there. Raises RetimbreError when there are none."""
        found = cls(Path(folder), rendering, wanted)
        if not found.networks:
            advice = "train them with `dvc repro`, or fetch them with `dvc pull`"
            raise RetimbreError(f"{folder} has no trained vocoder: {advice}.")
        return found

    @property
    def kinds(self) -> list[str]:
        """The kinds whose networks are all there, the default first."""
        found = [kind for kind, needs in KINDS.items() if set(needs.networks) <= set(self.networks)]
        return sorted(found, key=lambda kind: kind != self.rendering.vocoder)

    def network(self, name: str) -> Renderer:
        """A trained network. Raises RetimbreError when it is missing or damaged."""
        if name not in self._loaded:
            lower = {start: self.network(start)} if (start := below(name)) else {}
            self._loaded[name] = class_of(name).load(self.folder / name, lower, self.rendering)
        return self._loaded[name]

    def by(self, kind: str | None = None) -> Vocoder:
        """One way to audio (None: the default). Raises RetimbreError if it is not known or not trained."""
        kind = kind or self.rendering.vocoder
        if kind not in KINDS:
            raise RetimbreError(f"{kind!r} is not a kind of vocoder: choose {', '.join(self.kinds)}.")
        if missing := [name for name in KINDS[kind].networks if name not in self.networks]:
            raise RetimbreError(
                f"the vocoder {kind} is not trained (there are {', '.join(self.kinds)}): add {missing[0]} to "
                f"vocoders in params.yaml and run `dvc repro vocoder@{missing[0]}`, or choose another."
            )
        return Vocoder(kind, self.network(KINDS[kind].networks[-1]))

    def config(self) -> dict:
        """The configuration of the first network, which says on what data all of them were trained."""
        with reading(self.folder, "vocoder"):
            return read_config(self.folder / self.networks[0])
