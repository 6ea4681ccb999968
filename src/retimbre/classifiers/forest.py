"""Classifier of another kind: MFCC statistics and a random forest, against artefacts that fool a network.

A generator learns from a network's gradients what pleases networks; a forest on smooth summaries of the
spectrum has other blind spots. It answers the ordinary question only (which instrument is this?), so an
equaliser fools it too; what counts is whether it agrees with the network.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from sklearn.ensemble import RandomForestClassifier

from retimbre.datasets.packed.format import PackedFeatures
from retimbre.errors import RetimbreError
from retimbre.metrics.distribution import mfcc_windows

REPRESENTATION = "mel"
CLIP_FRAMES = 500  # training recordings are heard in clips as long as a test piece, 8 s at the default hop
TREES = 60
CLIPS_PER_DOMAIN = 96


def training_clips(
    features: PackedFeatures, domain: str, most: int, shortest: int
) -> Iterator[tuple[int, np.ndarray]]:
    """Log-mel spectra (F, T) of up to ``most`` clips, spread evenly over a domain's training split, with the
    number of their recording. Raises RetimbreError when none is ``shortest`` frames long.
    """
    places = [
        (number, excerpt, start, min(start + CLIP_FRAMES, excerpt.length))
        for number, excerpt in enumerate(features.excerpts(domain=domain, split="train"))
        for start in range(0, excerpt.length, CLIP_FRAMES)
        if min(start + CLIP_FRAMES, excerpt.length) - start >= shortest
    ]
    if not places:
        advice = "lower classifier.window_frames or give longer ones"
        raise RetimbreError(f"no training recording of {domain} is {shortest} frames long: {advice}.")
    for i in np.unique(np.linspace(0, len(places) - 1, min(most, len(places))).round().astype(int)):
        number, excerpt, start, stop = places[i]
        db = features.read(excerpt, start, stop, representation=REPRESENTATION)
        yield number, np.asarray(db, np.float32).T


@dataclass(frozen=True)
class ForestClassifier:
    """Random forest on MFCC statistics of real windows, ``examples`` (n, 24) with ``labels`` (n,).

    ``labels`` index ``domains``. The forest is grown when it is first asked, the same from the same fields; a
    copy in another process grows its own.
    """

    examples: np.ndarray
    labels: np.ndarray
    domains: tuple[str, ...]
    window_frames: int
    seed: int

    @classmethod
    def fit(
        cls, features: PackedFeatures, domains: Sequence[str], window_frames: int, seed: int
    ) -> "ForestClassifier":
        """From the training split. Raises RetimbreError when a domain has no recording of a window."""
        clips = [training_clips(features, d, CLIPS_PER_DOMAIN, window_frames) for d in domains]
        sets = [np.concatenate([mfcc_windows(db, window_frames) for _, db in of]) for of in clips]
        labels = np.repeat(np.arange(len(sets)), [len(s) for s in sets])
        return cls(np.concatenate(sets), labels, tuple(domains), window_frames, seed)

    @cached_property
    def forest(self) -> RandomForestClassifier:
        options = {"min_samples_leaf": 2, "class_weight": "balanced", "random_state": self.seed, "n_jobs": 1}
        return RandomForestClassifier(TREES, **options).fit(self.examples, self.labels)

    def style_target_rate(self, mfcc: np.ndarray, target: str, silent: bool = False) -> float:
        """Share of MFCC windows (W, 24) that the forest calls ``target``; 0 for a silent clip."""
        if target not in self.domains:
            known = ", ".join(self.domains)
            raise RetimbreError(f"The forest does not know {target!r}; its domains are {known}.")
        return 0.0 if silent else float((self.forest.predict(mfcc) == self.domains.index(target)).mean())

    def __getstate__(self) -> dict:
        return {name: value for name, value in self.__dict__.items() if name != "forest"}
