"""The rows of the table: what every control, vocoder and system makes of an item.

A row is data (models and settings, no functions), so that other processes can be sent it and its
fingerprint covers everything that its outputs depend on. All outputs are as loud as the source and
rounded to 16 bits, levels to float16: what is measured is what lies on disk.
"""

import hashlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import torch

from retimbre.audio.features import FeatureConfig, FeatureExtractor, decibels
from retimbre.audio.loudness import LoudnessMeter
from retimbre.evaluation.bench.cache import code_of, digest, versions
from retimbre.evaluation.bench.testset import Item, first_second

if TYPE_CHECKING:  # a row's fingerprint covers this file's imports: it must not name the other systems
    from retimbre.vocoders.catalogue import Vocoder

PEAK_LIMIT = 0.99


class Sound(NamedTuple):
    """``audio`` (N,), ``level_db`` (F, T) as the system made it (None: it makes audio), and seconds of computing."""

    audio: np.ndarray
    level_db: np.ndarray | None
    seconds: float


class System(Protocol):
    """What a row holds. ``modules``: the source that computes; ``state``: everything else that outputs depend on."""

    modules: tuple[str, ...]

    def applies(self, item: Item) -> bool: ...
    def make(self, item: Item, seed: int) -> tuple[np.ndarray, np.ndarray | None]: ...
    def state(self) -> Any: ...


def as_loud(audio: np.ndarray, reference: np.ndarray, sample_rate: int) -> np.ndarray:
    """``audio`` at the loudness of ``reference`` (ITU-R BS.1770), or less where it would clip: what a transfer hands out."""
    loudness = []
    for x in (reference, audio):
        meter = LoudnessMeter(sample_rate)
        meter.update(x)
        loudness.append(meter.lufs())
    change_db = loudness[0] - loudness[1]
    gain = 10 ** (change_db / 20) if np.isfinite(change_db) else 1.0
    return audio * np.float32(min(gain, PEAK_LIMIT / max(float(np.abs(audio).max(initial=0)), 1e-9)))


def to_16_bit(audio: np.ndarray) -> np.ndarray:
    """Audio (N,) on the grid of 16-bit samples, float32; what is beyond full scale is clipped, what is not finite is silent."""
    codes = np.rint(np.nan_to_num(audio, posinf=0, neginf=0).astype(np.float64) * 32768).clip(-32768, 32767)
    return codes.astype(np.int16).astype(np.float32) / np.float32(32768)


@dataclass(frozen=True)
class Recorded:
    """A recording of the item itself: ``source`` (nothing done), ``oracle`` or ``unrelated``."""

    clip: str
    modules = ()

    def applies(self, item: Item) -> bool:
        return getattr(item, self.clip) is not None

    def make(self, item: Item, seed: int) -> tuple[np.ndarray, np.ndarray | None]:
        clip = getattr(item, self.clip)
        return clip.audio, clip.level_db

    def state(self) -> Any:
        return self.clip


@dataclass(frozen=True)
class ThroughLevels:
    """A system of levels (``change.transfer(level_db, target)``), then one kind of the vocoder."""

    change: Any
    vocoder: "Vocoder"
    representation: str
    kind: str

    @property
    def modules(self) -> tuple[str, ...]:
        return type(self.change).__module__, *self.vocoder.modules(self.kind)

    def applies(self, item: Item) -> bool:
        return True

    def make(self, item: Item, seed: int) -> tuple[np.ndarray, np.ndarray | None]:
        source, config = item.source.audio, self.vocoder.features
        with torch.no_grad():
            heard = decibels(_extractor(config)(torch.from_numpy(np.ascontiguousarray(source))[None], self.representation))[0].numpy()
        level_db = self.change.transfer(heard, item.target_domain)
        audio = self.vocoder.synthesise(self.kind, level_db, len(source), item.target_domain, source, seed)
        return as_loud(audio, source, config.sample_rate), level_db

    def state(self) -> Any:
        change = [self.change.config, self.change.generators] if hasattr(self.change, "generators") else self.change
        return [change, self.vocoder.state(self.kind), self.representation, self.kind, self.vocoder.features]


_extractors: dict[FeatureConfig, FeatureExtractor] = {}


def _extractor(config: FeatureConfig) -> FeatureExtractor:
    """One extractor per process: building its filters takes as long as using them."""
    return _extractors.setdefault(config, FeatureExtractor(config)) if config not in _extractors else _extractors[config]


@dataclass(frozen=True)
class CopySynthesis:
    """The true target rebuilt from its own levels, on the *source's* phases where a kind needs some (the
    target's own would give the answer away): the upper bound of everything that this kind makes audible.
    """

    vocoder: "Vocoder"
    kind: str

    @property
    def modules(self) -> tuple[str, ...]:
        return self.vocoder.modules(self.kind)

    def applies(self, item: Item) -> bool:
        return item.target is not None

    def make(self, item: Item, seed: int) -> tuple[np.ndarray, np.ndarray | None]:
        target = item.target
        return self.vocoder.synthesise(self.kind, target.level_db, len(target.audio), item.target_domain, item.source.audio, seed), None

    def state(self) -> Any:
        return [self.vocoder.state(self.kind), self.kind]


@dataclass(frozen=True)
class ThroughAudio:
    """A system of audio: ``baseline.transfer(audio, domain, seed)``, which says by ``fingerprint()`` what it was fitted on."""

    baseline: Any
    sample_rate: int

    @property
    def modules(self) -> tuple[str, ...]:
        return (type(self.baseline).__module__,)

    def applies(self, item: Item) -> bool:
        return True

    def make(self, item: Item, seed: int) -> tuple[np.ndarray, np.ndarray | None]:
        audio = self.baseline.transfer(item.source.audio, item.target_domain, seed)
        return as_loud(np.asarray(audio, np.float32), item.source.audio, self.sample_rate), None

    def state(self) -> Any:
        return [type(self.baseline).__qualname__, self.baseline.fingerprint()]


@dataclass(frozen=True)
class Row:
    """A row: ``name`` as in the table, ``vocoder`` the kind of vocoder (empty: none). ``slow`` rows
    are made for the first items of each direction only; ``tried`` ones are not tried out before they are timed.
    """

    name: str
    system: Any
    vocoder: str = ""
    slow: bool = False
    tried: bool = False

    def fingerprint(self) -> str:
        """Changes with everything that this row's outputs depend on, beside the item and the seed."""
        return digest(self.name, self.system.state(), code_of("retimbre.evaluation.bench.rows", *self.system.modules), versions())

    def seed(self, item: Item, seed: int) -> int:
        """Of this output alone, whatever was made before it."""
        return int.from_bytes(hashlib.sha256(f"{seed} {self.name} {item.name}".encode()).digest()[:4], "little")

    def render(self, item: Item, seed: int, config: FeatureConfig | None = None) -> Sound:
        """The output. ``seconds`` are processor seconds of this process, which computes with one thread: load
        on the machine does not count. With ``config`` the row is tried out on a second of the item before.
        """
        if config is not None and not self.tried and not isinstance(self.system, Recorded):
            self.system.make(first_second(item, config), 0)
        began = time.process_time()
        audio, level_db = self.system.make(item, self.seed(item, seed))
        seconds = 0.0 if isinstance(self.system, Recorded) else time.process_time() - began
        rounded = None if level_db is None else np.asarray(level_db).astype(np.float16).astype(np.float32) + np.float32(0)
        return Sound(to_16_bit(audio), rounded, seconds)


def all_rows(generator: Any, vocoder: "Vocoder", equalisers: dict[str, Any], baselines: dict[str, Any], sample_rate: int) -> list[Row]:
    """Every row, controls first; ``equalisers`` and ``baselines``: by name, the former change levels, the latter audio.

    The CycleGAN and the true levels are heard through every kind of vocoder that is trained, all else through the default one.
    Only ``vocoder.main_kinds`` are heard on every piece: scoring takes longer than most kinds do.
    """
    kind = vocoder.kind
    others = [k for k in vocoder.kinds if k != kind]

    def through(name: str, change: Any, by: str) -> Row:
        return Row(name, ThroughLevels(change, vocoder, generator.representation, by), by, slow=by not in vocoder.main_kinds)

    return [
        Row("copy", Recorded("source")),
        *(through(name, equaliser, kind) for name, equaliser in equalisers.items()),
        Row("oracle", Recorded("oracle")),
        Row("unrelated", Recorded("unrelated")),
        *(Row(f"vocoder_{by}", CopySynthesis(vocoder, by), by, slow=by not in vocoder.main_kinds) for by in (kind, *others)),
        *(Row(name, ThroughAudio(b, sample_rate), slow=b.slow, tried=b.slow) for name, b in baselines.items()),
        through("cyclegan", generator, kind),
        *(through(f"cyclegan_{by}", generator, by) for by in others),
    ]
