"""The contract of what makes notes from noise, and the notes that it learns from."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self, runtime_checkable

import numpy as np
from torch import Tensor

from retimbre.errors import RetimbreError


@dataclass(frozen=True)
class Notes:
    """Recordings of single notes, all of one length.

    ``audio`` (B, N) in -1..1; ``pitch`` (B,) MIDI numbers; ``velocity`` (B,) from 1 to 127; ``instrument``
    (B,) places among ``instruments``. Of sets without pitch (speech commands) ``pitch`` is the place of the
    word and ``instruments`` is empty.
    """

    audio: np.ndarray
    pitch: np.ndarray
    velocity: np.ndarray
    instrument: np.ndarray
    instruments: tuple[str, ...]
    sample_rate: int

    def __len__(self) -> int:
        return len(self.audio)


class Synthesiser(Protocol):
    """Contract of a trained generator. A system's ``train.fit(notes, p, run)`` makes it.

    ``pitches``: MIDI numbers that can be asked for, none where the pitch cannot be chosen.
    """

    sample_rate: int
    samples: int  # of every note
    pitches: tuple[int, ...]
    parameters: int  # trained, of the generator

    def latents(self, n: int, seed: int) -> Tensor:
        """Noise (n, Z), the same for the same seed. Points between two of them are sounds, too."""
        ...

    def decode(self, latents: Tensor, pitches: Sequence[int] | None = None) -> np.ndarray:
        """Audio (n, N) in -1..1 of latents (n, Z).

        Raises RetimbreError for a pitch that is not in ``pitches``.
        """
        ...

    def save(self, folder: Path) -> None: ...

    @classmethod
    def load(cls, folder: Path) -> Self: ...


@runtime_checkable
class Drawing(Protocol):
    """Magnitudes of a synthesiser that draws these and makes audio of them: ``drawn`` and ``analysed`` are of
    one transform.
    """

    def drawn(self, latents: Tensor, pitches: Sequence[int] | None = None) -> np.ndarray:
        """Magnitudes (n, F, T) as they are drawn."""
        ...

    def analysed(self, audio: np.ndarray) -> np.ndarray:
        """Magnitudes (n, F, T) of audio (n, N)."""
        ...


def hertz(pitch: float) -> float:
    """Frequency of a MIDI number."""
    return 440.0 * 2 ** ((pitch - 69) / 12)


def check_pitches(asked: Sequence[int] | None, known: Sequence[int]) -> None:
    """Raise RetimbreError without pitches, and for one that is not among ``known``."""
    if asked is None:
        raise RetimbreError("this generator makes notes of given pitches: name one for each note (--pitch).")
    if unknown := sorted({int(pitch) for pitch in asked} - set(known)):
        raise RetimbreError(
            f"this generator has not learned the pitch {unknown[0]}: ask for one of {min(known)} to "
            f"{max(known)}."
        )


def sample(
    synthesiser: Synthesiser, n: int, condition: Sequence[int] | None = None, seed: int = 0
) -> np.ndarray:
    """Audio (n, N) of new notes. ``condition``: their pitches; None draws them among those that there are."""
    if condition is None and synthesiser.pitches:
        condition = np.random.default_rng([seed, 1]).choice(synthesiser.pitches, n).tolist()
    return synthesiser.decode(synthesiser.latents(n, seed), condition)
