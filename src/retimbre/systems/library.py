"""Trained systems by place: of the project, shipped with the package, or in any folder of models."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from retimbre.errors import RetimbreError
from retimbre.nn.weights import SHIPPED
from retimbre.systems import catalogue

if TYPE_CHECKING:
    import numpy as np

    from retimbre.systems.base import System
    from retimbre.vocoders.params import Rendering


@dataclass(frozen=True)
class Place:
    """A folder of trained models."""

    folder: Path

    @property
    def shipped(self) -> bool:
        return self.folder.parent == SHIPPED

    def __str__(self) -> str:
        return self.folder.name if self.shipped else str(self.folder)


@dataclass(frozen=True)
class Choice:
    """A trained system by name, and its place."""

    system: str
    place: Place

    @property
    def targets(self) -> list[str]:
        """Instruments that it can be asked for. Raises RetimbreError where it is not trained, or damaged."""
        return catalogue.targets_of(self.system, self.place.folder)

    def __str__(self) -> str:
        return f"{self.system} of {self.place}"


def shipped() -> dict[str, Place]:
    """The models that come with the package, by name."""
    folders = sorted(folder for folder in SHIPPED.glob("*") if catalogue.trained(folder))
    return {folder.name: Place(folder) for folder in folders}


def places(models: str | Path | None = None) -> list[Place]:
    """Places to search for a system, in order: ``models``, a name of :func:`shipped` ones or a folder; None:
    the project's, if it has any, then the shipped ones. Raises RetimbreError where no system is trained.
    """
    own, coming = Place(Path(models or catalogue.MODELS)), shipped()
    if models is None and coming:
        return [own, *coming.values()] if catalogue.trained(own.folder) else [*coming.values()]
    if str(models) in coming:
        return [coming[str(models)]]
    if not own.folder.is_dir():
        others = f" or the name of models that come with the package ({', '.join(coming)})" if coming else ""
        raise RetimbreError(
            f"{own.folder} does not exist, so no models are trained there: run `dvc repro` in the "
            f"repository's root, or give --models FOLDER{others}."
        )
    if not catalogue.trained(own.folder):
        raise RetimbreError(
            f"{own.folder} has no trained system: train one with `dvc repro`, or fetch it with `dvc pull`."
        )
    return [own]


@dataclass(frozen=True)
class Retimbre:
    """Trained systems for many calls: each is read once, when it is first asked for.

    ``places``: searched in this order. ``system``: its name (None: the first that knows the instrument).
    ``vocoder``: a kind (None: the default one). ``rendering``: of the project, for what it trained.
    ``octaves``: up or down (None: into the instrument's range). ``expression``: how much of bends, vibrato
    and swells is kept, 0 to 1.
    """

    places: tuple[Place, ...]
    system: str | None = None
    vocoder: str | None = None
    rendering: "Rendering | None" = None
    octaves: int | None = 0
    expression: float = 1.0
    _read: "dict[Choice, System]" = field(default_factory=dict, init=False, repr=False, compare=False)

    @classmethod
    def load(
        cls, models: str | Path | None = None, system: str | None = None, vocoder: str | None = None
    ) -> "Retimbre":
        """Trained systems of ``models``: a name of shipped ones, such as orchestra, or a folder that ``dvc
        repro`` filled; None: the project's ``data/models``, then the shipped ones. Raises RetimbreError where
        nothing is trained.
        """
        return cls(tuple(places(models)), system, vocoder)

    @property
    def systems(self) -> list[Choice]:
        """The systems that may be used, in the order of search; one that is not trained, if it is named."""
        found = [
            Choice(name, place)
            for place in self.places
            for name in catalogue.trained(place.folder)
            if self.system in (None, name)
        ]
        return found or [Choice(self.system, self.places[0])]

    @property
    def targets(self) -> list[str]:
        """Instruments that can be asked for."""
        return list(dict.fromkeys(name for found in self.systems for name in found.targets))

    def find(self, to: str) -> Choice:
        """The first system that knows the instrument. Raises RetimbreError where none does."""
        known: dict[Place, list[str]] = {}
        for found in self.systems:
            if to in found.targets:
                return found
            known.setdefault(found.place, []).extend(found.targets)
        choice = " or ".join(f"{', '.join(dict.fromkeys(names))} ({place})" for place, names in known.items())
        raise RetimbreError(f"{to!r} is no instrument of the trained systems: choose {choice}.")

    def system_for(self, to: str) -> "System":
        """The system that makes the instrument. Raises RetimbreError where none does, or it is damaged."""
        found = self.find(to)
        if found not in self._read:
            from retimbre.systems.base import adjusted

            rendering = None if found.place.shipped else self.rendering
            system = catalogue.load(found.system, found.place.folder, self.vocoder, rendering)
            if self.octaves != 0 or self.expression < 1:
                system = adjusted(system, self.octaves, self.expression)
            self._read[found] = system
        return self._read[found]

    def transfer(
        self,
        audio: "np.ndarray",
        sample_rate: int,
        to: str,
        seed: int = 0,
        mono: bool = False,
        mix: float = 0.0,
    ) -> "np.ndarray":
        """Transfer a recording to another instrument, as :func:`retimbre.transfer` does."""
        from retimbre.systems import streaming

        return streaming.transfer(self.system_for(to), audio, sample_rate, to, seed, mono=mono, mix=mix)
