"""LRU cache keyed by audio content: sources and targets are asked for again and again."""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Hashable
from functools import wraps
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")
Analysis = Callable[[np.ndarray, int], np.ndarray]  # of audio (N,) at a sample rate


def content_key(audio: np.ndarray, sample_rate: int) -> str:
    """Hash of a recording's samples and rate: the key under which its analysis is kept."""
    samples = np.ascontiguousarray(audio, np.float32).tobytes()
    return hashlib.sha256(samples + str(sample_rate).encode()).hexdigest()[:24]


class Memory:
    """The last ``size`` results by key. It travels to another process empty."""

    def __init__(self, size: int):
        self.size = size
        self.kept: OrderedDict[Hashable, Any] = OrderedDict()

    def __call__(self, key: Hashable, make: Callable[[], T]) -> T:
        """The result kept under ``key``, else what ``make`` gives."""
        if key in self.kept:
            self.kept.move_to_end(key)
        else:
            self.kept[key] = make()
            if len(self.kept) > self.size:
                self.kept.popitem(last=False)
        return self.kept[key]

    def __reduce__(self) -> tuple[type, tuple[int]]:
        return Memory, (self.size,)


def kept_by_content(size: int) -> Callable[[Analysis], Analysis]:
    """Decorator that keeps the last ``size`` results of an analysis, read-only."""

    def decorate(function: Analysis) -> Analysis:
        memory = Memory(size)

        @wraps(function)
        def remembered(audio: np.ndarray, sample_rate: int) -> np.ndarray:
            def make() -> np.ndarray:
                result = function(audio, sample_rate)
                result.flags.writeable = False
                return result

            return memory(content_key(audio, sample_rate), make)

        return remembered

    return decorate
