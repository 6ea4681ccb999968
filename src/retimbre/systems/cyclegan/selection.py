"""Choice of the step whose generators are kept: figures of content and style on held-out pieces, and a rule.

A GAN's losses say how the two players stand, not how good the output is, so the choice is made on transferred
validation pieces. Per direction (``ab``, ``ba``):

* ``validation/feature_lsd``: log-spectral distance to the true target in dB. Only with paired pieces.
* ``validation/chroma_ratio``: likeness of the output's pitch classes to the source's, relative to the true
  target's likeness (1: as like the source as the target instrument is when it plays the same notes). Without
  pairs relative to the equalised source's, which keeps every note.
* ``validation/style``: Fréchet distance between the output's and the target's short windows of spectrum,
  relative to that of the equalised source. 1: no better than a fixed filter, 0: the distribution of the
  target. A classifier would do badly here: an equaliser fools it. The windows see attack and decay, which an
  equaliser cannot give. With paired pieces both sides play the same notes; without, the distance holds the
  difference of the music too and falls less.

The rule: ``validation/score`` = mean over directions of (feature_lsd / the equalised source's feature_lsd +
style), lower is better, among the steps whose chroma ratio is at least ``CONTENT_RATIO`` both ways: a
collapsed generator can come close in distribution, and fool classifiers, but not with the notes kept.

The distance follows Heusel et al. 2017 (FID) and Kilgour et al. 2019 (FAD), on a fixed linear embedding
instead of a network.
"""

import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.fft import dctn
from torch import nn

from retimbre.audio.chroma import chroma_correlation, pitch_class_fold
from retimbre.audio.distances import frechet_distance, log_spectral_distance
from retimbre.audio.equaliser import Equaliser
from retimbre.audio.features import normalise
from retimbre.datasets.packed.format import Excerpt, PackedFeatures

# Spectrum (F, T) in dB of one domain, name of the other -> its spectrum.
Transfer = Callable[[np.ndarray, str], np.ndarray]

# Of the true target's chroma likeness (without pairs, of the equalised source's): the notes count as kept.
CONTENT_RATIO = 0.9
WINDOW, HOP = 16, 4  # frames of a window: long enough for an attack and the beginning of its decay
TIME_COEFFICIENTS, BIN_COEFFICIENTS = 4, 16  # of its cosine transform: its shape, not each partial's place
LONGEST_S = 240.0  # of each domain: ten validations must not take as long as the training


def window_shapes(levels: list[np.ndarray], top_db: float, range_db: float) -> np.ndarray:
    """Low-order 2-D cosine transforms (windows, coefficients) of all windows of levels (F, T) in dB."""
    shapes = []
    for level_db in levels:
        z = normalise(level_db.astype(np.float64), top_db, range_db)
        least = WINDOW + HOP  # two windows, for a distance needs a spread
        if z.shape[1] < least:
            z = np.pad(z, ((0, 0), (0, least - z.shape[1])), mode="edge")
        windows = np.lib.stride_tricks.sliding_window_view(z, WINDOW, axis=1)[:, ::HOP].transpose(1, 0, 2)
        coefficients = dctn(windows, axes=(1, 2), norm="ortho")[:, :BIN_COEFFICIENTS, :TIME_COEFFICIENTS]
        shapes.append(coefficients.reshape(len(coefficients), -1))
    return np.concatenate(shapes)


@dataclass
class Direction:
    """One direction's held-out pieces, levels (F, T) in dB within the range, and the figures' measures."""

    target: str
    sources: list[np.ndarray]
    references: list[np.ndarray]  # of the target, of the same pieces in the same order when paired
    chroma: float  # likeness of the true targets to the sources, or of the equalised sources
    style: float  # distance of the equalised sources
    lsd: float  # of the equalised sources, NaN when not paired


class Validation:
    """Figures of a transfer on validation pieces of the first two ``domains``; ``empty`` if one has none."""

    def __init__(self, features: PackedFeatures, representation: str, domains: list[str]):
        statistics, self.range_db = features.statistics[representation], features.config.range_db
        self.top_db: float = statistics["top_db"]
        self.fold = pitch_class_fold(features.config.frequencies_hz(representation))
        most = int(LONGEST_S * features.config.sample_rate / features.config.hop_length)
        first, second = (features.excerpts(domain=domain, split="validation") for domain in domains[:2])
        pairs = paired_excerpts(first, second)
        self.paired = bool(pairs)
        if pairs:
            first, second = ([pair[side] for pair in pairs] for side in (0, 1))
        levels = [
            [
                self._clip(np.asarray(features.read(e, representation=representation), np.float32).T)
                for e in beginning(side, most)
            ]
            for side in (first, second)
        ]
        self.empty = not all(levels)
        self.directions: dict[str, Direction] = {}
        for name, source, target in (("ab", 0, 1), ("ba", 1, 0)):
            if not self.empty:
                equaliser = Equaliser.between(statistics, domains[source], domains[target], self.range_db)
                pieces = levels[source], levels[target]
                self.directions[name] = self._direction(domains[target], *pieces, equaliser)

    def _clip(self, level_db: np.ndarray) -> np.ndarray:
        return np.clip(level_db, self.top_db - self.range_db, self.top_db)

    def _direction(
        self, target: str, sources: list[np.ndarray], references: list[np.ndarray], equaliser: Equaliser
    ) -> Direction:
        equalised = [equaliser.shift(torch.from_numpy(x)).numpy() for x in sources]
        return Direction(
            target,
            sources,
            references,
            self._chroma(references if self.paired else equalised, sources),
            self._style(equalised, references),
            self._lsd(equalised, references) if self.paired else float("nan"),
        )

    def _chroma(self, outputs: list[np.ndarray], sources: list[np.ndarray]) -> float:
        pairs = zip(outputs, sources, strict=True)
        return float(np.mean([chroma_correlation(output, source, self.fold) for output, source in pairs]))

    def _style(self, outputs: list[np.ndarray], references: list[np.ndarray]) -> float:
        both = (window_shapes(x, self.top_db, self.range_db) for x in (outputs, references))
        return frechet_distance(*both)

    def _lsd(self, outputs: list[np.ndarray], references: list[np.ndarray]) -> float:
        return float(np.mean([log_spectral_distance(o, r) for o, r in zip(outputs, references, strict=True)]))

    def figures(self, transfer: Transfer) -> dict[str, float]:
        """The figures of the module's docstring, by name."""
        figures, scores = {}, []
        for name, d in self.directions.items():
            outputs = [self._clip(transfer(source, d.target)) for source in d.sources]
            score = style = self._style(outputs, d.references) / max(d.style, 1e-9)
            if self.paired:
                figures[f"validation/feature_lsd_{name}"] = lsd = self._lsd(outputs, d.references)
                score += lsd / max(d.lsd, 1e-9)
            chroma = self._chroma(outputs, d.sources)
            figures[f"validation/chroma_ratio_{name}"] = chroma / max(d.chroma, 1e-9)
            figures[f"validation/style_{name}"] = style
            scores.append(score)
        return figures | {"validation/score": float(np.mean(scores))}


def beginning(excerpts: list[Excerpt], frames: int) -> list[Excerpt]:
    """The first excerpts that are ``frames`` long together, one at least."""
    ends = np.cumsum([e.length for e in excerpts])
    return excerpts[: max(1, int(np.searchsorted(ends, frames, side="right")))]


def paired_excerpts(first: list[Excerpt], second: list[Excerpt]) -> list[tuple[Excerpt, Excerpt]]:
    """Performances 1 of the pieces that both lists play sample-aligned, in the first's order.

    A piece may be in several parts, which are in the same order in both lists.
    """

    def parts(excerpts: list[Excerpt]) -> dict[tuple[str, int], Excerpt]:
        count: Counter[str] = Counter()
        found = {}
        for e in (e for e in excerpts if e.performance == "1"):
            found[e.piece, count[e.piece]] = e
            count[e.piece] += 1
        return found

    others = parts(second)
    pairs = [(e, others[key]) for key, e in parts(first).items() if key in others]
    return [(e, other) for e, other in pairs if other.length == e.length]


class Selection:
    """Weights of ``network``, the moving average, that ``rule`` prefers: last | best, of ``parameter``."""

    def __init__(self, rule: str, network: nn.Module, parameter: str):
        self.rule, self.network, self.parameter = rule, network, parameter
        self.step, self.score = 0, float("inf")
        self.weights: dict[str, torch.Tensor] = {}

    def offer(self, step: int, figures: dict[str, float]) -> None:
        """Take the figures after ``step`` steps; weights are copied when they are the best so far."""
        if self.rule == "last":
            return
        kept = all(value >= CONTENT_RATIO for name, value in figures.items() if "chroma_ratio" in name)
        if kept and figures["validation/score"] < self.score:
            self.step, self.score = step, figures["validation/score"]
            weights = self.network.state_dict().items()
            self.weights = {name: value.detach().cpu().clone() for name, value in weights}

    def apply(self) -> dict[str, float]:
        """Give the network the chosen weights; returns ``selection/step`` and ``selection/score``.

        Nothing for the rule ``last``, nor when no step kept the notes: then the last weights stay, and a
        line says so.
        """
        if self.rule == "last":
            return {}
        if not self.weights:
            why = f"no step kept {CONTENT_RATIO:.0%} of the true target's harmony"
            text = f"warning: {self.parameter} is best, but {why}: the last one is taken."
            print(text, file=sys.stderr, flush=True)
            return {}
        self.network.load_state_dict(self.weights)
        return {"selection/step": self.step, "selection/score": self.score}

    def state_dict(self) -> dict[str, Any]:
        return {"step": self.step, "score": self.score, "weights": self.weights}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.step, self.score, self.weights = state["step"], state["score"], dict(state["weights"])
