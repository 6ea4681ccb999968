"""The rows of the table: what every reference and system makes of an item.

A row is data (models and settings, no functions), so that other processes can be sent it and its fingerprint
covers everything that its outputs depend on. A system is asked through ``systems.streaming``, as by the
command: outputs are as loud as the source. They are rounded to 16 bits, spectra to float16: what is measured
is what lies on disk.
"""

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from retimbre.audio.features import FeatureConfig
from retimbre.evaluation.bench.testset import Item, Output, first_second
from retimbre.evaluation.results.rows import SCRAMBLED
from retimbre.provenance import code_of, digest_with_code
from retimbre.systems import streaming
from retimbre.systems.base import Coded, Spectral, System
from retimbre.vocoders.catalogue import Vocoder

# Beside the default, kinds that are quick enough to be heard on every piece.
EVERYWHERE = ("griffin_lim", "source_phase")


class Maker(Protocol):
    """Protocol of a row's source: makes audio of an item, and a spectrum where it goes through one."""

    def applies(self, item: Item) -> bool: ...
    def audio(self, item: Item, seed: int) -> np.ndarray: ...
    def spectrum(self, item: Item) -> np.ndarray | None: ...


def to_16_bit(audio: np.ndarray) -> np.ndarray:
    """Audio (N,) on the grid of 16-bit samples, float32, clipped to full scale; not finite: silent."""
    codes = np.rint(np.nan_to_num(audio, posinf=0, neginf=0).astype(np.float64) * 32768).clip(-32768, 32767)
    return codes.astype(np.int16).astype(np.float32) / np.float32(32768)


@dataclass(frozen=True)
class Recorded:
    """A reference: a recording of the item itself, ``source`` (nothing done), ``oracle`` or ``unrelated``."""

    clip: str

    def applies(self, item: Item) -> bool:
        return getattr(item, self.clip) is not None

    def audio(self, item: Item, seed: int) -> np.ndarray:
        return getattr(item, self.clip).audio

    def spectrum(self, item: Item) -> np.ndarray | None:
        return getattr(item, self.clip).level_db


@dataclass(frozen=True)
class CopySynthesis:
    """A reference: the true target rebuilt from its own spectrum, on the *source's* phases where a vocoder
    needs some (the target's own would give the answer away): the upper bound of everything that this vocoder
    makes audible.
    """

    vocoder: Vocoder

    def applies(self, item: Item) -> bool:
        return item.target is not None

    def audio(self, item: Item, seed: int) -> np.ndarray:
        true, to, source = item.target, item.target_domain, item.source
        return self.vocoder.synthesise(true.level_db, len(true.audio), to, source.audio, seed)

    def spectrum(self, item: Item) -> None:
        return None


@dataclass(frozen=True)
class Transferred:
    """A system's transfer of the source."""

    system: System

    @property
    def name(self) -> str:
        """The system's name, whichever way it is heard."""
        return self.system.name

    def applies(self, item: Item) -> bool:
        heard = self.system.sources is None or item.source_domain in self.system.sources
        return heard and item.target_domain in self.system.targets

    def audio(self, item: Item, seed: int) -> np.ndarray:
        source, rate = item.source.audio, self.system.sample_rate
        return streaming.transfer(self.system, source, rate, item.target_domain, seed)

    def spectrum(self, item: Item) -> np.ndarray | None:
        if not isinstance(self.system, Spectral):
            return None
        return self.system.spectrum(item.source.audio, item.target_domain)


@dataclass(frozen=True)
class Recoded:
    """A change that hears another recording, audio (N,), whatever it is given (a ``Coded``)."""

    change: Any
    other: np.ndarray

    def __getattr__(self, name: str) -> Any:
        return getattr(self.change, name)

    def encode(self, audio: np.ndarray) -> np.ndarray:
        """The other recording's code (T, C), cut or played again to the length of audio (N,)."""
        return self.change.encode(np.resize(self.other, len(audio)))

    def decode(self, code: np.ndarray, spectrum_db: np.ndarray, to: str) -> np.ndarray:
        return self.change.decode(code, spectrum_db, to)


@dataclass(frozen=True)
class Scrambled:
    """A control of a system that goes through a code: the code of another piece in the place of its own.

    What comes near the true target all the same does not come from the code.
    """

    system: Spectral

    def applies(self, item: Item) -> bool:
        return Transferred(self.system).applies(item)

    def _transferred(self, item: Item) -> Transferred:
        change = Recoded(self.system.change, item.unrelated.audio)
        return Transferred(replace(self.system, change=change))

    def audio(self, item: Item, seed: int) -> np.ndarray:
        return self._transferred(item).audio(item, seed)

    def spectrum(self, item: Item) -> np.ndarray | None:
        return self._transferred(item).spectrum(item)


@dataclass(frozen=True)
class Row:
    """A row: ``name`` as in the table, ``vocoder`` the kind of vocoder (empty: none). ``slow`` rows are made
    for the first items of each direction only; ``tried`` ones are not tried out before they are timed.
    """

    name: str
    maker: Maker
    vocoder: str = ""
    slow: bool = False
    tried: bool = False

    def fingerprint(self) -> str:
        """Changes with everything that this row's outputs depend on, beside the item and the seed."""
        return digest_with_code(self.name, self.maker, code_of("retimbre.systems.streaming"))

    def seed(self, item: Item, seed: int) -> int:
        """Seed of this output alone, whatever was made before it."""
        digest = hashlib.sha256(f"{seed} {self.name} {item.name}".encode()).digest()
        return int.from_bytes(digest[:4], "little")

    def render(self, item: Item, seed: int, config: FeatureConfig | None = None) -> Output:
        """The output. ``seconds`` are processor seconds of this process, which computes with one thread: load
        on the machine does not count. With ``config`` the row is tried out on a second of the item before.
        """
        recorded = isinstance(self.maker, Recorded)
        if config is not None and not self.tried and not recorded:
            self.maker.audio(first_second(item, config), 0)
        began = time.process_time()
        audio = self.maker.audio(item, self.seed(item, seed))
        seconds = 0.0 if recorded else time.process_time() - began
        spectrum_db = self.maker.spectrum(item)
        if spectrum_db is not None:
            spectrum_db = np.asarray(spectrum_db).astype(np.float16).astype(np.float32) + np.float32(0)
        return Output(to_16_bit(audio), spectrum_db, seconds)


def all_rows(
    equalisers: Sequence[Spectral],
    vocoders: Sequence[Vocoder],
    baselines: Sequence[System],
    systems: Mapping[str, Sequence[System]],
) -> list[Row]:
    """Every row, controls first.

    ``vocoders``: all that are trained, the default first; ``systems``: by name, each through the vocoders
    that the params give it, the row's own first. Only the default way and those of ``EVERYWHERE`` are heard
    on every piece: scoring takes longer than most do.
    """
    default = vocoders[0].kind

    def slow(vocoder: Vocoder) -> bool:
        return vocoder.slow or vocoder.kind not in (default, *EVERYWHERE)

    def row(name: str, system: System) -> Row:
        if isinstance(system, Spectral):
            return Row(name, Transferred(system), system.vocoder.kind, slow(system.vocoder))
        return Row(name, Transferred(system), slow=system.slow, tried=system.slow)

    heard = []
    for name, ways in systems.items():
        heard.append(row(name, ways[0]))
        if isinstance(ways[0], Spectral) and isinstance(ways[0].change, Coded):
            heard.append(Row(name + SCRAMBLED, Scrambled(ways[0]), ways[0].vocoder.kind, slow=True))
        heard += [row(f"{name}_{way.vocoder.kind}", way) for way in ways[1:]]
    return [
        Row("copy", Recorded("source")),
        *(row(equaliser.name, equaliser) for equaliser in equalisers),
        Row("oracle", Recorded("oracle")),
        Row("unrelated", Recorded("unrelated")),
        *(Row(f"vocoder_{v.kind}", CopySynthesis(v), v.kind, slow(v)) for v in vocoders),
        *(row(baseline.name, baseline) for baseline in baselines),
        *heard,
    ]
