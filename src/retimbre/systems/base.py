"""The contract of a transfer system: a recording in, the same music on another instrument out."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from retimbre.audio.features import FeatureConfig, spectrum_of
from retimbre.errors import RetimbreError

if TYPE_CHECKING:
    from torch import nn

    from retimbre.vocoders.catalogue import Vocoder

RMS = 0.1  # level, full scale 1, of what systems hear where their training says nothing else


class System(Protocol):
    """Audio to the same music on another instrument; objects can be pickled and sent to other processes.

    ``transfer`` is what a system is; recordings of any length, rate and level go through :mod:`.streaming`,
    which calls it. What else a class may have is in :class:`Streams` and :class:`Spectral`.
    """

    name: str
    sample_rate: int  # Hz of the audio that transfer takes and returns
    rms: float  # root mean square, full scale 1, of the audio that transfer takes
    targets: list[str]  # instruments it can be asked for
    sources: list[str] | None  # instruments it was trained to hear; None: any
    slow: bool  # heard on few test pieces

    def transfer(self, audio: np.ndarray, to: str, seed: int = 0) -> np.ndarray:
        """Mono audio (N,) float32 to (N,) float32 of any level; the same seed gives the same samples."""
        ...


@runtime_checkable
class Streams(Protocol):
    """Interface of systems whose chunks join as if the recording had been one piece."""

    def chunking(self, to: str) -> tuple[int, int]:
        """Samples of context that a chunk's middle depends on, and of the grid on which chunks must start."""
        ...

    def continued(self, audio: np.ndarray, to: str, seed: int, before: np.ndarray | None) -> np.ndarray:
        """``transfer`` of a chunk, going on from ``before`` (M,), its first M samples as already made."""
        ...


@runtime_checkable
class Change(Protocol):
    """Change of log-magnitude spectra, what spectral systems train; with a vocoder it is a system."""

    features: FeatureConfig
    representation: str
    top_db: float
    targets: list[str]
    sources: list[str] | None

    def transfer(self, spectrum_db: np.ndarray, to: str) -> np.ndarray:
        """Spectrum in dB (F, T) to the spectrum (F, T) of ``to``."""
        ...

    def context(self, to: str) -> int:
        """Frames on each side that a frame of the output may depend on."""
        ...

    def stride(self, to: str) -> int:
        """Frames of the grid on which chunks must start to come out as the whole does."""
        ...


@runtime_checkable
class Coded(Protocol):
    """Interface of changes that hear what is played: they need the audio, not only its spectrum."""

    def encode(self, audio: np.ndarray) -> np.ndarray:
        """Audio (N,) of the level that the vocoder knows to a code of what is played (T, C)."""
        ...

    def decode(self, code: np.ndarray, spectrum_db: np.ndarray, to: str) -> np.ndarray:
        """Code (T, C) and the source's spectrum in dB (F, T) to the spectrum (F, T) of ``to``."""
        ...


@runtime_checkable
class Adjustable(Protocol):
    """Interface of changes that can transpose the music and even out its expression."""

    octaves: int | None  # None: those of the recording, by fitted

    def adjusted(self, octaves: int | None, expression: float) -> Any:
        """The same change by so many octaves (None: by what suits), with 0 to 1 of the expression."""
        ...

    def fitted(self, audio: np.ndarray, to: str) -> tuple[Any, str]:
        """The change for a recording that begins with audio (N,), and what that means, in words."""
        ...


@runtime_checkable
class Exportable(Protocol):
    """Interface of changes that can be written as one graph of torch operations."""

    def graph(self, to: str) -> "nn.Module":
        """A module of audio (B, N) of the level that the vocoder knows to the spectrum in dB (B, F, T) of
        ``to``. N is a multiple of its ``block``, so that lengths within the graph are whole numbers.
        """
        ...


# Of the analysis, if the features do not ask for a longer one: 48 bins per octave from C1.
LONGEST_WINDOW_S = 2.1


@dataclass(frozen=True)
class Spectral:
    """A change of spectra and a vocoder: a :class:`System` that :class:`Streams`."""

    name: str
    change: Any
    vocoder: "Vocoder"

    def __post_init__(self):
        trained_on = {(x.features, x.representation) for x in (self.change, self.vocoder)}
        if len(trained_on) > 1:
            raise RetimbreError(
                f"data/models/{self.name} and data/models/vocoder were trained on different features: "
                "run `dvc repro` to make them agree."
            )

    @property
    def sample_rate(self) -> int:
        return self.change.features.sample_rate

    @property
    def rms(self) -> float:
        return self.vocoder.rms

    @property
    def targets(self) -> list[str]:
        return self.change.targets

    @property
    def sources(self) -> list[str] | None:
        return self.change.sources

    @property
    def slow(self) -> bool:
        return self.vocoder.slow

    @property
    def fits(self) -> bool:
        """True for a system that :meth:`fitted` is to see the beginning of a recording first."""
        return isinstance(self.change, Adjustable) and self.change.octaves is None

    def fitted(self, audio: np.ndarray, to: str) -> tuple["Spectral", str]:
        """The system for a recording that begins with audio (N,), and what that means, in words."""
        change, said = self.change.fitted(audio, to)
        return replace(self, change=change), said

    def spectrum(self, audio: np.ndarray, to: str) -> np.ndarray:
        """Changed spectrum in dB (F, T) of audio (N,), as it is made audible."""
        source_db = spectrum_of(audio, self.change.features, self.change.representation)
        if isinstance(self.change, Coded):
            return self.change.decode(self.change.encode(audio), source_db, to)
        return self.change.transfer(source_db, to)

    def transfer(self, audio: np.ndarray, to: str, seed: int = 0) -> np.ndarray:
        return self.continued(audio, to, seed, None)

    def continued(self, audio: np.ndarray, to: str, seed: int, before: np.ndarray | None) -> np.ndarray:
        spectrum_db = self.spectrum(audio, to)
        return self.vocoder.synthesise(spectrum_db, len(audio), to, source=audio, seed=seed, before=before)

    def chunking(self, to: str) -> tuple[int, int]:
        f = self.change.features
        window_s = max(LONGEST_WINDOW_S, f.longest_window_s)
        context = self.change.context(to) * f.hop_length + round(window_s / 2 * f.sample_rate)
        return context, self.change.stride(to) * f.hop_length


def adjusted(system: System, octaves: int | None, expression: float) -> System:
    """The system transposed by octaves (None: into the target's range), with so much (0 to 1) of the source's
    expression. Raises RetimbreError for one that can do neither.
    """
    if not (isinstance(system, Spectral) and isinstance(system.change, Adjustable)):
        raise RetimbreError(
            f"{system.name} can neither transpose nor even out: leave --transpose and --expression out."
        )
    return replace(system, change=system.change.adjusted(octaves, expression))
