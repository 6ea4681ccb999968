"""The network that ships: which instrument plays, over time."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import soxr
import torch
from safetensors.torch import load_file
from torch.nn import functional

from retimbre.audio.files import read_mono
from retimbre.audio.levels import rms, scale_to_rms
from retimbre.classifiers.bench import scores
from retimbre.classifiers.bench.base import NetworkClassifier, pooled
from retimbre.classifiers.bench.dissertation import Timbral
from retimbre.classifiers.bench.windows import PART, RATE, SAMPLES, compressed
from retimbre.errors import RetimbreError
from retimbre.nn.weights import SHIPPED as WEIGHTS_OF_PACKAGE
from retimbre.nn.weights import read_config, reading, save_weights, write_config

SHIPPED = WEIGHTS_OF_PACKAGE / "instruments"
WEIGHTS = "network.safetensors"
NONE, SILENCE = "none of these", "silence"
LEVEL = 0.1  # root mean square of what sounds in a recording, as in training
SILENT = LEVEL / 100  # of a window: 40 dB below
SHORTEST_S = 0.1
TEMPERATURES = [round(float(t), 2) for t in np.geomspace(0.3, 5, 57)]  # that are tried


@dataclass(frozen=True)
class Moment:
    """A stretch of a recording, its name, and the mean probabilities (K,) of the classes: 0 in silence."""

    start_s: float
    end_s: float
    called: str
    probabilities: np.ndarray


class Listener:
    """A trained ``Timbral``, its calibration, and the answers that it gives.

    ``temperature`` divides the logits, so that probabilities are as often right as they say. A window whose
    highest one is under ``threshold`` is called "none of these".
    """

    def __init__(
        self, network: Timbral, classes: list[str], temperature: float = 1.0, threshold: float = 0.0
    ):
        self.network, self.classes = network.eval(), classes
        self.temperature, self.threshold = temperature, threshold

    @classmethod
    def calibrated(
        cls, trained: NetworkClassifier, classes: list[str], x: np.ndarray, labels: np.ndarray
    ) -> "Listener":
        """From a ``Timbral`` and held-out levels (B, F, T): the temperature of least cross-entropy, and the
        threshold over which 95 % of the windows lie.
        """
        network = trained.network
        if not isinstance(network, Timbral):
            raise ValueError("the listener is a Timbral")
        found = cls(network, classes)
        logits, y = found._logits(x), torch.from_numpy(labels)
        losses = {t: float(functional.cross_entropy(logits / t, y)) for t in TEMPERATURES}
        found.temperature = min(losses, key=losses.get)
        found.threshold = round(scores.threshold((logits / found.temperature).softmax(1).numpy()), 3)
        return found

    @classmethod
    def load(cls, folder: Path = SHIPPED) -> "Listener":
        """Read what :meth:`save` wrote. Raises RetimbreError when it is missing or damaged."""
        with reading(Path(folder), "instrument classifier"):
            config = read_config(Path(folder))
            network = Timbral(len(config["classes"]), config.pop("width"), config.pop("growth"))
            network.load_state_dict(load_file(Path(folder) / WEIGHTS))
            return cls(network, **config)

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        save_weights(folder / WEIGHTS, self.network)
        values = {"temperature": self.temperature, "threshold": self.threshold}
        shape = {"width": self.network.width, "growth": self.network.growth}
        write_config(folder, {"classes": self.classes, **shape, **values})

    @torch.no_grad()
    def _logits(self, x: np.ndarray) -> torch.Tensor:
        self.network.eval()
        parts = torch.from_numpy(x).split(PART)
        return torch.cat([pooled(self.network(part)) for part in parts])

    def probabilities(self, audio: np.ndarray) -> np.ndarray:
        """Probabilities (B, K) of windows (B, SAMPLES)."""
        parts = [self._logits(compressed(audio[i : i + PART])) for i in range(0, len(audio), PART)]
        return (torch.cat(parts) / self.temperature).softmax(1).numpy()

    def called(self, p: np.ndarray) -> str:
        """The class of probabilities (K,), or that it is none of them."""
        return self.classes[int(p.argmax())] if p.max() >= self.threshold else NONE

    def hear(self, path: Path) -> list[Moment]:
        """Every half-overlapping window of a recording; the last ends with it, a short one is one window.

        Raises RetimbreError for what cannot be read, and for less than 0.1 s.
        """
        audio = read_mono(path, RATE)
        if len(audio) < SHORTEST_S * RATE:
            length = len(audio) / RATE
            raise RetimbreError(f"{path} lasts {length:.2f} s: give a recording of at least 0.1 s.")
        return self.moments(audio)

    def moments(self, audio: np.ndarray) -> list[Moment]:
        """Every window of audio (N,) at 16 kHz, N > 0, as :meth:`hear` does."""
        length = len(audio)
        audio, _ = scale_to_rms(audio, LEVEL, RATE)
        audio = np.pad(audio, (0, max(0, SAMPLES - length)))
        starts = sorted({*range(0, len(audio) - SAMPLES + 1, SAMPLES // 2), len(audio) - SAMPLES})
        found = []
        for first in range(0, len(starts), PART):
            windows = np.stack([audio[s : s + SAMPLES] for s in starts[first : first + PART]])
            for s, window, p in zip(starts[first:], windows, self.probabilities(windows), strict=False):
                silent = rms(window) < SILENT
                name, p = (SILENCE, np.zeros_like(p)) if silent else (self.called(p), p)
                found.append(Moment(s / RATE, min(s + SAMPLES, length) / RATE, name, p))
        return found

    def share(self, audio: np.ndarray, rate: int, name: str) -> float:
        """Share of the windows of audio (N,) that are called ``name``."""
        moments = self.moments(soxr.resample(audio, rate, RATE))
        return sum(m.called == name for m in moments) / len(moments)

    def whole(self, moments: list[Moment]) -> Moment:
        """A recording as one: the mean probabilities of the windows that sound."""
        sounding = [m.probabilities for m in moments if m.called != SILENCE]
        p = np.mean(sounding, axis=0) if sounding else np.zeros(len(self.classes))
        name = self.called(p) if sounding else SILENCE
        return Moment(moments[0].start_s, moments[-1].end_s, name, p)


def runs(moments: list[Moment]) -> Iterator[Moment]:
    """Neighbouring moments that are called the same, as one; it ends in the middle of what overlaps."""
    start = moments[0].start_s
    groups = [list(group) for _, group in groupby(moments, lambda m: m.called)]
    for group, following in zip(groups, [*groups[1:], None], strict=True):
        end = group[-1].end_s if following is None else (group[-1].end_s + following[0].start_s) / 2
        yield Moment(start, end, group[0].called, np.mean([m.probabilities for m in group], axis=0))
        start = end
